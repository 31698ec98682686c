"""Predictions: the probabilities of a system, be it a network, a baseline or an outside one, for every clip.

They are the interface between systems and evaluation. Any system ends with a :class:`Predictions`, on disk as Parquet;
voting, scores, figures and tables start from it, whatever made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from artistid.errors import ArtistidError, abbreviate, counted
from artistid.writing import whole

KEY_COLUMNS = ("track_id", "clip", "artist")
PROBABILITY_PREFIX = "p/"
OF_SONG_PREFIX = "song/"
# The sum of a softmax in half precision is this far from 1 at worst; unnormalised scores are much farther.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Predictions:
    """The probability of every artist for every clip, one row per clip, sorted by track and clip.

    Attributes:
        artists: the artists that the system can name, in the order of the columns of ``probability``.
        track_id: ``(n,)`` str, the track each clip was cut from.
        clip: ``(n,)`` int32, index of the clip within its track, from 0.
        artist: ``(n,)`` str, the true artist of the track.
        probability: ``(n, len(artists))`` float32; every row sums to 1.
        of_song: the same for the clip's whole song, by the mean of its clips' embeddings; equal in all clips of a song.
            None: not computed, or a system without embeddings.

    The rows may be given in any order: construction sorts them by ``(track_id, clip)``.

    Raises:
        ArtistidError: if the arrays do not fit together, a probability is not finite or negative, a row does not sum
            to 1, a true artist is not among ``artists``, a track has two true artists, or a clip appears twice. The
            message names the first such track.

    Example:
        >>> clips = Predictions(("Björk", "Queen"), ["t1", "t1"], [1, 0], ["Queen"] * 2, [[0.1, 0.9], [0.6, 0.4]])
        >>> clips.clip, clips.predicted, clips.label
        (array([0, 1], dtype=int32), array([0, 1]), array([1, 1]))
    """

    artists: tuple[str, ...]
    track_id: NDArray[np.object_]
    clip: NDArray[np.int32]
    artist: NDArray[np.object_]
    probability: NDArray[np.float32]
    of_song: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._assign(
            artists=tuple(self.artists),
            track_id=_strings(self.track_id, "track_id"),
            clip=_clip_numbers(self.clip),
            artist=_strings(self.artist, "artist"),
            probability=_floats(self.probability),
            of_song=None if self.of_song is None else _floats(self.of_song),
        )
        self._check_shapes()
        codes, _ = pd.factorize(self.track_id, sort=True)
        order = np.lexsort((self.clip, codes))
        if not np.array_equal(order, np.arange(len(order))):
            self._assign(**{name: values[order] for name, values in self._columns.items()})
        self._check_truth()
        for values in self._tables.values():
            self._check_probability(values)

    def __len__(self) -> int:
        return len(self.track_id)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """``(n,)`` index of the true artist in ``artists``."""
        return pd.Index(self.artists, dtype=object).get_indexer(pd.Index(self.artist, dtype=object)).astype(np.int64)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """``(n,)`` index of the most probable artist; of ties, the one listed first."""
        return self.probability.argmax(axis=1)

    @cached_property
    def track_index(self) -> NDArray[np.int64]:
        """``(n,)`` number of each clip's track, 0, 0, …, 1, 1, … in the order of ``track_id``."""
        return np.cumsum(self._starts_track) - 1

    @cached_property
    def track_start(self) -> NDArray[np.int64]:
        """``(tracks,)`` row of the first clip of each track."""
        return np.flatnonzero(self._starts_track)

    @property
    def _tables(self) -> dict[str, NDArray[np.float32]]:
        """The tables of probabilities that exist, by the prefix of their columns."""
        of_song = {} if self.of_song is None else {OF_SONG_PREFIX: self.of_song}
        return {PROBABILITY_PREFIX: self.probability, **of_song}

    @property
    def _columns(self) -> dict[str, NDArray]:
        """All arrays that exist, by attribute."""
        names = (*KEY_COLUMNS, "probability", "of_song")
        return {name: values for name in names if (values := getattr(self, name)) is not None}

    def to_parquet(self, path: str | Path) -> None:
        """Write ``track_id``, ``clip``, ``artist``, and ``p/<artist>`` and any ``song/<artist>`` of each artist."""
        frame = pd.concat(
            [
                pd.DataFrame(values, columns=[prefix + name for name in self.artists])
                for prefix, values in self._tables.items()
            ],
            axis=1,
        )
        for index, name in enumerate(KEY_COLUMNS):
            frame.insert(index, name, getattr(self, name))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole(path, "wb") as file:
            frame.to_parquet(file, index=False)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Predictions:
        """Read a file written by :meth:`to_parquet`, or by an outside system.

        The order of the ``p/<artist>`` columns is the order of ``artists``. Columns of any other name are ignored.

        Raises:
            ArtistidError: if the file is not readable as Parquet, lacks a column, or its rows are not valid
                predictions. The message starts with the path.
        """
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArtistidError(f"{path}: expected a Parquet file of predictions: {error}") from error
        probability, of_song = (
            [name for name in frame.columns if str(name).startswith(prefix)]
            for prefix in (PROBABILITY_PREFIX, OF_SONG_PREFIX)
        )
        missing = [name for name in KEY_COLUMNS if name not in frame.columns]
        if not probability:
            missing.append(f"{PROBABILITY_PREFIX}<artist>")
        if missing:
            found = ", ".join(map(str, frame.columns)) or "none"
            raise ArtistidError(f"{path}: predictions need the columns {', '.join(missing)}; found {found}")
        try:
            return cls(
                artists=tuple(name.removeprefix(PROBABILITY_PREFIX) for name in probability),
                track_id=frame["track_id"].to_numpy(dtype=object),
                clip=frame["clip"].to_numpy(),
                artist=frame["artist"].to_numpy(dtype=object),
                probability=frame[probability].to_numpy(),
                of_song=frame[of_song].to_numpy() if of_song else None,
            )
        except ArtistidError as error:
            raise ArtistidError(f"{path}: {error}") from error

    @classmethod
    def pooled(cls, folds: Sequence[Predictions]) -> Predictions:
        """Predictions for different tracks combined, such as the folds of a jackknife, into one test of all tracks.

        Raises:
            ArtistidError: the folds name different artists or not all have ``of_song``, or two have the same clip.
        """
        first = folds[0]
        if any(fold.artists != first.artists for fold in folds):
            raise ArtistidError("pooled predictions need the same artists, in the same order")
        if any(fold._columns.keys() != first._columns.keys() for fold in folds):
            raise ArtistidError(f"pooled predictions need columns {OF_SONG_PREFIX}<artist> in all of them, or in none")
        columns = {name: np.concatenate([fold._columns[name] for fold in folds]) for name in first._columns}
        return cls(first.artists, **columns)

    @cached_property
    def _starts_track(self) -> NDArray[np.bool_]:
        return np.concatenate([[True], self.track_id[1:] != self.track_id[:-1]])

    def _assign(self, **columns: object) -> None:
        for name, value in columns.items():
            object.__setattr__(self, name, value)

    def _check_shapes(self) -> None:
        repeated = sorted({name for name in self.artists if self.artists.count(name) > 1})
        if repeated:
            raise ArtistidError(f"artists must differ from one another; found more than once: {', '.join(repeated)}")
        n = len(self.track_id)
        table = (n, len(self.artists))
        expected = {"clip": (n,), "artist": (n,), "probability": table, "of_song": table}
        for name, values in self._columns.items():
            found, shape = values.shape, expected.get(name, (n,))
            if found != shape:
                raise ArtistidError(f"{name} must have the shape {shape} (clips, artists), found {found}")
        if 0 in self.probability.shape:
            raise ArtistidError(f"predictions need a clip and an artist at least, found {n} and {len(self.artists)}")

    def _check_truth(self) -> None:
        unknown = self.label < 0
        if unknown.any():
            row = unknown.argmax()
            raise ArtistidError(
                f"{self._where(row)}: the true artist {self.artist[row]!r} is not among these predictions' "
                f"{counted(len(self.artists), 'artist')} ({abbreviate(self.artists, 5)})"
            )
        same_track = ~self._starts_track[1:]
        twice = same_track & (self.clip[1:] == self.clip[:-1])
        if twice.any():
            raise ArtistidError(f"{self._where(twice.argmax())}: expected one row per clip, found two")
        mixed = same_track & (self.label[1:] != self.label[:-1])
        if mixed.any():
            row = mixed.argmax()
            raise ArtistidError(
                f"track {self.track_id[row]!r}: expected one true artist, "
                f"found {self.artist[row]!r} and {self.artist[row + 1]!r}"
            )

    def _check_probability(self, values: NDArray[np.float32]) -> None:
        lowest = values.min(axis=1)
        total = values.sum(axis=1, dtype=np.float64)
        # Written so that NaN, for which every comparison is false, counts as bad.
        bad = ~((lowest >= 0) & (np.abs(total - 1) <= SUM_TOLERANCE))
        if bad.any():
            row = bad.argmax()
            raise ArtistidError(
                f"{self._where(row)}: probabilities must be finite, not negative and sum to 1 "
                f"(within {SUM_TOLERANCE:g}); the smallest is {lowest[row]:g}, the sum {total[row]:g}"
            )

    def _where(self, row: int | np.intp) -> str:
        return f"track {self.track_id[row]!r}, clip {self.clip[row]}"


def _strings(values: object, name: str) -> NDArray[np.object_]:
    array = np.asarray(values, dtype=object)
    if array.size and pd.api.types.infer_dtype(array, skipna=False) != "string":
        row, value = next((row, value) for row, value in enumerate(array) if not isinstance(value, str))
        raise ArtistidError(f"{name} must be text, found {value!r} in row {row}")
    return array


def _clip_numbers(values: object) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ArtistidError(f"clip must be whole numbers, none missing; found {array.dtype} such as {array.flat[0]!r}")
    if array.size and not 0 <= array.min() <= array.max() <= np.iinfo(np.int32).max:
        raise ArtistidError(f"clip must count from 0 and fit int32, found {array.min()} to {array.max()}")
    return array.astype(np.int32)


def _floats(values: object) -> NDArray[np.float32]:
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ArtistidError(f"probability must be a table of numbers: {error}") from error
