from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions

ARTISTS = ("Björk", "椎名林檎", "A/B p/c.d", " $uicideboy$ ")


@pytest.fixture
def predictions() -> Predictions:
    """Five tracks of one to four clips, in no particular order."""
    generator = np.random.default_rng(0)
    clips = [(f"träck {track}", clip) for track in (3, 0, 4, 1, 2) for clip in range(1 + track % 4)]
    order = generator.permutation(len(clips))
    track_id, clip = zip(*(clips[place] for place in order), strict=True)
    return Predictions(
        artists=ARTISTS,
        track_id=track_id,
        clip=clip,
        artist=[ARTISTS[int(name[-1]) % 4] for name in track_id],
        probability=generator.dirichlet(np.ones(4), size=len(clips)),
    )


def columns(**changes: object) -> dict[str, object]:
    """The arguments of two tracks of two clips, some of them changed."""
    return {
        "artists": ("Queen", "Prince"),
        "track_id": ["a", "a", "b", "b"],
        "clip": [0, 1, 0, 1],
        "artist": ["Queen", "Queen", "Prince", "Prince"],
        "probability": [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [1.0, 0.0]],
    } | changes


def test_rows_are_sorted_and_stay_together() -> None:
    order = [3, 1, 2, 0]
    shuffled = columns(**{name: [columns()[name][row] for row in order] for name in columns() if name != "artists"})
    predictions = Predictions(**shuffled)
    for name, expected in columns().items():
        np.testing.assert_array_equal(getattr(predictions, name), expected)


def test_clips_are_ordered_as_numbers_and_tracks_as_text() -> None:
    predictions = Predictions(
        ("Queen",), ["b", "a", "a", "Z"], clip=[0, 10, 9, 3], artist=["Queen"] * 4, probability=np.ones((4, 1))
    )
    assert predictions.track_id.tolist() == ["Z", "a", "a", "b"]
    assert predictions.clip.tolist() == [3, 9, 10, 0]


def test_types_and_derived_columns() -> None:
    predictions = Predictions(**columns())
    assert (predictions.clip.dtype, predictions.probability.dtype) == (np.int32, np.float32)
    assert (predictions.label.dtype, predictions.predicted.dtype) == (np.int64, np.int64)
    assert len(predictions) == 4
    assert predictions.label.tolist() == [0, 0, 1, 1]
    assert predictions.predicted.tolist() == [0, 0, 1, 0], "of equals the artist listed first"
    assert predictions.track_index.tolist() == [0, 0, 1, 1]
    assert predictions.track_start.tolist() == [0, 2]


def test_parquet_round_trip_loses_nothing(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "made" / "predictions.parquet"
    predictions.to_parquet(path)
    again = Predictions.from_parquet(path)
    assert again.artists == predictions.artists
    for name in ("track_id", "clip", "artist", "probability"):
        before, after = getattr(predictions, name), getattr(again, name)
        assert after.dtype == before.dtype, name
        np.testing.assert_array_equal(after, before, err_msg=name)


def test_parquet_columns(predictions: Predictions, tmp_path: Path) -> None:
    predictions.to_parquet(tmp_path / "predictions.parquet")
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert frame.columns.tolist() == ["track_id", "clip", "artist", *(f"p/{name}" for name in ARTISTS)]
    assert frame["clip"].dtype == np.int32
    assert (frame.dtypes.iloc[3:] == np.float32).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"artist": ["Queen", "Queen", "Cher", "Cher"]}, r"track 'b', clip 0: the true artist 'Cher' .*Queen, Prince"),
        ({"artist": ["Queen", "Queen", "Queen", "Prince"]}, r"track 'b': .*one true artist.*'Queen' and 'Prince'"),
        ({"clip": [0, 1, 1, 1]}, r"track 'b', clip 1: expected one row per clip, found two"),
        ({"clip": [0, -1, 0, 1]}, r"clip must count from 0.*found -1 to 1"),
        ({"clip": [0, 2**31, 0, 1]}, r"clip must .*fit int32.*found 0 to 2147483648"),
        ({"clip": [0.5, 1, 0, 1]}, r"clip must be whole numbers.*float64 such as .*0\.5"),
        ({"clip": [0, 1, 0]}, r"clip must have the shape \(4,\).*found \(3,\)"),
        ({"artist": ["Queen"]}, r"artist must have the shape \(4,\).*found \(1,\)"),
        ({"probability": np.ones((4, 3)) / 3}, r"probability must have the shape \(4, 2\).*found \(4, 3\)"),
        ({"probability": [["high", "low"]] * 4}, r"probability must be a table of numbers.*high"),
        ({"track_id": ["a", "a", 7, 7]}, r"track_id must be text, found 7 in row 2"),
        ({"track_id": ["a", "a", None, "b"]}, r"track_id must be text, found None in row 2"),
        ({"artist": ["Queen", float("nan"), "Prince", "Prince"]}, r"artist must be text, found nan in row 1"),
        ({"artists": ("Queen", "Queen")}, r"artists must differ.*Queen"),
        ({"artists": (), "probability": np.ones((4, 0))}, r"need a clip and an artist.*found 4 and 0"),
    ],
)
def test_what_does_not_fit_together_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        Predictions(**columns(**changes))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([np.nan, 1.0], "smallest is nan"),
        ([np.inf, 0.0], "sum inf"),
        ([1.5, -0.5], r"smallest is -0\.5"),
        ([0.5, 0.4], r"sum 0\.9"),
        ([0.0, 0.0], "sum 0"),
    ],
)
def test_the_first_track_with_bad_probabilities_is_named(row: list[float], found: str) -> None:
    good = [0.5, 0.5]
    with pytest.raises(ArtistidError, match=rf"track 'b', clip 0: probabilities .*{found}"):
        Predictions(**columns(probability=[good, good, row, row]))


