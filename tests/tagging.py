"""Audio files with tags in their formats' own ways, each a moment of silence."""

from __future__ import annotations

import struct
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
ATOMS = {
    "artist": "\xa9ART",
    "album_artist": "aART",
    "album": "\xa9alb",
    "title": "\xa9nam",
    "disc": "disk",
    "number": "trkn",
    "compilation": "cpil",
}
SAMPLE_RATE = 48_000  # Hz; the only one that all formats have


def tagged(path: Path, **fields: str) -> Path:
    """Write an audio file whose tags hold ``fields`` and nothing else; none at all without fields."""
    if path.suffix in (".mp3", ".wav", ".aiff"):
        return tag_id3(path, 3, **{ID3_FRAMES[field]: text for field, text in fields.items()})
    _write_silence(path)
    if fields:
        file = mutagen.File(path)
        if file.tags is None:
            file.add_tags()
        for field, text in fields.items():
            if path.suffix == ".m4a":
                file.tags[ATOMS[field]] = _atom(field, text)
            else:
                file.tags[COMMENTS[field]] = text
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
    if path.suffix in HEADERS:
        path.write_bytes(HEADERS[path.suffix])
    else:
        write_audio(path, np.zeros(SAMPLE_RATE // 10, np.float32), SAMPLE_RATE)


def _atom(field: str, text: str) -> list[tuple[int, int]] | list[str] | bool:
    """A value as MP4 has it: pairs of number and total, flags, texts."""
    if field in ("disc", "number"):
        return [(int(text), 12)]
    return text == "1" if field == "compilation" else [text]


def _box(name: bytes, content: bytes) -> bytes:
    """An MP4 atom."""
    return struct.pack(">I", 8 + len(content)) + name + content


# Formats that soundfile does not write: a file's beginning, as far as its tags need one.
HEADERS = {
    ".m4a": _box(b"ftyp", b"M4A \0\0\0\0")
    + _box(
        b"moov",
        _box(
            b"trak",
            _box(
                b"mdia",
                _box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, SAMPLE_RATE, 0, 0)) + _box(b"hdlr", bytes(8) + b"soun"),
            ),
        ),
    ),
    ".ape": b"MAC " + struct.pack("<H", 3990) + bytes(50) + struct.pack("<IIIHHI", 1, 0, 1, 16, 1, SAMPLE_RATE),
}
