from __future__ import annotations

import numpy as np
import pytest

from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import VOTES, count_votes, vote

ARTISTS = ("A", "B", "C", "D")


def one_song(*clips: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(clips, dtype=np.float32), np.zeros(len(clips), dtype=np.int64)


def places(ranking: np.ndarray) -> str:
    """The artists of one song from first to last."""
    return "".join(ARTISTS[number] for number in np.argsort(-ranking))


def random_predictions(seed: int, n_songs: int = 40, n_artists: int = 4) -> Predictions:
    generator = np.random.default_rng(seed)
    n_clips = generator.integers(1, 9, size=n_songs)
    artist = generator.choice(ARTISTS[:n_artists], size=n_songs)
    return Predictions(
        artists=ARTISTS[:n_artists],
        track_id=[f"song {song:03}" for song in np.arange(n_songs).repeat(n_clips)],
        clip=np.concatenate([np.arange(n) for n in n_clips]),
        artist=artist.repeat(n_clips),
        probability=generator.dirichlet(np.full(n_artists, 0.5), size=n_clips.sum()),
    )


class TestMajority:
    def test_most_clips_win_though_another_is_surer(self) -> None:
        result = count_votes(*one_song([0.40, 0.30, 0.20, 0.10], [0.40, 0.30, 0.20, 0.10], [0.01, 0.97, 0.01, 0.01]))
        assert result.votes.tolist() == [[2, 1, 0, 0]]
        assert places(result.ranking[0]) == "ABCD"

    def test_a_tie_goes_to_the_larger_summed_log_probability(self) -> None:
        # A: ln .6 + ln .1 = ln .06; B: ln .3 + ln .5 = ln .15.
        result = count_votes(*one_song([0.6, 0.3, 0.05, 0.05], [0.1, 0.5, 0.3, 0.1]))
        assert result.votes.tolist() == [[1, 1, 0, 0]]
        assert places(result.ranking[0]) == "BACD"

    def test_artists_without_votes_are_placed_by_log_probability_behind_those_with(self) -> None:
        # D has far more probability than C in sum, and A no more than a vote.
        result = count_votes(*one_song([0.34, 0.00, 0.33, 0.33], [0.00, 0.50, 0.01, 0.49], [0.00, 0.50, 0.01, 0.49]))
        assert places(result.ranking[0]) == "BADC"

    def test_a_full_tie_keeps_the_order_of_the_artists_whatever_the_order_of_the_clips(self) -> None:
        clips = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            assert places(count_votes(*one_song(*clips[order].tolist())).ranking[0]) == "ABCD"

    def test_a_zero_counts_much_but_not_infinitely(self) -> None:
        # One vote each. A has one zero; B and C have two, and C's other clip is the surer one: infinities would tie.
        result = count_votes(*one_song([1.0, 0.0, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]))
        assert places(result.ranking[0]) == "ACBD"


class TestConfident:
    def test_only_clips_above_one_half_count(self) -> None:
        clips = one_song([0.50, 0.49, 0.01, 0.00], [0.50, 0.49, 0.01, 0.00], [0.10, 0.60, 0.20, 0.10])
        assert places(count_votes(*clips, "majority").ranking[0])[0] == "A"
        confident = count_votes(*clips, "confident")
        assert confident.votes.tolist() == [[0, 1, 0, 0]]
        assert places(confident.ranking[0]) == "BCAD", "the uncounted clips have no say in the order either"
        np.testing.assert_allclose(confident.probability, [[0.1, 0.6, 0.2, 0.1]], rtol=1e-6)

    def test_all_clips_count_where_none_is_confident(self) -> None:
        clips = one_song([0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.3, 0.5, 0.1, 0.1])
        for confident, majority in zip(count_votes(*clips, "confident"), count_votes(*clips, "majority"), strict=True):
            np.testing.assert_array_equal(confident, majority)


def test_mean_logprob_lets_a_sure_clip_outweigh_a_majority() -> None:
    clips = one_song([0.5, 0.4, 0.05, 0.05], [0.5, 0.4, 0.05, 0.05], [0.01, 0.97, 0.01, 0.01])
    assert places(count_votes(*clips, "majority").ranking[0]) == "ABCD"
    assert places(count_votes(*clips, "mean_logprob").ranking[0]) == "BACD"


@pytest.mark.parametrize("method", VOTES)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_voting_song_by_song(method: str, seed: int) -> None:
    """The same rule once more, written for one song and in plain Python."""
    predictions = random_predictions(seed)
    votes = vote(predictions, method)
    for song, track_id in enumerate(votes.track_id):
        clips = predictions.probability[predictions.track_id == track_id].astype(float)
        counted = clips[clips.max(axis=1) > 0.5] if method == "confident" else clips
        counted = counted if len(counted) else clips
        named = [int(clip.argmax()) for clip in counted]
        evidence = np.log(np.maximum(counted, np.finfo(np.float32).tiny)).sum(axis=0)
        keys = {
            number: {
                "mean_logprob": (evidence[number],),
                "mean_probability": (counted.mean(axis=0)[number],),
            }.get(method, (named.count(number), evidence[number]))
            for number in range(4)
        }
        expected = sorted(range(4), key=keys.__getitem__, reverse=True)
        assert np.argsort(-votes.ranking[song]).tolist() == expected
        assert votes.votes[song].tolist() == [named.count(number) for number in range(4)]
        assert votes.predicted[song] == expected[0]
        assert votes.n_clips[song] == len(clips)
        np.testing.assert_allclose(votes.share[song], np.bincount(named, minlength=4) / len(named))
        np.testing.assert_allclose(votes.probability[song], counted.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("method", VOTES)
def test_every_ranking_is_a_permutation(method: str) -> None:
    ranking = vote(random_predictions(seed=5), method).ranking
    np.testing.assert_array_equal(np.sort(ranking, axis=1), np.tile(np.arange(4), (len(ranking), 1)))


@pytest.mark.parametrize("method", VOTES)
def test_renaming_the_artists_renames_the_winners(method: str) -> None:
    predictions = random_predictions(seed=6)
    order = [2, 0, 3, 1]
    turned = Predictions(
        artists=tuple(ARTISTS[number] for number in order),
        track_id=predictions.track_id,
        clip=predictions.clip,
        artist=predictions.artist,
        probability=predictions.probability[:, order],
    )
    before, after = vote(predictions, method).to_frame(), vote(turned, method).to_frame()
    assert before["predicted"].tolist() == after["predicted"].tolist()


@pytest.mark.parametrize("method", VOTES)
def test_a_song_of_one_clip_is_that_clip(method: str) -> None:
    clip = np.float32([[0.2, 0.1, 0.4, 0.3]])
    assert places(count_votes(clip, np.array([0]), method).ranking[0]) == "CDAB"


def test_more_artists_than_are_summed_at_once() -> None:
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.full(100, 0.1), size=60).astype(np.float32)
    song = np.arange(6).repeat(10)
    expected = probability.reshape(6, 10, 100).mean(axis=1)
    np.testing.assert_allclose(count_votes(probability, song).probability, expected, atol=1e-6)


def test_a_single_artist_always_wins() -> None:
    votes = vote(random_predictions(seed=7, n_artists=1))
    assert set(votes.predicted.tolist()) == {0}
    assert votes.share.tolist() == [[1.0]] * len(votes)


def test_songs_and_their_truth_are_those_of_the_predictions() -> None:
    predictions = random_predictions(seed=8)
    votes = vote(predictions)
    truth = dict(zip(predictions.track_id, predictions.artist, strict=True))
    assert dict(zip(votes.track_id, votes.artist, strict=True)) == truth
    assert [ARTISTS[number] for number in votes.label] == votes.artist.tolist()
    assert votes.n_clips.sum() == len(predictions)


def test_frame_speaks_of_the_predicted_artist() -> None:
    predictions = Predictions(
        artists=("Queen", "Prince"),
        track_id=["t2", "t1", "t1", "t1"],
        clip=[0, 0, 1, 2],
        artist=["Prince", "Queen", "Queen", "Queen"],
        probability=[[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75]],
    )
    frame = vote(predictions).to_frame()
    assert frame.to_dict("list") == {
        "track_id": ["t1", "t2"],
        "artist": ["Queen", "Prince"],
        "predicted": ["Queen", "Queen"],
        "n_clips": [3, 1],
        "votes": [2, 1],
        "confidence": [0.5, 1.0],
    }


def test_the_confidence_is_the_mean_probability_of_the_artist_that_the_vote_names() -> None:
    # Two of three clips name A; B has the larger mean.
    clips = [[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.01, 0.97, 0.01, 0.01]]
    predictions = Predictions(ARTISTS, ["x"] * 3, range(3), ["A"] * 3, clips)
    for method, name, confidence in (("majority", "A", 0.27), ("mean_probability", "B", 0.5233)):
        [row] = vote(predictions, method).to_frame().to_dict("records")
        assert (row["predicted"], row["confidence"]) == (name, pytest.approx(confidence, abs=1e-4))


def test_unknown_method_lists_the_choices() -> None:
    with pytest.raises(ArtistidError, match=r"vote=plurality: .*majority, mean_probability, mean_logprob, confident"):
        vote(random_predictions(seed=0), "plurality")
