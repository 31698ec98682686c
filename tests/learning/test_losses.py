"""Angular margins, contrasts across albums and the adversary of albums, against their definitions."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from artistid.data.datamodule import Batch
from artistid.errors import ArtistidError
from artistid.learning.auxiliary import AlbumAdversary, AlbumContrast, pairs
from artistid.learning.losses import AngularMargin
from artistid.models.crnn import CRNN
from artistid.models.heads import COSINE_SCALE, CosineHead

ALBUMS = torch.tensor([0, 0, 1, 1, 1])  # whose each is


def batch_of(label: list[int], album: list[int], production: list[int] | None = None) -> Batch:
    n = len(label)
    return Batch(
        features=torch.zeros(n, 1, 1),
        label=torch.tensor(label),
        clip=torch.arange(n),
        song=torch.arange(n),
        album=torch.tensor(album),
        production=torch.tensor(production or [-1] * n),
    )


def test_a_cosine_head_gives_scaled_cosines() -> None:
    torch.manual_seed(0)
    head, vectors = CosineHead(5, 3), torch.randn(4, 5)
    expected = nn.functional.cosine_similarity(vectors[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(vectors), COSINE_SCALE * expected)


def test_the_margin_is_added_to_the_angle_of_a_clips_artist() -> None:
    angle = torch.tensor([[0.3, 1.2, 2.0], [1.5, 0.7, 3.0]])
    label = torch.tensor([0, 1])
    logits = COSINE_SCALE * angle.cos()
    torch.testing.assert_close(AngularMargin(margin=0.0)(logits, label), cross_entropy(logits, label))
    farther = angle.clone()
    farther[[0, 1], label] += 0.4
    expected = cross_entropy(COSINE_SCALE * farther.cos(), label)
    torch.testing.assert_close(AngularMargin(margin=0.4)(logits, label), expected)


def test_mixed_clips_have_each_artists_margin_by_its_share() -> None:
    logits = COSINE_SCALE * torch.tensor([[0.9, -0.2, 0.1]])
    loss = AngularMargin(margin=0.2)
    mixed = loss(logits, torch.tensor([[0.7, 0.0, 0.3]]))
    torch.testing.assert_close(mixed, 0.7 * loss(logits, torch.tensor([0])) + 0.3 * loss(logits, torch.tensor([2])))


def test_beyond_a_half_turn_the_margin_still_costs() -> None:
    logits = torch.tensor([[-COSINE_SCALE, COSINE_SCALE]], requires_grad=True)
    loss = AngularMargin(margin=0.5)(logits, torch.tensor([0]))
    assert loss > cross_entropy(logits, torch.tensor([0]))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_margin_wants_cosines() -> None:
    AngularMargin().check_network(CRNN(2, head="cosine"))
    with pytest.raises(ArtistidError, match=r"model\.network\.head=cosine"):
        AngularMargin().check_network(CRNN(2))


@pytest.mark.parametrize("production", [None, [3, 3, -1, 3, 5, -1]])
def test_contrast_across_albums(production: list[int] | None) -> None:
    """Clip by clip: others of the artist's other albums are near, of its own nothing, of the same year far if there."""
    torch.manual_seed(0)
    batch = batch_of([0, 0, 0, 1, 1, 2], [0, 0, 1, 2, -1, 4], production)
    loss = AlbumContrast(units=4, artist_of_album=ALBUMS, temperature=0.5)
    loss.project = nn.Identity()  # type: ignore[assignment]
    vectors = torch.randn(6, 4)
    points = normalize(vectors, dim=1)
    label, album, year = (batch[name].tolist() for name in ("label", "album", "production"))  # type: ignore[literal-required]
    per_clip = []
    for i in range(6):
        near = [j for j in range(6) if j != i and label[j] == label[i] and (album[j] != album[i] or album[i] < 0)]
        others = [j for j in range(6) if label[j] != label[i]]
        alike = [j for j in others if year[j] == year[i] >= 0]
        all_of_them = sum(torch.exp(points[i] @ points[j] / 0.5) for j in near + (alike or others))
        if near:
            each = [torch.log(torch.exp(points[i] @ points[j] / 0.5) / all_of_them) for j in near]
            per_clip.append(-torch.stack(each).mean())
    assert len(per_clip) == 5
    torch.testing.assert_close(loss(vectors, batch), torch.stack(per_clip).mean())


def test_without_another_album_there_is_no_contrast() -> None:
    vectors = torch.randn(3, 4, requires_grad=True)
    loss = AlbumContrast(4, ALBUMS)(vectors, batch_of([0, 0, 1], [0, 0, 2]))
    loss.backward()
    assert loss == 0


def test_the_adversary_reads_an_artists_albums_and_turns_its_gradient_round() -> None:
    torch.manual_seed(0)
    adversary = AlbumAdversary(units=4, artist_of_album=ALBUMS, weight=0.25)
    batch = batch_of([0, 1, 1, 0], [1, 4, 2, -1])
    vectors = torch.randn(4, 4, requires_grad=True)
    loss = adversary(vectors, batch)
    own, album = torch.tensor([[True, True, False, False, False], *[[False, False, True, True, True]] * 2]), [1, 4, 2]
    logits = adversary.classify(vectors[:3]).masked_fill(~own, -torch.inf)
    expected = cross_entropy(logits, torch.tensor(album))
    torch.testing.assert_close(loss, expected)
    [turned] = torch.autograd.grad(loss, vectors, retain_graph=True)
    [plain] = torch.autograd.grad(expected, vectors, retain_graph=True)
    torch.testing.assert_close(turned, -0.25 * plain)
    weights = list(adversary.classify.parameters())
    torch.testing.assert_close(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights))


def test_no_adversary_for_single_albums() -> None:
    loss = AlbumAdversary(4, torch.tensor([0, 1]))(torch.randn(2, 4), batch_of([0, 1], [0, 1]))
    assert loss == 0


def test_wrong_pairs_are_none() -> None:
    positive, negative = pairs(batch_of([0, 0, 1], [0, 1, 2]))
    assert [(i, j) for i, j in product(range(3), repeat=2) if positive[i, j]] == [(0, 1), (1, 0)]
    assert [(i, j) for i, j in product(range(3), repeat=2) if negative[i, j]] == [(0, 2), (1, 2), (2, 0), (2, 1)]
