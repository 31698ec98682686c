"""Artist attribution: who made each song, from the tags of a whole library together.

A credit such as "Alice & Bob" may be one name, as "Simon & Garfunkel" is, or an artist with a guest; several artists in
one folder may share an album, or have one each of the same title. No rule on a single credit tells these apart, but
context does: who has the album's other tracks, who has songs alone, how tracks are numbered, and MusicBrainz
identifiers where there are any.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from artistid.data import catalog
from artistid.data.tags import Tags
from artistid.errors import abbreviate, counted

log = logging.getLogger(__name__)

MOST_NAMES = 2**16  # names of a library to cache: each is looked up again and again
folded = lru_cache(MOST_NAMES)(catalog.folded)

# What a compilation's artist is called, and its MusicBrainz identifier.
VARIOUS = frozenset(
    folded(name)
    for name in (
        *("Various Artists", "Various", "V.A.", "VA", "V/A", "Verschiedene Interpreten", "Verschiedene", "Diverse"),
        *("Artistes divers", "Artistes variés", "Varios artistas", "Vários artistas", "Artisti vari", "AA.VV."),
        *("Diverse artister", "Diverse artiesten", "Разные исполнители", "群星"),
    )
)
VARIOUS_ID = "89ad4ac3-39f7-470e-963a-56509c546377"
# What rippers and players write for an unknown artist.
UNKNOWN_ARTISTS = frozenset(
    folded(name)
    for name in (
        *("Unknown Artist", "<unknown>", "[unknown]", "(unknown)", "[unknown artist]", "Unbekannter Künstler"),
        *("Unbekannter Interpret", "Artiste inconnu", "Interprète inconnu", "Artista desconocido"),
        *("Artista desconhecido", "Artista sconosciuto", "Onbekende artiest", "Okänd artist", "Ukjent artist"),
        *("Nieznany wykonawca", "Неизвестный исполнитель", "不明なアーティスト", "未知艺术家"),
    )
)

FEATURING = re.compile(r"\s+[(\[]?(?:feat|ft|featuring)\b\.?\s.*$", re.IGNORECASE)
# Joins two names, or is part of one. "&" and the like are in many names; the groups "guest" and "list" only join.
JOINT = re.compile(
    r"\s+[(\[]?(?P<guest>with|w/|x|×|vs\.?|versus|meets|presents|pres\.)\s+|(?P<list>\s*[;、]\s*|\s+/\s+)"
    r"|\s+(?:&|\+|and|und|et|y|e|og|och|en)\s+|(?P<slash>/)|,\s+",
    re.IGNORECASE,
)
BAND = re.compile(r"(?:the|his|her|their|die|das|der|les|los|las)\s", re.IGNORECASE)  # as in "… and the Heartbreakers"

# In titles that many albums share: two albums of such a title need not be one.
COMMON_TITLE = re.compile(
    r"\b(?:unknown album|unbekanntes album|album inconnu|greatest|best of|the best|very best|anthology|collection"
    r"|essential|live|unplugged|singles?|demos?|b-?sides|remix(?:es)?|bootleg|untitled|self[- ]titled|ep)\b",
    re.IGNORECASE,
)
OWN_TRACKS = 3  # tracks that make a joint name a band's, and another name that of an artist who may have guests


@dataclass(frozen=True)
class Credits:
    """The artist of each file, and how doubtful cases were decided.

    Attributes:
        artists: by file; empty where none is named. For a song on a compilation, the song's own artist.
        compilations: files on compilations, and how that is known.
        guessed: those of them that no tag marks as such.
        guests: joint names whose songs were attributed to one of their artists, and to whom.
        several: the same for tags that list several artists separately.
        doubtful: joint names that begin with another artist's, but are kept as names of their own.
        spellings: names of one MusicBrainz artist, the one that is used first.
        namesakes: names shared by several MusicBrainz artists.
    """

    artists: dict[Path, str]
    compilations: dict[Path, str]
    guessed: frozenset[Path]
    guests: dict[str, str]
    several: dict[str, str]
    doubtful: list[str]
    spellings: list[list[str]]
    namesakes: list[str]

    def log_decisions(self) -> None:
        """Log which songs are credited to another artist than their tags literally name."""
        for went, what in (
            (self.guests, "joint names of artists, taken for one of them with guests"),
            (self.several, "tags of several artists, of whom the album's, or else the first, is taken"),
        ):
            if went:
                log.info(
                    "%s: %d: %s", what, len(went), abbreviate([f'"{name}" → {host}' for name, host in went.items()])
                )
        if self.doubtful:
            log.warning(
                "names that begin with another artist's and may include guests are kept as artists of their own "
                "(data.csv=… changes them): %d: %s",
                *(len(self.doubtful), abbreviate([f'"{name}"' for name in self.doubtful])),
            )
        if self.spellings:
            log.info(
                "%s several names but one MusicBrainz identifier: %s",
                *(
                    counted(len(self.spellings), "artist has", "artists have"),
                    abbreviate([" = ".join(names) for names in self.spellings]),
                ),
            )
        if self.namesakes:
            log.warning(
                "names shared by several MusicBrainz artists, told apart by the start of their identifiers: %d: %s",
                *(len(self.namesakes), abbreviate(self.namesakes)),
            )


def credits_of(tags: Mapping[Path, Tags]) -> Credits:
    """Attribute each file to an artist, by the tags of all."""
    chosen = {path: candidates(each)[0] for path, each in tags.items()}
    compilations = {path: "by various artists" for path, each in tags.items() if _is_by_various(each)}
    guessed: set[Path] = set()
    for album in _albums({path: each for path, each in tags.items() if path not in compilations}):
        chosen |= album.chosen
        if marked := album.marked():
            compilations |= dict.fromkeys(marked, "marked as a compilation")
        elif album.is_by_many():
            guessed |= album.tags.keys()
            why = (
                f"{counted(len(album.tags), 'track')} by {counted(len(album.leaders), 'artist')}, none of whom has most"
            )
            compilations |= dict.fromkeys(album.tags, why)
    hosts, doubtful = _hosts(tags, chosen)
    named = {path: hosts.get(name, name) for path, name in chosen.items()}
    artists, spellings, namesakes = _by_identifiers(tags, named)
    guests: dict[str, str] = {}
    several: dict[str, str] = {}
    for path, each in tags.items():
        credit = "; ".join(each.artists) or main_artist(each.artist)
        if not each.album_artist and credit and named[path] != credit:
            (several if each.artists else guests)[credit] = named[path]
    return Credits(artists, compilations, frozenset(guessed), guests, several, sorted(doubtful), spellings, namesakes)


@lru_cache(MOST_NAMES)
def main_artist(credit: str) -> str:
    """A credit without its explicit guests; empty for a placeholder of an unknown artist.

    Example:
        >>> main_artist("Alice (feat. Bob)")
        'Alice'
    """
    return "" if folded(credit) in UNKNOWN_ARTISTS else FEATURING.sub("", credit)


def joint_names(credit: str) -> list[str]:
    """Possible artists by a credit: all of it, and what precedes each joining word, the longest first.

    Example:
        >>> joint_names("Earth, Wind & Fire")
        ['Earth, Wind & Fire', 'Earth, Wind', 'Earth']
    """
    ends = [match.start() for match in JOINT.finditer(credit) if match.start() and match.end() < len(credit)]
    return [credit, *(credit[:end] for end in reversed(ends))]


def _parts(credit: str) -> list[str]:
    """All the names in a credit, read as a joint one."""
    return [part.strip(" )]") for part in JOINT.sub("\0", credit).split("\0")]


@lru_cache(MOST_NAMES)
def _names_in(credit: str) -> list[str]:
    """All names that a credit may stand for, the likeliest first."""
    return list(dict.fromkeys([*joint_names(credit), *_parts(credit)]))


def candidates(tags: Tags) -> list[str]:
    """Possible artists of a song by its own tags, the likeliest first."""
    if tags.album_artist and not _is_by_various(tags):
        return [main_artist(tags.album_artist)]
    if tags.artists:
        return list(dict.fromkeys(map(main_artist, tags.artists)))
    credit = "" if _is_various(tags.artist) else main_artist(tags.artist)
    return [credit] if len(tags.artist_ids) == 1 else _names_in(credit)


def _is_various(name: str) -> bool:
    return folded(name) in VARIOUS


def _is_by_various(tags: Tags) -> bool:
    return _is_various(tags.album_artist or tags.artist) or VARIOUS_ID in (*tags.album_artist_ids, *tags.artist_ids)


@dataclass(frozen=True)
class Album:
    """Tracks of one album title in one folder, or of one release, that have no album artist.

    Attributes:
        title: of the album.
        tags: of its tracks, by file.
    """

    title: str
    tags: Mapping[Path, Tags]

    @cached_property
    def chosen(self) -> dict[Path, str]:
        """For each track, the candidate with most of the album's tracks."""
        having = Counter(name for track in self.tags.values() for name in {folded(one) for one in candidates(track)})
        spelled: dict[str, Counter[str]] = defaultdict(Counter)
        for track in self.tags.values():
            for name in candidates(track):
                spelled[folded(name)][name] += 1
        chosen = {}
        for path, track in self.tags.items():
            whole, *_ = names = candidates(track)
            best = max(names, key=lambda name: having[folded(name)])  # on ties the first, the likeliest
            chosen[path] = whole if best == whole else spelled[folded(best)].most_common(1)[0][0]
        return chosen

    @cached_property
    def leaders(self) -> Counter[str]:
        """Number of tracks per artist, by folded name."""
        return Counter(map(folded, self.chosen.values()))

    def marked(self) -> list[Path]:
        """The tracks tagged as a compilation's; none where all are one artist's, as on a best-of."""
        marked = [path for path, each in self.tags.items() if each.compilation]
        own = len(self.leaders) == 1 and (
            len(self.tags) > 1
            or COMMON_TITLE.search(self.title) is not None
            or any(leader and leader in folded(self.title) for leader in self.leaders)
        )
        return [] if own else marked

    def is_by_many(self) -> bool:
        """Whether it is an untagged compilation: three artists or more, none with a majority of tracks."""
        [(_, most)] = self.leaders.most_common(1)
        return len(self.leaders) > 2 and 2 * most <= len(self.tags) and self._is_one_record()

    def _is_one_record(self) -> bool:
        """Whether tracks by several artists are one album, not several albums of that title."""
        if all(track.album_id for track in self.tags.values()):
            return True
        if COMMON_TITLE.search(self.title):
            return False
        numbers = [track.number for track in self.tags.values()]
        if sorted(numbers, key=_as_number) == [str(number) for number in range(1, len(numbers) + 1)]:
            return True
        if all(numbers) and 2 * len(set(numbers)) < len(numbers):
            return False
        with_one = sum(count == 1 for count in self.leaders.values())
        return 2 * with_one > len(self.leaders)


