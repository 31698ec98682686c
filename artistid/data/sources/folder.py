"""Your own music: a folder of artists, each with a folder per album."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artistid.data.catalog import Track
from artistid.data.sources.base import DatasetCard, Source, track_from_path
from artistid.data.sources.walk import audio_files


@dataclass(kw_only=True)
class Folder(Source):
    """Tracks by their place: ``root/artist/album/track.mp3``; an artist's loose tracks have no album."""

    card: ClassVar[DatasetCard] = DatasetCard(
        title="a folder of music",
        licence="that of your music",
        citation="none",
        how_to_get="any mp3, flac, ogg or wav files, sorted into folders by artist and album",
        layout="ROOT/artist/album/track.mp3",
    )

    def scan(self, root: Path) -> list[Track]:
        return [track_from_path(path, root) for path in audio_files(root)]
