"""Check a claim: ``python -m artistid.verify checkpoint=PATH collection=PATH audio=song.mp3 artist=NAME``.

Exit codes: 0, all claims are accepted; 3, at least one is rejected; 1, at least one could not be answered.
"""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("verify")

import sys
from pathlib import Path

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.catalog import clean, read_rows
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.batch import answering, process_songs, read_ahead
from artistid.inference.collection import Collection
from artistid.inference.enrolment import require_artist
from artistid.inference.files import find_audio
from artistid.inference.identifier import Identifier
from artistid.inference.layouts import verdict_layout
from artistid.inference.roster import Roster, Verdict
from artistid.places import expanded
from artistid.prepare import limits_of
from artistid.printing import printable, say
from artistid.records import RecordWriter
from artistid.trust import trusted

REJECTED = 3  # exit code where all claims are answered, and not all accepted


def verify(config: DictConfig) -> None:
    """Answer every claim, song by song; exits with :data:`REJECTED` if one is rejected.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, claims that could not be.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run with split=artists")
    require_path(config, "collection", "the file of enrolled artists")
    writer = RecordWriter(config.format, verdict_layout(config.segments), sys.stdout)
    claims = _claims(config)
    reader = SongReader(limits_of(config))
    collection = Collection.read(config.collection)
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))
    roster = Roster(collection, identifier, config.false_alarms)
    answerable = _of_enrolled(claims, collection, single=not config.claims)
    failed = sum(map(len, claims.values())) - sum(map(len, answerable.values()))
    accepted: list[bool] = []

    def answered(path: Path, sound: SongFeatures) -> list[Verdict]:
        heard = roster.hear(sound)
        return [roster.verify(heard, artist) for artist in answerable[path]]

    def done(verdicts: list[Verdict]) -> None:
        for each in verdicts:
            accepted.append(each.accepted)
            writer.write(each)

    with answering():
        if paths := list(answerable):
            process_songs(read_ahead(reader, identifier.features, paths), len(paths), answered, done)
        writer.close()
    failed += sum(map(len, answerable.values())) - len(accepted)
    if failed:
        raise ArtistidError(f"{failed} of {counted(failed + len(accepted), 'claim')} could not be answered, see above")
    if not all(accepted):
        sys.exit(REJECTED)


def _claims(config: DictConfig) -> dict[Path, list[str]]:
    """The artists claimed for each song."""
    settings = plain(config)
    if config.claims and (config.audio or config.artist):
        raise ArtistidError("claims names songs and artists itself: expected neither audio nor artist with it")
    if not config.claims:
        if not config.artist:
            raise ArtistidError("artist=NAME is missing: the artist claimed")
        return {path: [clean(settings["artist"])] for path in find_audio(settings["audio"])}
    table = expanded(config.claims)
    claims: dict[Path, list[str]] = {}
    for row in read_rows(table, ("path", "artist"), "list of claims"):
        claims.setdefault(table.parent / expanded(row["path"]), []).append(clean(row["artist"]))
    if not claims:
        raise ArtistidError(f"claims={printable(table)} has no claims: expected rows of path and artist")
    return claims


def _of_enrolled(claims: dict[Path, list[str]], collection: Collection, single: bool) -> dict[Path, list[str]]:
    """The claims for enrolled artists; others of a list are reported, a single one raises ArtistidError."""
    answerable: dict[Path, list[str]] = {}
    for path, artists in claims.items():
        for artist in artists:
            try:
                require_artist(collection, artist, "artist")
            except ArtistidError as error:
                if single:
                    raise
                say(f"error: {printable(path)}: {error}", to=sys.stderr)
            else:
                answerable.setdefault(path, []).append(artist)
    return answerable