def _as_number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _albums(tags: Mapping[Path, Tags]) -> list[Album]:
    albums: dict[tuple[object, str], dict[Path, Tags]] = defaultdict(dict)
    for path, each in tags.items():
        if each.album and not each.album_artist:
            albums[("", each.album_id) if each.album_id else (path.parent, folded(each.album))][path] = each
    return [Album(next(iter(album.values())).album, album) for album in albums.values()]


def _hosts(tags: Mapping[Path, Tags], chosen: Mapping[Path, str]) -> tuple[dict[str, str], set[str]]:
    """The artists that joint names are attributed to, and the doubtful ones; a band's name is neither.

    The artist's name begins the joint one, is also found alone, and what follows it names a guest.
    """
    alone: Counter[str] = Counter()  # tracks of artists that are found without guests, by folded name
    joint: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for path, name in chosen.items():
        names = candidates(tags[path])
        if tags[path].artists or len(names) == 1 or name != names[0]:
            one = names if tags[path].artists else [name]
            alone.update(map(folded, one))
            spelled |= {folded(name): name for name in one}
        else:
            joint[name] += 1
    hosts: dict[str, str] = {}
    doubtful: set[str] = set()
    for name, count in joint.items():
        if count >= OWN_TRACKS or folded(name) in alone:  # it is a band's
            continue
        known = [host for host in joint_names(name)[1:] if folded(host) in alone]
        if guested := [host for host in known if _names_guest(host, name[len(host) :], alone)]:
            hosts[name] = spelled[folded(guested[0])]
        elif known:
            doubtful.add(name)
    return hosts, doubtful


