"""Audio files with tags in their formats' own ways, each a moment of silence."""

from __future__ import annotations

from pathlib import Path

import mutagen
import mutagen.id3
import numpy as np

from tests.corpus import write_audio

ID3_FRAMES = {
    "artist": "TPE1",
    "album_artist": "TPE2",
    "album": "TALB",
    "title": "TIT2",
    "disc": "TPOS",
    "number": "TRCK",
    "compilation": "TCMP",
}
COMMENTS = {
    "artist": "ARTIST",
    "album_artist": "ALBUMARTIST",
    "album": "ALBUM",
    "title": "TITLE",
    "disc": "DISCNUMBER",
    "number": "TRACKNUMBER",
    "compilation": "COMPILATION",
}
SAMPLE_RATE = 48_000  # Hz; the only one that all formats have


def tagged(path: Path, **fields: str) -> Path:
    """Write an audio file whose tags hold ``fields`` and nothing else; none at all without fields."""
    if path.suffix in (".mp3", ".wav", ".aiff"):
        return tag_id3(path, 3, **{ID3_FRAMES[field]: text for field, text in fields.items()})
    _write_silence(path)
    if fields:
        file = mutagen.File(path)
        for field, text in fields.items():
            file[COMMENTS[field]] = text
        file.save()
    return path


def tag_id3(path: Path, encoding: int = 0, version: int = 4, **frames: str | list[str]) -> Path:
    """Write an audio file with an ID3 tag, whose text is in one of ID3's four encodings; 0 is Latin-1."""
    _write_silence(path)
    if frames:
        file = mutagen.File(path)
        if file.tags is None:
            file.add_tags()
        for name, text in frames.items():
            file.tags.add(getattr(mutagen.id3, name)(encoding=encoding, text=text))
        file.save(v2_version=version)
    return path


def _write_silence(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, np.zeros(SAMPLE_RATE // 10, np.float32), SAMPLE_RATE)
