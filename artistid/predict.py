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
from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.batch import answering, process_songs, read_ahead
from artistid.inference.files import find_audio
from artistid.inference.identification import Identification
from artistid.inference.identifier import Identifier
from artistid.inference.layouts import identification_layout
from artistid.prepare import limits_of
from artistid.records import RecordWriter
from artistid.trust import trusted


def predict(config: DictConfig) -> None:
    """Name the artist of every song, one after the other.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, songs that could not be.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    writer = RecordWriter(config.format, identification_layout(config.timeline), sys.stdout)
    paths = find_audio(plain(config)["audio"])
    reader = SongReader(limits_of(config))
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))

    def identified(path: Path, sound: SongFeatures) -> Identification:
        return identifier.identify(identifier.infer(sound), config.top)

    with answering():
        failed = process_songs(read_ahead(reader, identifier.features, paths), len(paths), identified, writer.write)
        writer.close()
    if failed:
        raise ArtistidError(f"{failed} of {counted(len(paths), 'song')} could not be answered, see above")
