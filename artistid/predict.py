"""Name the artist of songs: ``python -m artistid.predict checkpoint=PATH audio=song.mp3``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("predict")

import sys
from pathlib import Path

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError
from artistid.inference.batch import answering, process_songs, read_ahead
from artistid.inference.files import find_audio
from artistid.inference.identification import Identification
from artistid.inference.identifier import Identifier
from artistid.inference.writers import WRITERS, Table
from artistid.prepare import limits_of
from artistid.trust import trusted


def predict(config: DictConfig) -> None:
    """Name the artist of every song, one after the other.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, songs that could not be.
    """
    if not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    if config.format not in WRITERS:
        raise ArtistidError(f"format={config.format!r} is none of {', '.join(WRITERS)}")
    paths = find_audio(plain(config)["audio"])
    reader = SongReader(limits_of(config))
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))
    writer = Table(sys.stdout, config.timeline) if config.format == "table" else WRITERS[config.format](sys.stdout)

    def identified(path: Path, sound: SongFeatures) -> Identification:
        return identifier.identify(identifier.infer(sound), config.top)

    with answering():
        failed = process_songs(read_ahead(reader, identifier.features, paths), len(paths), identified, writer.write)
        writer.close()
    if failed:
        raise ArtistidError(f"{failed} of {len(paths)} songs could not be answered, see above")
