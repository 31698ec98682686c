"""What the tags of audio files say: artist, album, title; read once, and again only where a file has changed."""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import mutagen
from mutagen.apev2 import APEBinaryValue, APENoHeaderError, APEv2
from mutagen.id3 import ID3, BitPaddedInt, Encoding, ID3NoHeaderError, TextFrame
from mutagen.wave import WAVE

from artistid.data.catalog import clean
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.places import no_file
from artistid.processes import WorkerDiedError, Workers
from artistid.terminal import progress
from artistid.writing import write_text

log = logging.getLogger(__name__)

# Part of the cache's key: increment it when the same file gives other tags.
TAGS_VERSION = 2

# Below this many files, starting processes takes longer than reading.
WORTH_WORKERS = 2000
BATCH = 100  # files per task of a worker

# Names in ID3, Vorbis comments and APE, MP4, Windows Media, and RIFF; the first that a file has is taken.
TAG_NAMES = {
    "artist": ("TPE1", "artist", "\xa9ART", "Author", "IART"),
    "album_artist": (
        *("TPE2", "albumartist", "album artist", "album_artist", "aART", "WM/AlbumArtist"),
        *("TXXX:albumartist", "TXXX:album artist"),
    ),
    "album": ("TALB", "album", "\xa9alb", "WM/AlbumTitle", "IPRD"),
    "title": ("TIT2", "title", "\xa9nam", "INAM"),
    "disc": ("TPOS", "discnumber", "disc", "disk", "WM/PartOfSet"),
    "number": ("TRCK", "tracknumber", "track", "trkn", "WM/TrackNumber", "IPRT", "ITRK"),
    "compilation": ("TCMP", "compilation", "cpil", "WM/IsCompilation"),
    # Those without a frame or atom of their own have the same name everywhere, but for prefix and spelling.
    "artists": ("artists", "TXXX:artists", "----:com.apple.iTunes:artists", "WM/ARTISTS"),
    "artist_ids": (
        *("musicbrainz_artistid", "TXXX:MusicBrainz Artist Id", "TXXX:musicbrainz_artistid"),
        *("----:com.apple.iTunes:MusicBrainz Artist Id", "MusicBrainz/Artist Id"),
    ),
    "album_artist_ids": (
        *("musicbrainz_albumartistid", "TXXX:MusicBrainz Album Artist Id", "TXXX:musicbrainz_albumartistid"),
        *("----:com.apple.iTunes:MusicBrainz Album Artist Id", "MusicBrainz/Album Artist Id"),
    ),
    "album_id": (
        *("musicbrainz_albumid", "TXXX:MusicBrainz Album Id", "TXXX:musicbrainz_albumid"),
        *("----:com.apple.iTunes:MusicBrainz Album Id", "MusicBrainz/Album Id"),
    ),
}
WRITTEN_TAGS = ("artist", "album_artist", "album", "title")  # those that people write
IDENTIFIER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

MOST_APPENDED_BYTES = 2**20  # of an ID3 tag at a file's end
MOST_CHUNKS, MOST_INFO_BYTES = 1000, 2**16  # of a WAV file; of its texts

State = tuple[int, int, int]  # of a file: size, mtime and ctime in ns
Fields = Mapping[str, Any]  # of a tag of any kind: value by name in lower case


class Tags(NamedTuple):
    """A file's tags; empty where there are none.

    Attributes:
        artist: of the track; several are joined by "; ".
        album_artist: of the whole album; the first of several.
        album: title, as tagged.
        title: of the track.
        disc: its number in a set.
        number: the track's number on its disc.
        compilation: whether the album is tagged as one.
        doubtful: the text claims to be Latin-1 but hardly is.
        error: why the tags cannot be read.
        artists: of the track, where the tags list several separately.
        artist_ids: MusicBrainz identifiers of the track's artists.
        album_artist_ids: the same for the album.
        album_id: of the release.
    """

    artist: str = ""
    album_artist: str = ""
    album: str = ""
    title: str = ""
    disc: str = ""
    number: str = ""
    compilation: bool = False
    doubtful: bool = False
    error: str = ""
    artists: tuple[str, ...] = ()
    artist_ids: tuple[str, ...] = ()
    album_artist_ids: tuple[str, ...] = ()
    album_id: str = ""


def read_tags(path: Path, encoding: str | None = None) -> Tags:
    """The tags of one file.

    Args:
        path: an audio file of any format that mutagen knows, or a RIFF file; for others, all is empty.
        encoding: of ID3 text that claims to be Latin-1, as old taggers write whatever their system used. UTF-8 under
            that claim is recognised without it.
    """
    try:
        if what := no_file(path):
            return Tags(error=f"it is {what}")
        return _read_tags(path, encoding)
    except Exception as error:  # broken files make mutagen raise anything, MemoryError included
        return Tags(error=_words(error))


