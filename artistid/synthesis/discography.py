"""The files of a synthetic discography: ``artist/album/NN-Title.mp3``, 16 kHz mono, 32 kbit/s, as artist20 has them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from artistid.errors import ArtistidError
from artistid.processes import WorkerDiedError, Workers, lock
from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.composing import compose
from artistid.synthesis.instruments import Waveform, render
from artistid.synthesis.production import draw_production, produce
from artistid.synthesis.style import draw_artist
from artistid.terminal import progress
from artistid.writing import whole

# fmt: off
FIRST = (
    "amber", "brazen", "cobalt", "crooked", "distant", "electric", "faded", "feral", "gentle", "gilded", "hollow",
    "idle", "ivory", "jagged", "lunar", "marble", "mellow", "midnight", "narrow", "northern", "opal", "paper", "pale",
    "quiet", "restless", "rusty", "salted", "scarlet", "silver", "sleepless", "slow", "solar", "static", "sudden",
    "tangled", "velvet", "violet", "wandering", "wild", "winter",
)
SECOND = (
    "anchors", "antlers", "arcade", "avenue", "birds", "cartel", "causeway", "choir", "comets", "compass", "dialect",
    "embers", "engines", "ferries", "foxes", "garden", "harbour", "heirs", "hours", "islands", "kites", "ladder",
    "lanterns", "letters", "lighthouse", "meridian", "mirrors", "orchard", "parade", "pilots", "postcards", "quarry",
    "reverie", "rivers", "rooftops", "satellites", "sparrows", "theory", "thunder", "tides",
)
# fmt: on


def nth_name(rng: np.random.Generator, n: int) -> str:
    """Two words, lower case, joined by an underscore; ``rng`` must be fresh."""
    order = rng.permutation(len(FIRST) * len(SECOND))
    lap, index = divmod(n, len(order))
    first, second = divmod(int(order[index]), len(SECOND))
    name = f"{FIRST[first]}_{SECOND[second]}"
    return f"{name}_{lap + 1}" if lap else name


# Increment it with every audible change: old renderings are then left alone and new ones made.
COMPOSER_VERSION = 2

# Bits per second, constant.
BIT_RATE = 32_000

# Seconds: less than two bars of the slowest song is not music.
SHORTEST_SONG_S = 5.0

LONGEST_OVER_SHORTEST = 1.1


@dataclass(frozen=True, kw_only=True)
class Discography:
    """The settings of a discography; equal settings give equal files.

    Every artist, album and song has its own seed, from ``seed`` and its numbers: adding one leaves the others as is.

    Args:
        n_artists: number of artists.
        n_albums: albums of each artist.
        n_songs: songs on each album.
        seconds: length of the shortest songs; the longest are a tenth longer.
        style_strength: how far the artists' styles lie apart: 0 makes them equal, 1 is the default.
        producer_strength: how far the albums' productions lie apart: 0 makes them equal, 1 is the default.
        seed: 0 or more.

    Raises:
        ArtistidError: a setting out of its range.
    """

    n_artists: int = 8
    n_albums: int = 6
    n_songs: int = 4
    seconds: float = 20.0
    style_strength: float = 1.0
    producer_strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_artists", "n_albums", "n_songs"):
            self._check(name, int, 1)
        self._check("seconds", float, SHORTEST_SONG_S)
        self._check("style_strength", float, 0.0)
        self._check("producer_strength", float, 0.0)
        self._check("seed", int, 0)

    def _check(self, name: str, kind: type[int] | type[float], lowest: float) -> None:
        """Check a setting and convert it to its type, so that 30 and 30.0 give the same discography."""
        value = getattr(self, name)
        # Not `value < lowest`, which lets nan pass.
        if not isinstance(value, int | float) or not lowest <= value < math.inf or kind(value) != value:
            expected = "whole number" if kind is int else "number"
            raise ArtistidError(f"data.{name}={value}: expected a {expected}, {lowest} or more")
        object.__setattr__(self, name, kind(value))


@dataclass(frozen=True)
class Recording:
    """One song: its numbers from 0, and its file below the discography's folder."""

    artist: int
    album: int
    song: int
    path: PurePosixPath