def test_half_precision_softmax_is_accepted() -> None:
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.full(200, 0.1), size=500).astype(np.float16)
    artists = tuple(f"artist {number}" for number in range(200))
    Predictions(artists, ["t"] * 500, np.arange(500), ["artist 0"] * 500, probability)


def test_no_clips_is_an_error() -> None:
    with pytest.raises(ArtistidError, match="need a clip and an artist at least, found 0 and 2"):
        Predictions(("Queen", "Prince"), [], [], [], np.ones((0, 2)))


class TestOutsideFile:
    """A file that another system wrote: the message says which file, and what is wrong with it."""

    @pytest.fixture
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "p/Queen": [0.75, 0.5, 0.25],
                "note": ["", "loud", ""],
                "artist": pd.Categorical(["Queen", "Prince", "Queen"]),
                "clip": [1, 0, 0],
                "p/Prince": [0.25, 0.5, 0.75],
                "track_id": ["a", "b", "a"],
            }
        )

    def test_other_order_other_types_and_other_columns_are_fine(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.to_parquet(tmp_path / "theirs.parquet")
        predictions = Predictions.from_parquet(tmp_path / "theirs.parquet")
        assert predictions.artists == ("Queen", "Prince")
        assert predictions.track_id.tolist() == ["a", "a", "b"]
        assert predictions.artist.tolist() == ["Queen", "Queen", "Prince"]
        np.testing.assert_array_equal(predictions.probability, np.float32([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]))

    @pytest.mark.parametrize(
        ("drop", "message"),
        [
            (["track_id"], r"need the columns track_id; found p/Queen, note"),
            (["clip", "artist"], r"need the columns clip, artist; found"),
            (["p/Queen", "p/Prince"], r"need the columns p/<artist>; found note"),
        ],
    )
    def test_missing_columns(self, frame: pd.DataFrame, tmp_path: Path, drop: list[str], message: str) -> None:
        frame.drop(columns=drop).to_parquet(tmp_path / "theirs.parquet")
        with pytest.raises(ArtistidError, match=rf"theirs\.parquet: predictions {message}"):
            Predictions.from_parquet(tmp_path / "theirs.parquet")

    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            ("p/Queen", [0.75, None, 0.25], r"track 'b', clip 0: probabilities .* nan"),
            ("p/Queen", [0.75, -0.5, 0.25], r"track 'b', clip 0: probabilities .* -0\.5"),
            ("p/Queen", ["?", "?", "?"], r"probability must be a table of numbers"),
            ("track_id", [1, 2, 1], r"track_id must be text, found 1 in row 0"),
            ("track_id", ["a", None, "a"], r"track_id must be text, found .* in row 1"),
            ("clip", [1, None, 0], r"clip must be whole numbers"),
            ("artist", ["Queen", "Cher", "Queen"], r"track 'b', clip 0: the true artist 'Cher'"),
        ],
    )
    def test_bad_values(
        self, frame: pd.DataFrame, tmp_path: Path, column: str, values: list[object], message: str
    ) -> None:
        frame.assign(**{column: values}).to_parquet(tmp_path / "theirs.parquet")
        with pytest.raises(ArtistidError, match=rf"theirs\.parquet: {message}"):
            Predictions.from_parquet(tmp_path / "theirs.parquet")

    def test_not_parquet_and_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "notes.parquet").write_text("track_id,clip,artist\n")
        for name in ("notes.parquet", "missing.parquet"):
            with pytest.raises(ArtistidError, match=rf"{name}: expected a Parquet file"):
                Predictions.from_parquet(tmp_path / name)


def test_folds_are_pooled(predictions: Predictions) -> None:
    rows = np.isin(predictions.track_id, ["träck 0", "träck 3"])
    halves = [
        Predictions(
            ARTISTS, *(getattr(predictions, name)[half] for name in ("track_id", "clip", "artist", "probability"))
        )
        for half in (rows, ~rows)
    ]
    pooled = Predictions.pooled(halves)
    for name in ("track_id", "clip", "artist", "probability"):
        np.testing.assert_array_equal(getattr(pooled, name), getattr(predictions, name))
    with pytest.raises(ArtistidError, match="expected one row per clip, found two"):
        Predictions.pooled([predictions, halves[0]])
    with pytest.raises(ArtistidError, match="need the same artists"):
        Predictions.pooled([predictions, Predictions(**columns())])
