"""The catalog: one row per track, written as CSV, sorted by track id so that nothing depends on a file system's order."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from artistid.errors import ArtistidError


@dataclass(frozen=True, slots=True)
class Track:
    """One recording of a song.

    Attributes
    ----------
    track_id
        Unique and stable name: the path below the collection's root without its ending, in Unicode NFC.
    artist, album, title
        Names as the source has them. ``album`` is empty for a track that belongs to none.
    path
        The audio file.
    duration_s
        Seconds of decoded audio; None until the track has been prepared.
    sha1
        SHA-1 of the decoded samples, so that a copy with other tags counts as the same recording; None until prepared.
    """

    track_id: str
    artist: str
    album: str
    title: str
    path: Path
    duration_s: float | None = None
    sha1: str | None = None


COLUMNS = tuple(field.name for field in fields(Track))


@dataclass(frozen=True)
class Catalog(Sequence[Track]):
    """Tracks sorted by track id, each id once."""

    tracks: tuple[Track, ...]

    def __init__(self, tracks: Iterable[Track]) -> None:
        ordered = tuple(sorted(tracks, key=lambda track: track.track_id))
        for first, second in zip(ordered, ordered[1:], strict=False):
            if first.track_id == second.track_id:
                raise ArtistidError(
                    f"the track {first.track_id!r} is there twice: {first.path} and {second.path}; remove or rename one"
                )
        object.__setattr__(self, "tracks", ordered)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]  # as Sequence: a Track, or a tuple of them
        return self.tracks[index]

    def __iter__(self) -> Iterator[Track]:
        return iter(self.tracks)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artists' names, sorted: their positions are the class labels."""
        return tuple(sorted({track.artist for track in self}))

    @property
    def albums(self) -> dict[str, tuple[str, ...]]:
        """The albums of each artist, sorted; tracks without an album are not counted."""
        found: dict[str, set[str]] = {artist: set() for artist in self.artists}
        for track in self:
            if track.album:
                found[track.artist].add(track.album)
        return {artist: tuple(sorted(names)) for artist, names in found.items()}

    @property
    def songs_per_artist(self) -> Counter[str]:
        return Counter(track.artist for track in self)

    def by_artist(self) -> dict[str, tuple[Track, ...]]:
        """The tracks of each artist, artists and tracks sorted."""
        found: dict[str, list[Track]] = defaultdict(list)
        for track in self:
            found[track.artist].append(track)
        return {artist: tuple(found[artist]) for artist in self.artists}

    def select(
        self,
        artists: Collection[str] | None = None,
        min_albums: int = 0,
        min_songs: int = 0,
        exclude: Collection[str] = (),
    ) -> Catalog:
        """The part of the catalog that an experiment asks for.

        Parameters
        ----------
        artists
            Keep these artists only; None keeps all.
        min_albums, min_songs
            Keep artists with at least so many albums and songs, counted after ``exclude``.
        exclude
            Track ids to leave out.

        Raises
        ------
        ArtistidError
            A name that the catalog does not have, or nothing left.
        """
        _require_known(exclude, {track.track_id for track in self}, "data.exclude", "track ids")
        _require_known(artists or (), set(self.artists), "data.artists", "artists")
        kept = Catalog(track for track in self if track.track_id not in set(exclude))
        albums, songs = kept.albums, kept.songs_per_artist
        wanted = {
            artist
            for artist in (kept.artists if artists is None else artists)
            if len(albums.get(artist, ())) >= min_albums and songs[artist] >= min_songs
        }
        if not wanted:
            raise ArtistidError(
                f"no artist is left: of {len(self.artists)} artists none has data.min_albums={min_albums} albums and "
                f"data.min_songs={min_songs} songs"
                + (f" among data.artists={list(artists)}" if artists is not None else "")
                + f"; the most albums of one artist are {max((len(names) for names in albums.values()), default=0)}"
            )
        return Catalog(track for track in kept if track.artist in wanted)

    def with_facts(self, facts: Mapping[str, tuple[float, str]]) -> Catalog:
        """The tracks named in ``facts`` (track id to seconds and SHA-1), completed with them; the others are left out."""
        return Catalog(
            replace(track, duration_s=facts[track.track_id][0], sha1=facts[track.track_id][1])
            for track in self
            if track.track_id in facts
        )

    def to_csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(asdict(track) for track in self)

    @classmethod
    def from_csv(cls, path: Path) -> Catalog:
        """Read what :meth:`to_csv` wrote; raises ArtistidError that names the file if columns are missing."""
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise ArtistidError(f"{path} is no catalog: it lacks the columns {sorted(missing)}")
            return cls(
                Track(
                    track_id=row["track_id"],
                    artist=row["artist"],
                    album=row["album"],
                    title=row["title"],
                    path=Path(row["path"]),
                    duration_s=float(row["duration_s"]) if row["duration_s"] else None,
                    sha1=row["sha1"] or None,
                )
                for row in reader
            )


def _require_known(names: Collection[str], known: set[str], setting: str, what: str) -> None:
    if unknown := sorted(set(names) - known):
        sample = ", ".join(sorted(known)[:10]) + (", …" if len(known) > 10 else "")
        raise ArtistidError(f"{setting} names {what} that the collection does not have: {unknown}; it has {sample}")
