"""A saved network with its model card, and the Hugging Face Hub, for which a folder of this machine stands in."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import artistid
from artistid.errors import ArtistidError
from artistid.inference import card
from artistid.inference.identifier import Identifier
from tests.inference.networks import save_checkpoint

hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
COMMIT = "0" * 40


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's own cache on this machine, without its server: what is uploaded lies there as if it were downloaded."""
    cache = tmp_path / "hub"
    constants = import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    made: dict[str, Any] = {}

    def create_repo(self: Any, name: str, *, private: bool, exist_ok: bool) -> str:
        made[name] = private
        return f"https://hub.example/{name}"

    def upload_folder(self: Any, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert repo_id in made
        place = cache / f"models--{repo_id.replace('/', '--')}"
        shutil.copytree(folder_path, place / "snapshots" / COMMIT)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(COMMIT)

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    return cache


def test_what_is_uploaded_is_loaded_again(trained: Path, corpus: Path, remote: Path) -> None:
    identifier = artistid.load(trained / "checkpoints" / "best.ckpt")
    assert identifier.push_to_hub("someone/who-made-this").endswith("someone/who-made-this")
    again = Identifier.from_pretrained("someone/who-made-this")
    song = next(corpus.rglob("*.mp3"))
    assert again.specification == identifier.specification
    assert np.array_equal(again.hear(song).probability, identifier.hear(song).probability)


@pytest.mark.parametrize("name", ["../nothing", "no-owner", "a/b/c", "someone/\x1b[2J", "https://elsewhere/x"])
def test_no_names_of_models(trained: Path, name: str, remote: Path) -> None:
    with pytest.raises(ArtistidError, match="owner/model"):
        Identifier.from_pretrained(name)
    with pytest.raises(ArtistidError, match="owner/model"):
        artistid.load(trained / "checkpoints" / "best.ckpt").push_to_hub(name)


def test_a_model_that_cannot_be_had(remote: Path) -> None:
    with pytest.raises(ArtistidError, match=r"someone/nothing is not a folder here, nor available from the Hub: \S"):
        Identifier.from_pretrained("someone/nothing")


def test_the_card_is_the_hubs(trained: Path, tmp_path: Path) -> None:
    artistid.load(trained / "checkpoints" / "best.ckpt").save_pretrained(tmp_path)
    scores = json.loads((trained / "scores.json").read_text(encoding="utf-8"))["test"]
    found = hub.ModelCard.load(tmp_path / "README.md")
    assert found.data.library_name == "artistid"
    assert found.data.pipeline_tag == "audio-classification"
    [weighted] = [each for each in found.data.eval_results if each.metric_name == "weighted F1, song level"]
    assert weighted.metric_value == pytest.approx(scores["song"]["f1_weighted"], abs=1e-4)
    assert weighted.dataset_name == "corpus, album split, song level"
    assert "- Artists (3): artist1, artist2, artist3." in found.text
    assert "Tracks: train 6, val 6, test 6." in found.text
    assert f"| song | {scores['song']['f1_weighted']:.3f} |" in found.text
    assert "accepts 95% of the validation's songs" in found.text
    assert str(trained) not in found.content, "the card names a place of this machine"


def test_a_saved_folder_keeps_its_scores(trained: Path, tmp_path: Path) -> None:
    artistid.load(trained / "checkpoints" / "best.ckpt").save_pretrained(tmp_path / "first")
    artistid.load(tmp_path / "first").save_pretrained(tmp_path / "second")
    first, second = ((tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("first", "second"))
    assert first == second


def test_a_card_of_ones_own_is_left(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    artistid.load(trained / "checkpoints" / "best.ckpt").save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "{}", '{"test": 3}', '{"test": {"song": {"f1_weighted": "<script>"}}}', '{"test": {"song": {}}}'],
)
def test_scores_that_are_none(tmp_path: Path, content: str) -> None:
    """A stranger's folder may hold anything under that name."""
    checkpoint = save_checkpoint(tmp_path / "best.ckpt")
    folder = tmp_path / "saved"
    artistid.load(checkpoint).save_pretrained(folder)
    (folder / card.SCORES_FILE).write_text(content)
    artistid.load(folder).save_pretrained(tmp_path / "again")
    assert "Not known here" in (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
