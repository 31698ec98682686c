"""Tables and trees of MTG-Jamendo as the data set has them, without its sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from artistid.data.sources.mtg_jamendo import JamendoRow, place_of

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
SHARED_TABLE = Path(__file__).parents[2] / ".." / "shared" / "data" / "mtg_jamendo_tracks.tsv.gz"


def row(
    track: int, artist: int, album: int, seconds: float = 200.0, tags: tuple[str, ...] = ("genre---pop",)
) -> JamendoRow:
    """A track with identifiers of the official form."""
    return JamendoRow(f"track_{track:07}", f"artist_{artist:06}", f"album_{album:06}", seconds, tags)


def table(rows: Iterable[JamendoRow]) -> str:
    """The official table of some tracks."""
    lines = (
        "\t".join((*entry[:3], f"{place_of(entry.track_id)}.mp3", str(entry.seconds), *entry.tags)) for entry in rows
    )
    return "\n".join((HEADER, *lines)) + "\n"


def tree(folder: Path, track_ids: Iterable[str], ending: str = ".mp3") -> None:
    """Empty files where the data set keeps the tracks."""
    for place in map(place_of, track_ids):
        path = folder / f"{place}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def collection(artists: int, albums: int = 6, tracks: int = 3) -> list[JamendoRow]:
    """Tracks of so many artists with so many albums of so many tracks, no two of one length (up to 5,000 tracks)."""
    return [
        row(number, number // (albums * tracks), number // tracks, 60 + number / 10)
        for number in range(artists * albums * tracks)
    ]
