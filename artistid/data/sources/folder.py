"""Your own music: a folder of artists, each with a folder per album; and which files below a folder are audio."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from artistid.data.audio import AUDIO_SUFFIXES
from artistid.data.catalog import Track
from artistid.data.sources.base import DatasetCard, Source, track_from_path
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.places import no_file

log = logging.getLogger(__name__)

# Formats of audio, or of music to be synthesised, that a folder is not searched for.
OTHER_SOUND = frozenset(
    {
        *(".mid", ".midi", ".kar", ".rmi", ".mod", ".xm", ".s3m", ".it", ".sid", ".nsf", ".spc", ".vgm"),
        *(".ofr", ".ofs", ".shn", ".la", ".wsd", ".mlp", ".thd", ".mp+", ".mpp", ".vqf"),
        *(".m4p", ".aa", ".aax", ".aaxc", ".ra", ".rm", ".ram", ".amr", ".awb", ".qcp", ".voc", ".gsm"),
        *(".adx", ".xwma", ".at3", ".oma", ".aa3"),
    }
)

# Folders that systems and servers keep for themselves: thumbnails named like the songs, and deleted files.
SYSTEM_FOLDERS = frozenset(
    {
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot", "lost+found"),
        *("$recycle.bin", "system volume information", "found.000", "__macosx"),
    }
)

# Prefixes of names that are never an album's or a song's: Apple's shadow files, and folders of programs.
NEVER_MUSIC = (
    "._",
    ".DS_Store",
    ".git",
    ".Trash",
    ".st",
    ".sync",
    ".thumb",
    ".cache",
    ".Spotlight",
    ".fseventsd",
    ".AppleD",
)

CUE = ".cue"
MOST_CUE_BYTES = 2**20  # a sheet of a hundred tracks has a few thousand
CUE_LINE = re.compile(r'^\s*(?:FILE\s+"?(?P<file>[^"\r\n]+?)"?\s+\w+|TRACK\s+\d+\s+AUDIO)\s*$', re.I | re.M)


def audio_files(root: Path) -> list[Path]:
    """Every audio file below ``root``, sorted; links are followed, hidden files and folders are ignored.

    All else that is left out is logged, see :class:`AudioSearch`.

    Raises:
        ArtistidError: a link that leads nowhere.
        OSError: ``root`` can't be read.
    """
    search = AudioSearch()
    files = search.below(root)
    search.report(root)
    return files


@dataclass
class AudioSearch:
    """Looks for audio files, and records what it skips.

    Attributes:
        others: files that are not audio, and their endings.
        sounds: files of audio formats that are not searched for, and their endings.
        no_files: pipes, sockets and devices, and what they are: reading one might never end.
        closed: folders, and links to files, that can't be read, and why.
        systems: folders that a system keeps for itself.
        hidden: audio files and folders whose names begin with a dot.
    """

    others: dict[Path, str] = field(default_factory=dict)
    sounds: dict[Path, str] = field(default_factory=dict)
    no_files: dict[Path, str] = field(default_factory=dict)
    closed: dict[Path, str] = field(default_factory=dict)
    systems: dict[Path, str] = field(default_factory=dict)
    hidden: dict[Path, str] = field(default_factory=dict)

    def below(self, root: Path) -> list[Path]:
        """Every audio file below a folder, sorted.

        Raises:
            ArtistidError: a link that leads nowhere.
            OSError: the folder itself can't be read.
        """
        audio, broken = [], []
        for entry in self._entries(root):
            path = Path(entry.path)
            if not self.takes(path, _is(entry.is_file, follow_symlinks=False)):
                continue
            try:
                if entry.is_symlink():
                    path.stat()
            except PermissionError as error:
                self.closed[path] = _reason(error)
            except OSError:
                broken.append(entry.path)
            else:
                audio.append(path)
        if broken:
            raise ArtistidError(f"{counted(len(broken), 'link leads', 'links lead')} nowhere: {abbreviate(broken, 5)}")
        return sorted(audio)

    def takes(self, path: Path, is_file: bool = False) -> bool:
        """Whether something is an audio file, by its ending; anything else is recorded.

        Args:
            path: of it.
            is_file: whether it is known to be a file, which saves a disk access for each of a library's 100,000 paths.
        """
        suffix = path.suffix.lower()
        if not is_file and (what := no_file(path)):
            self.no_files[path] = what
        elif suffix in AUDIO_SUFFIXES:
            return True
        else:
            (self.sounds if suffix in OTHER_SOUND else self.others)[path] = suffix or "no ending"
        return False

    def passed(self) -> str:
        """The files that were skipped, in a few words: how many of which ending."""
        return _by_ending([*self.others.values(), *self.sounds.values()])

    def report(self, where: object) -> None:
        """Log what was skipped.

        Args:
            where: what was searched.
        """
        if self.others:
            log.info(
                "not audio, left out: %s of %s: %s",
                *(counted(len(self.others), "file"), where, _by_ending(self.others.values())),
            )
        if self.sounds:
            log.warning(
                "left out %s of %s, of formats that are not searched for: %s; FLAC would be found",
                *(counted(len(self.sounds), "file"), where, _by_ending(self.sounds.values())),
            )
        for places, what in (
            (self.no_files, "not readable files"),
            (self.closed, "cannot be read"),
            (self.systems, "folders that a system keeps for itself"),
            (self.hidden, "hidden by a leading dot"),
        ):
            if places:
                listed = [f"{path} ({why})" if why else str(path) for path, why in places.items()]
                log.warning("left out of %s, %s: %d: %s", where, what, len(places), abbreviate(listed))
        cues = (path for path, suffix in self.others.items() if suffix == CUE)
        if albums := sorted({str(album) for cue in cues for album in albums_in_one_file(cue)}):
            log.warning(
                "albums in one file, by the cue sheets beside them, each taken for one song: %s: %s; shnsplit -f "
                "ALBUM.cue -o flac ALBUM.flac makes files of the tracks",
                *(counted(len(albums), "file"), abbreviate(albums)),
            )

    def _entries(self, folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[os.DirEntry[str]]:
        """Everything below a folder except folders; ``above`` has the real paths of its parent folders."""
        try:
            real = folder.resolve()
            if real in above:  # a link that leads back up
                return
            with os.scandir(folder) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(NEVER_MUSIC)]
        except (OSError, RuntimeError) as error:  # RuntimeError: circular links
            if not above:
                raise
            self.closed[folder] = _reason(error)
            return
        for entry in listed:
            is_folder = _is(entry.is_dir)
            if entry.name.startswith("."):  # as do some albums and songs
                if is_folder or Path(entry.name).suffix.lower() in AUDIO_SUFFIXES:
                    self.hidden[Path(entry.path)] = ""
            elif not is_folder:
                yield entry
            elif entry.name.lower() in SYSTEM_FOLDERS:
                self.systems[Path(entry.path)] = ""
            else:
                yield from self._entries(Path(entry.path), above | {real})


def _by_ending(endings: Iterable[str]) -> str:
    return ", ".join(f"{ending} {count}" for ending, count in sorted(Counter(endings).items()))


def _reason(error: OSError | RuntimeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is(what: Callable[..., bool], **how: bool) -> bool:
    """The answer of an entry's method; False where it cannot be read."""
    try:
        return what(**how)
    except OSError:
        return False


