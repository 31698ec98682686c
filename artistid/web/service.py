"""What the page shows of one song: its artists, its spectrogram, and its neighbourhood in a collection.

The map of a collection is by principal components: unlike those of t-SNE, its positions are a function of the vector,
so a song that was not there when the map was drawn has one too.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.decomposition import PCA

from artistid.data.audio import DecodingError
from artistid.data.features import Features
from artistid.data.song import Limits, SongFeatures, SongReader
from artistid.inference.collection import Collection
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.neighbours import Query, Wanted, find_similar
from artistid.inference.outputs import ClipOutputs
from artistid.printing import printable
from artistid.web.uploads import refusal

# More columns than a page is wide are not seen, and cost time to send.
MOST_COLUMNS = 1600
SHOWN_DB = 80.0  # below the loudest
COLOURS = "magma"  # as in the report's spectrograms
LABELLED_HZ = (500, 1000, 2000, 4000, 8000, 16000)  # lower ones would lie upon one another


def picture(sound: SongFeatures, features: Features) -> dict[str, Any] | None:
    """A song's log-mel, time from left to right, low frequencies below; None of features that are no spectrogram.

    Returns:
        ``image``, a PNG as a data URI; ``seconds`` of its width; and ``frequencies``, some of its ``hz`` with their
        ``height`` in [0, 1].
    """
    if features.frequencies is None:
        return None
    return {
        "image": f"data:image/png;base64,{base64.b64encode(_png(_fitted(sound.array))).decode()}",
        "seconds": len(sound.array) * features.hop_length / features.sample_rate,
        "frequencies": _labels(features.frequencies),
    }


def _fitted(log_mel: NDArray[np.float16]) -> NDArray[np.float32]:
    """``(columns, mel)``: frames ``(frames, mel)``, averaged where there are more than can be shown."""
    starts = np.linspace(0, len(log_mel), min(len(log_mel), MOST_COLUMNS), endpoint=False).astype(int)
    frames = np.diff(starts, append=len(log_mel))
    sums: NDArray[np.float32] = np.add.reduceat(log_mel, starts, axis=0, dtype=np.float32)
    sums /= frames[:, None]
    return sums


def _png(decibels: NDArray[np.float32]) -> bytes:
    share = np.clip((decibels - decibels.max()) / SHOWN_DB + 1, 0, 1)
    image = Image.fromarray((255 * share.T[::-1]).round().astype(np.uint8), mode="P")
    image.putpalette((255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return file.getvalue()


def _labels(centres: NDArray[np.float64]) -> list[dict[str, float]]:
    """Round frequencies that lie between the lowest and the highest mel bin's middle."""
    heights = (np.arange(len(centres)) + 0.5) / len(centres)
    inside = (hz for hz in LABELLED_HZ if centres[0] <= hz <= centres[-1])
    return [{"hz": hz, "height": round(float(np.interp(hz, centres, heights)), 4)} for hz in inside]