def _read_tags(path: Path, encoding: str | None) -> Tags:
    kinds, errors = _all_tags(path, encoding)
    raw = {field: _first(kinds, names) for field, names in TAG_NAMES.items()}
    values = {field: _texts(value, encoding) for field, value in raw.items()}
    texts = {field: "; ".join(values[field]) for field in WRITTEN_TAGS}
    disc, number = ("".join(values[field][:1]).partition("/")[0].strip() for field in ("disc", "number"))
    each = max(values["artists"], values["artist"], key=len)
    album_id = _identifiers(values["album_id"])
    return Tags(
        artist=texts["artist"],
        album_artist="".join(values["album_artist"][:1]),
        album=texts["album"],
        title=texts["title"],
        disc=disc.lstrip("0"),
        number=number.lstrip("0"),
        compilation="".join(values["compilation"]).lower() in ("1", "true"),
        doubtful=any(_is_doubtful(raw[field], text) for field, text in texts.items()),
        error="" if any(kinds) else "".join(errors[:1]),
        artists=tuple(each) if len(each) > 1 else (),
        artist_ids=_identifiers(values["artist_ids"]),
        album_artist_ids=_identifiers(values["album_artist_ids"]),
        album_id=album_id[0] if album_id else "",
    )


def _all_tags(path: Path, encoding: str | None) -> tuple[list[Fields], list[str]]:
    """All tags of a file, the most trustworthy first, and the errors of those that cannot be read.

    One kind may have what another lacks: an ID3 tag with the title only, before an APE tag with the rest; ID3v1, which
    truncates to 30 characters, comes last.
    """
    errors: list[str] = []

    def read(kind: Callable[..., Any], **settings: Any) -> Any:
        try:
            return kind(path, **settings)
        except (ID3NoHeaderError, APENoHeaderError):
            return None
        except Exception as error:  # see read_tags
            errors.append(_words(error))
            return None

    file = read(mutagen.File)
    if file is None:  # unknown format or broken audio: its tags may be intact
        tags = [read(ID3), read(APEv2)]
    elif not isinstance(file.tags, ID3 | None):
        tags = [file.tags]
    elif (ape := read(APEv2)) is not None:
        tags = [read(ID3, load_v1=False), ape, file.tags]
    else:
        tags = [file.tags or read(_appended_id3)]
    if file is None or isinstance(file, WAVE):
        tags.append(read(_riff_info, encoding=encoding))
    return [{name.casefold(): value for name, value in each.items()} for each in tags if each], errors


def _appended_id3(path: Path) -> ID3 | None:
    """An ID3 tag at a file's end, where Audacious writes it; None where there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 10))
        footer = file.read()
        length = 20 + BitPaddedInt(footer[-4:])
        if footer[:3] != b"3DI" or length > min(end, MOST_APPENDED_BYTES):
            return None
        file.seek(end - length)
        return ID3(BytesIO(file.read()), load_v1=False)


def _riff_info(path: Path, encoding: str | None) -> dict[str, list[str]]:
    """The texts in the INFO lists of a WAV file, by name; empty for any other file."""
    by_name: dict[str, list[str]] = {}
    with path.open("rb") as file:
        if not re.fullmatch(rb"(?:RIFF|RF64)....WAVE", file.read(12), re.DOTALL):
            return by_name
        for _ in range(MOST_CHUNKS):
            if len(header := file.read(8)) < 8:
                break
            name, size = struct.unpack("<4sI", header)
            end = file.tell() + size + size % 2
            if name == b"LIST" and file.read(4) == b"INFO":
                content = file.read(min(size - 4, MOST_INFO_BYTES))
                while len(content) > 8:
                    name, size = struct.unpack("<4sI", content[:8])
                    text = content[8 : 8 + size].split(b"\0")[0].decode("latin-1")
                    by_name.setdefault(name.decode("latin-1"), [_decoded_again(text, encoding)])
                    content = content[8 + size + size % 2 :]
            file.seek(end)
    return by_name


def _first(kinds: Iterable[Fields], names: Iterable[str]) -> Any:
    """The value of the first name found, searching one tag after the other."""
    named = [name.casefold() for name in names]
    return next((fields[name] for fields in kinds for name in named if name in fields), ())


def _identifiers(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match.lower() for text in texts for match in IDENTIFIER.findall(text)))


def _texts(value: Any, encoding: str | None) -> list[str]:
    """The texts of a tag's value, which each format wraps in its own way."""
    if _claims_latin1(value):
        texts = [_decoded_again(str(text), encoding) for text in value.text]
    elif isinstance(value, bool):  # MP4's flags
        texts = [str(value)]
    elif isinstance(value, APEBinaryValue):  # a picture under the name of a text
        texts = []
    else:
        texts = [_text(part) for part in value]
    return list(dict.fromkeys(filter(None, map(clean, texts))))  # Windows Media has some twice


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # MP4's freeform atoms
        return value.decode("utf-8", "replace")
    return str(value[0] if isinstance(value, tuple) else value)  # MP4's (number, total)