def albums_in_one_file(cue: Path) -> list[Path]:
    """The audio files that have several tracks each, according to a cue sheet.

    Sheets often name the WAV file of a CD that was encoded since: any audio file of that name will do.
    """
    try:
        with cue.open("rb") as file:
            text = os.fsdecode(file.read(MOST_CUE_BYTES))
    except OSError:  # then it says nothing
        return []
    tracks: list[tuple[str, int]] = []
    for match in CUE_LINE.finditer(text):
        if match["file"]:
            tracks.append((match["file"], 0))
        elif tracks:
            tracks[-1] = tracks[-1][0], tracks[-1][1] + 1
    several = [re.split(r"[/\\]", name)[-1] for name, count in tracks if count > 1]
    if not several:
        return []
    stems = {Path(name).stem for name in several} | ({cue.stem} if len(tracks) == 1 else set())
    return [path for path in cue.parent.iterdir() if path.stem in stems and path.suffix.lower() in AUDIO_SUFFIXES]


@dataclass(kw_only=True)
class Folder(Source):
    """Tracks by their path: ``root/artist/album/track.mp3``; tracks directly in an artist's folder have no album."""

    card: ClassVar[DatasetCard] = DatasetCard(
        title="a folder of music",
        licence="that of your music",
        citation="none",
        how_to_get="any mp3, flac, ogg or wav files, sorted into folders by artist and album",
        layout="ROOT/artist/album/track.mp3",
    )

    def scan(self, root: Path) -> list[Track]:
        return [track_from_path(path, root) for path in audio_files(root)]