# Each point is an element of its own in the page; of a larger collection this many are drawn at random.
MOST_POINTS = 5000
FEWEST_SONGS = 3  # two components of fewer would show nothing


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Songs that others are compared with.

    Attributes:
        collection: their embeddings.
        n_nearest: how many to list.
    """

    collection: Collection
    n_nearest: int

    @classmethod
    def open(cls, path: str | Path, identifier: Identifier, n_nearest: int) -> Neighbourhood:
        """Read a collection.

        Raises:
            ArtistidError: see :meth:`Collection.read`; or another network made it.
        """
        collection = Collection.read(path)
        collection.check_made_by(identifier)
        return cls(collection, n_nearest)

    def around(self, outputs: ClipOutputs) -> dict[str, Any] | None:
        """What is near to a song, as plain types; None where there is nothing to compare.

        Returns:
            ``songs``, the nearest first; ``copies``, the songs of the collection that are this very recording, which
            are not listed among them; and the ``place`` on the map, if there is one.
        """
        vector = song_vector(outputs.embedding)
        own = tuple(map(int, self.collection.copies(outputs.sha1)))
        if outputs.silent or not vector.any():
            return None
        songs: list[dict[str, Any]] = []
        if len(own) < len(self.collection):
            similar = find_similar(
                self.collection, Query(outputs.name, "", "", vector, own), Wanted(self.n_nearest, same_album=True)
            )
            rows = [self.collection.row(song.track_id) for song in similar.songs]
            songs = [
                {**self._named(row), "similarity": song.similarity, "place": self._place(self.collection.vectors[row])}
                for row, song in zip(rows, similar.songs, strict=True)
            ]
        return {"songs": songs, "copies": [self._named(row) for row in own], "place": self._place(vector)}

    def map(self) -> dict[str, Any] | None:
        """The map, as plain types; None for a collection that is too small.

        Returns:
            For each song that is shown, in lists, its place ``x`` and ``y``, its ``artist`` and its ``title``;
            ``n_songs`` of the collection; and ``explained``, the share of the variance that the map keeps.
        """
        if self._components is None:
            return None
        rows = np.arange(len(self.collection))
        if len(rows) > MOST_POINTS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST_POINTS, replace=False))
        x, y = self._components.transform(self.collection.vectors[rows]).T.round(4).tolist()
        named = [self._named(row) for row in rows.tolist()]
        return {
            "x": x,
            "y": y,
            "artist": [song["artist"] for song in named],
            "title": [song["title"] for song in named],
            "n_songs": len(self.collection),
            "explained": float(self._components.explained_variance_ratio_.sum()),
        }

    @cached_property
    def _components(self) -> PCA | None:
        vectors = self.collection.vectors
        if len(vectors) < FEWEST_SONGS or vectors.shape[1] < 2 or not np.ptp(vectors, axis=0).any():
            return None
        return PCA(2, svd_solver="full").fit(vectors)

    def _place(self, vector: ArrayLike) -> list[float] | None:
        if self._components is None:
            return None
        place: list[float] = self._components.transform(np.asarray(vector)[None])[0].round(4).tolist()
        return place

    def _named(self, row: int) -> dict[str, str]:
        song = self.collection.songs.iloc[row]
        names = {"artist": song["artist"], "album": song["album"], "title": song["title"] or song["track_id"]}
        return {what: printable(name) for what, name in names.items()}


@dataclass(frozen=True)
class SongService:
    """Answers one song at a time.

    Attributes:
        identifier: the network that names the artist.
        max_minutes: of a song.
        top: how many artists to list.
        neighbourhood: a collection to compare it with, if there is one.
        limits: of the process that decodes a song, which may last ``max_minutes``.
    """

    identifier: Identifier
    max_minutes: float
    top: int
    neighbourhood: Neighbourhood | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _ = self._reader  # up before the first song comes

    @cached_property
    def _reader(self) -> SongReader:
        return SongReader(replace(self.limits, hours=self.max_minutes / 60))

    def answer(self, path: Path, name: str, still_wanted: Callable[[], object] | None = None) -> dict[str, Any]:
        """Everything the page shows of a song, as plain types.

        Args:
            path: of the audio.
            name: what its sender calls it.
            still_wanted: called now and then; what it raises ends the inference.

        Raises:
            artistid.web.uploads.RefusedError: too long, or no sound that can be decoded.
        """
        try:
            sound = self._reader.read(path, self.identifier.features)
        except DecodingError as error:
            raise refusal(error, path, name, self.max_minutes) from error
        outputs = self.identifier.infer(sound, still_wanted)
        identification = replace(self.identifier.identify(outputs, self.top), name=name)
        return {
            **identification.plain(),
            "silent": outputs.silent,
            "neighbourhood": self.neighbourhood and self.neighbourhood.around(outputs),
            "spectrogram": picture(sound, self.identifier.features),
        }