def recordings(discography: Discography) -> Iterator[Recording]:
    """All recordings, artist by artist and album by album."""
    for artist in range(discography.n_artists):
        artist_name = nth_name(_rng(discography, "artist names"), artist)
        for album in range(discography.n_albums):
            album_name = nth_name(_rng(discography, "album names", artist), album)
            for song in range(discography.n_songs):
                title = nth_name(_rng(discography, "titles", artist, album), song)
                file = f"{song + 1:02d}-{title.title()}.mp3"
                yield Recording(artist, album, song, PurePosixPath(artist_name, album_name.title(), file))


def record(discography: Discography, artist: int, album: int, song: int) -> Waveform:
    """Render and produce a song: (samples,) float32 within ±1 at ``SAMPLE_RATE``."""
    style = draw_artist(_rng(discography, "artist", artist), discography.style_strength)
    production = draw_production(_rng(discography, "album", artist, album), discography.producer_strength)
    rng = _rng(discography, "song", artist, album, song)
    seconds = discography.seconds * rng.uniform(1.0, LONGEST_OVER_SHORTEST)
    return produce(render(compose(style, rng, seconds), rng), production, rng)


_STREAMS = ("artist", "album", "song", "artist names", "album names", "titles")


def _rng(discography: Discography, stream: str, *numbers: int) -> np.random.Generator:
    """The random stream of one item; streams are independent, and don't depend on the strengths."""
    return np.random.default_rng(np.random.SeedSequence(discography.seed, spawn_key=(_STREAMS.index(stream), *numbers)))


def encode(samples: Waveform) -> bytes:
    """MP3 at ``BIT_RATE``.

    Raises:
        ArtistidError: libsndfile was built without MP3.
    """
    if "MP3" not in soundfile.available_formats():
        raise ArtistidError(
            f"libsndfile {soundfile.__libsndfile_version__} cannot write MP3: expected 1.1 or newer, "
            "which the wheels of the soundfile package include"
        )
    file = io.BytesIO()
    # libsndfile maps its levels 0 to 1 to the bit rates of 16 kHz, 160 to 8 kbit/s, and LAME takes the nearest.
    level = (160_000 - BIT_RATE) / (160_000 - 8_000)
    soundfile.write(
        file,
        samples,
        SAMPLE_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=level,
    )
    return file.getvalue()


def write_discography(discography: Discography, folder: Path, workers: int | None = None) -> None:
    """Write the recordings that ``folder`` lacks, with a progress bar.

    Each file appears under its name only once it is whole, so an interrupted call is completed by the next one.

    Args:
        discography: what to write.
        folder: created if it is not there. It must hold nothing but this discography.
        workers: processes; below 2 only this one, None takes one per core.

    Raises:
        ArtistidError: the folder cannot be written to, ``workers`` is negative, or a worker process died.
    """
    if workers is not None and workers < 0:
        raise ArtistidError(f"data.workers={workers}: expected 0 or more processes")
    if not _missing(discography, folder):  # a complete one is not written to, not even to lock it
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locked = lock(folder)
    except OSError as error:
        raise ArtistidError(f"cannot write to {folder}: {error.strerror}; choose another cache_dir") from error
    with locked:
        missing = _missing(discography, folder)  # another process may have written while this one waited
        done = _written(discography, missing, folder, workers)
        if missing:
            for _ in progress(done, "composing", total=len(missing)):
                pass


def is_written(discography: Discography, folder: Path) -> bool:
    """Whether a folder has all recordings."""
    return not _missing(discography, folder)


def _missing(discography: Discography, folder: Path) -> list[Recording]:
    return [recording for recording in recordings(discography) if not (folder / recording.path).is_file()]


def _written(
    discography: Discography, missing: list[Recording], folder: Path, workers: int | None
) -> Iterator[Recording]:
    """The missing recordings, each when it is written."""
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(missing))
    if workers < 2:
        for recording in missing:
            yield _write(discography, recording, folder)
        return
    with Workers(workers) as pool:
        for written in pool.map(partial(_write, discography, folder=folder), missing, ahead=2 * workers):
            try:
                yield written.result()
            except WorkerDiedError as error:
                raise ArtistidError(
                    f"a composing process {error}, perhaps out of memory; what was written is kept, and "
                    "data.workers=1 starts no processes"
                ) from error


def _write(discography: Discography, recording: Recording, folder: Path) -> Recording:
    path = folder / recording.path
    mp3 = encode(record(discography, recording.artist, recording.album, recording.song))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path, "wb") as file:
            file.write(mp3)
    except OSError as error:
        raise ArtistidError(f"cannot write {path}: {error.strerror}; choose another cache_dir") from error
    return recording
