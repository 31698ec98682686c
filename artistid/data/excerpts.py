"""Excerpts of songs as small files of their own, to be listened to where the songs are not available."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from artistid.data.audio import DecodingError, decode_blocks
from artistid.data.song import Limits, crashed, start_decoders
from artistid.processes import WorkerDiedError

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000  # Hz; mono at this rate, a second of MP3 takes 4 kB


@dataclass(frozen=True)
class Excerpt:
    """A part of a song.

    Attributes:
        path: of its file.
        start: seconds from its beginning.
        seconds: its length; less at the song's end.
        caption: text about it.
    """

    path: Path
    start: float
    seconds: float
    caption: str = ""


def mp3_files(excerpts: Sequence[Excerpt], limits: Limits) -> list[bytes | None]:
    """The excerpts as MP3 files; None, and a warning, for a song that can no longer be decoded.

    Args:
        excerpts: of any songs.
        limits: of each song's file, which a separate process decodes.
    """
    if not excerpts:
        return []
    found: list[bytes | None] = []
    with start_decoders(1, limits) as decoders:
        for excerpt in excerpts:
            try:
                found.append(decoders.submit(as_mp3, excerpt).result())
            except (DecodingError, WorkerDiedError) as error:
                found.append(None)
                reason = crashed(excerpt.path, error) if isinstance(error, WorkerDiedError) else error
                log.warning("no excerpt: %s", reason)
    return found


def as_mp3(excerpt: Excerpt) -> bytes:
    """The excerpt as an MP3 file; raises DecodingError."""
    import soundfile

    first, stop = (round(at * SAMPLE_RATE) for at in (excerpt.start, excerpt.start + excerpt.seconds))
    parts, done = [], 0
    for block in decode_blocks(excerpt.path, SAMPLE_RATE):
        parts.append(block[max(0, first - done) : max(0, stop - done)])
        done += len(block)
        if done >= stop:
            break
    file = BytesIO()
    soundfile.write(file, np.concatenate(parts).clip(-1, 1), SAMPLE_RATE, format="MP3")
    return file.getvalue()
