"""Name the artist of songs: ``python -m artistid.predict checkpoint=PATH audio=song.mp3``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("predict")

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.batch import answering, process_songs, read_ahead
from artistid.inference.files import find_audio
from artistid.inference.identification import Identification
from artistid.inference.identifier import Identifier
from artistid.inference.layouts import identification_layout, recognition_layout
from artistid.prepare import limits_of
from artistid.records import RecordWriter
from artistid.trust import trusted

if TYPE_CHECKING:
    from artistid.inference.roster import Recognition, Roster


def predict(config: DictConfig) -> None:
    """Name the artist of every song, one after the other: one trained on, or one enrolled in a collection.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, songs that could not be.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    layout = recognition_layout if config.collection else identification_layout
    writer = RecordWriter(config.format, layout(config.timeline), sys.stdout)
    paths = find_audio(plain(config)["audio"])
    reader = SongReader(limits_of(config))
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))

    roster = _roster(config, identifier) if config.collection else None

    def answered(path: Path, sound: SongFeatures) -> Identification | Recognition:
        if roster:
            return roster.recognise(roster.hear(sound), config.top)
        return identifier.identify(identifier.infer(sound), config.top)

    with answering():
        failed = process_songs(read_ahead(reader, identifier.features, paths), len(paths), answered, writer.write)
        writer.close()
    if failed:
        raise ArtistidError(f"{failed} of {counted(len(paths), 'song')} could not be answered, see above")


def _roster(config: DictConfig, identifier: Identifier) -> Roster:
    """The artists of the collection."""
    from artistid.inference.collection import Collection  # here, since they take a second and are rarely needed
    from artistid.inference.roster import Roster

    return Roster(Collection.read(config.collection), identifier, config.false_alarms)