def _claims_latin1(value: Any) -> bool:
    return isinstance(value, TextFrame) and value.encoding == Encoding.LATIN1


def _decoded_again(text: str, encoding: str | None) -> str:
    """Text that was read as Latin-1, decoded as UTF-8 if valid, else in the encoding, if possible."""
    for guess in ("utf-8", encoding):
        if guess is not None:
            try:
                return text.encode("latin-1").decode(guess)
            except UnicodeError:
                continue
    return text


def _is_doubtful(value: Any, text: str) -> bool:
    """Whether most letters of a text that claims to be Latin-1 are outside ASCII, and it was not decoded again."""
    if not _claims_latin1(value) or text != clean("; ".join(map(str, value.text))):
        return False
    return 2 * sum(not letter.isascii() for letter in text) > len(text.replace(" ", ""))


def read_all_tags(
    paths: list[Path], cache: Path, encoding: str | None = None, workers: int | None = None, reread: bool = False
) -> list[Tags]:
    """The tags of many files; files unchanged since their tags were last read are not opened.

    Args:
        paths: audio files.
        cache: JSON file that keeps what was read; files are identified by path, size, mtime, and ctime, since a tagger
            may restore the mtime and write within a tag's padding.
        encoding: see :func:`read_tags`.
        workers: processes that read; None takes one per core, below 2 only this one.
        reread: whether to open all files, whatever is cached.

    Raises:
        ArtistidError: an unknown encoding, or a cache that cannot be written.
    """
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ArtistidError(
                f"data.tag_encoding={encoding} is not an encoding; expected one such as cp1251"
            ) from None
    cached = {} if reread else _load(cache, encoding)
    states = {str(path): _state(path) for path in paths}
    known: dict[str, Any] = {
        name: [tuple(item) if isinstance(item, list) else item for item in tags]  # JSON knows no tuples
        for name, (*state, tags) in cached.items()
        if states.get(name) == tuple(state)
    }
    if unread := [path for path in paths if str(path) not in known]:
        log.info("reading the tags of %s", counted(len(unread), "file"))
        known |= zip(map(str, unread), _read_many(unread, encoding, workers), strict=True)
        _save(cache, encoding, {name: (*state, known[name]) for name, state in states.items()})
    return [Tags(*known[str(path)]) for path in paths]


def log_unread(tags: Mapping[str, Tags]) -> None:
    """Warn of files whose tags cannot be read; ``tags`` are by the names to be logged."""
    if bad := [f"{name} ({each.error})" for name, each in tags.items() if each.error]:
        log.warning("the tags of %s cannot be read: %s", counted(len(bad), "file"), abbreviate(bad))


def _state(path: Path) -> State:
    try:
        stat = path.stat()
    except OSError:  # reported when its tags are read
        return 0, 0, 0
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _words(error: Exception) -> str:
    return str(error) or f"{type(error).__module__}.{type(error).__name__}"


def _read_many(paths: list[Path], encoding: str | None, workers: int | None) -> list[Tags]:
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 2 or len(paths) < WORTH_WORKERS:
        return [read_tags(path, encoding) for path in progress(paths, "tags")]
    read: list[Tags] = []
    with Workers(workers) as pool:
        batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
        futures = pool.map(partial(_read_batch, encoding=encoding), batches, ahead=2 * workers)
        for batch, future in zip(batches, progress(futures, "tags", total=len(batches)), strict=True):
            try:
                read += future.result()
            except WorkerDiedError:  # one of them killed it, and only that one loses its tags
                read += [_read_apart(pool, path, encoding) for path in batch]
    return read


def _read_batch(paths: list[Path], encoding: str | None) -> list[Tags]:
    return [read_tags(path, encoding) for path in paths]


def _read_apart(pool: Workers, path: Path, encoding: str | None) -> Tags:
    try:
        return pool.submit(read_tags, path, encoding).result()
    except WorkerDiedError as error:
        return Tags(error=f"the process that read them {error}")


def _load(cache: Path, encoding: str | None) -> dict[str, list[Any]]:
    """State and tags by path; empty without a cache, or with one of other settings."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return content["files"] if content["made_by"] == [TAGS_VERSION, encoding] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(cache: Path, encoding: str | None, files: Mapping[str, tuple[int, int, int, Tags]]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps({"made_by": [TAGS_VERSION, encoding], "files": files}))
    except OSError as error:
        raise ArtistidError(f"the tags cannot be cached in {cache} (cache_dir): {error}") from error