def _names_guest(host: str, rest: str, alone: Mapping[str, int]) -> bool:
    """Whether what follows an artist's name, such as " & Bob", is a guest rather than part of the name.

    It is if the library has one of its names alone. Else, unless it reads like a backing band ("the …") or follows a
    slash: if the joining word can mean nothing else, or it is one name, after an artist of ``OWN_TRACKS`` or more.
    """
    first = JOINT.match(rest)
    assert first
    others = _parts(rest[first.end() :])
    if any(folded(name) in alone for name in others):
        return True
    if BAND.match(others[0]) or first["slash"]:
        return False
    return bool(first["guest"] or first["list"]) or (len(others) == 1 and alone[folded(host)] >= OWN_TRACKS)


def _by_identifiers(
    tags: Mapping[Path, Tags], named: Mapping[Path, str]
) -> tuple[dict[Path, str], list[list[str]], list[str]]:
    """Each file's artist after merging and splitting by MusicBrainz identifier, the spellings merged, the names split.

    A file without an identifier takes that of its name, if only one artist has the name.
    """
    identifiers = {path: _identifier(each, named[path]) for path, each in tags.items() if named[path]}
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    for path, identifier in identifiers.items():
        if identifier:
            spelled[identifier][named[path]] += 1
    usual = {identifier: min(names, key=lambda name: (-names[name], name)) for identifier, names in spelled.items()}
    of_name: dict[str, set[str]] = defaultdict(set)
    for identifier, names in spelled.items():
        for name in names:
            of_name[name].add(identifier)
    shared = {name for name, count in Counter(usual.values()).items() if count > 1}
    artists = {}
    for path, name in named.items():
        identifier = identifiers.get(path, "")
        if not identifier and len(of_name[name]) == 1:
            [identifier] = of_name[name]
        name = usual.get(identifier, name)
        artists[path] = f"{name} ({identifier[:8]})" if identifier and name in shared else name
    spellings = [
        [usual[identifier], *sorted(names.keys() - {usual[identifier]})] for identifier, names in spelled.items()
    ]
    return artists, sorted(group for group in spellings if len(group) > 1), sorted(shared)


def _identifier(tags: Tags, name: str) -> str:
    """The MusicBrainz identifier of a song's artist; empty where there is none."""
    if tags.album_artist and not _is_by_various(tags):
        return " ".join(tags.album_artist_ids)
    if len(tags.artists) == len(tags.artist_ids) > 1:
        each = dict(zip(map(main_artist, tags.artists), tags.artist_ids, strict=True))
        return each.get(name, "")
    whole = name == candidates(tags)[0]
    return " ".join(tags.artist_ids if whole else tags.artist_ids[:1])
