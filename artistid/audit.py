"""Find songs filed under the wrong artist: ``python -m artistid.audit data=library data.root=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("audit")

import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from artistid.auditing.findings import judge, mixed_albums, same_artists
from artistid.auditing.folder import AuditFolder, checked_before
from artistid.auditing.planting import Planted, plant, score_planted
from artistid.auditing.results import LAYOUT, Audit, Copies
from artistid.data.catalog import Catalog
from artistid.data.duplicates import find_duplicates
from artistid.data.features import features_of
from artistid.data.sources.base import absolute
from artistid.data.splits import FoldSplit, Split
from artistid.data.store import Store
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import vote
from artistid.learning.system import LAST, system_of
from artistid.packages import require_extra
from artistid.places import expanded
from artistid.prepare import find_songs, make_features
from artistid.records import RecordWriter
from artistid.sweeps import in_sweep
from artistid.train import check_settings, clips_of, split_rule

log = logging.getLogger(__name__)


def audit(config: DictConfig) -> Audit | None:
    """Predict every song with a system not trained on its album, and list the evidence against its artist.

    An interrupted audit resumes after its last finished fold.

    Returns:
        The findings; None if an earlier audit was reviewed or, in a sweep, is already finished.

    Raises:
        ArtistidError: bad settings, no cleanlab, or songs that cannot be audited.
    """
    if config.review:
        from artistid.auditing.page import review

        review(config)
        return None
    require_extra("audit", "an audit")
    writer = RecordWriter(config.format, LAYOUT, sys.stdout, single=True)
    check_audit(config)
    folder = AuditFolder(config.run_dir)
    if in_sweep() and not config.overwrite and folder.finished(config):
        log.info("%s: finished already, left as it is", folder.path)
        return None
    folder.check_free(config.overwrite)
    found = find_songs(config)
    require_artists(found.catalog)
    catalog, store, broken = make_features(config, found, features_of(config))
    audited, notes = songs_to_audit(catalog)
    planted: list[Planted] = []
    if config.plant:
        audited, planted = plant(audited, config.plant, config.seed)
        filed = {track.track_id: track for track in audited}
        catalog = Catalog(filed.get(track.track_id, track) for track in catalog)
    try:
        folder.begin(config, catalog, config.overwrite)
        predictions = Predictions.pooled(list(predict_folds(config, audited, store, folder)))
        songs = judge(audited, predictions, confirmed(config))
        each_alone = {track.track_id: track.track_id for track in catalog}
        pairs = find_duplicates(catalog, store, each_alone) if config.duplicates else []
        result = Audit(
            songs=songs,
            by_songs=audited_by_songs(audited),
            left_out=notes | dict.fromkeys(broken, "its file could not be decoded"),
            albums=mixed_albums(songs),
            artists=same_artists(catalog, predictions),
            copies=Copies.of_pairs(pairs, catalog),
            planted=score_planted(planted, songs) if planted else None,
            table=folder.table,
            top=config.top,
        )
        folder.write_table(root_of(config, catalog), songs, notes, catalog)
        folder.finish({**result.plain(), "root": str(root_of(config, catalog))})
    finally:
        folder.close()
    writer.write(result)
    writer.close()
    return result


def check_audit(config: DictConfig) -> None:
    """Raises ArtistidError, before any work, for settings that an audit cannot use."""
    check_settings(config)
    rule = split_rule(config)
    if not isinstance(rule, FoldSplit):
        raise ArtistidError(f"split={config.split.name}: expected split=folds, as an audit holds out every song once")
    if config.unknown_artists:
        raise ArtistidError(f"unknown_artists={config.unknown_artists}: expected 0, since an audit covers all artists")


def require_artists(catalog: Catalog) -> None:
    """Raises ArtistidError for a collection with a single artist."""
    if len(catalog.artists) < 2:
        raise ArtistidError(f"an audit needs two artists or more, found only {catalog.artists[0]!r}")


def songs_to_audit(catalog: Catalog) -> tuple[Catalog, dict[str, str]]:
    """The songs that can be held out, and by track id why others cannot.

    Of identical recordings only one is audited, or the system would be trained on it. An artist's only song would leave
    nothing to train on.
    """
    first_of: dict[str, str] = {}
    notes = {}
    for track in catalog:
        first = first_of.setdefault(track.sha1 or track.track_id, track.track_id)
        if first != track.track_id:
            notes[track.track_id] = f"the same recording as {first}"
    songs = Counter(track.artist for track in catalog if track.track_id not in notes)
    alone = [track.track_id for track in catalog if track.track_id not in notes and songs[track.artist] == 1]
    notes |= dict.fromkeys(alone, "the only song of its artist")
    audited = Catalog(track for track in catalog if track.track_id not in notes)
    if alone:
        log.warning(
            "%s cannot be held out, the only ones of their artists: %s", counted(len(alone), "song"), abbreviate(alone)
        )
    if len(audited.artists) < 2:
        raise ArtistidError(
            f"of {counted(len(catalog.artists), 'artist')} {len(audited.artists)} have two songs or more: expected at "
            "least two such artists, since an audit holds songs out"
        )
    return audited, notes


def audited_by_songs(catalog: Catalog) -> dict[str, int]:
    """Artists with at most one album, whose songs are held out one by one, and the numbers of these songs."""
    albums = catalog.albums
    few = {artist: len(tracks) for artist, tracks in catalog.by_artist().items() if len(albums[artist]) < 2}
    if few:
        log.warning(
            "%s of %d with at most one album are held out song by song, so their album is also trained on: %s",
            counted(len(few), "artist"),
            *(len(albums), abbreviate(list(few))),
        )
    return few


def predict_folds(config: DictConfig, catalog: Catalog, store: Store, folder: AuditFolder) -> Iterator[Predictions]:
    """Predictions for the songs of each fold by a system trained on the others; finished folds are read from disk.

    Yields:
        A fold's predictions, one row per song.
    """
    rule: FoldSplit = split_rule(config)
    numbers = sorted(set(rule.folds(catalog, config.seed).values()))
    for position, number in enumerate(numbers, start=1):
        path = folder.folds / f"{number}.parquet"
        if path.exists():
            log.info("fold %d of %d: finished already", position, len(numbers))
        else:
            log.info("fold %d of %d", position, len(numbers))
            split = replace(rule, fold=number).draw(catalog, config.seed)
            predict_fold(config, catalog, split, store, path.with_suffix("")).to_parquet(path)
            shutil.rmtree(path.with_suffix(""))
        yield Predictions.from_parquet(path)


def predict_fold(config: DictConfig, catalog: Catalog, split: Split, store: Store, folder: Path) -> Predictions:
    """Train a system on the other folds, and predict the songs of one.

    Args:
        config: of the audit.
        catalog: of all folds.
        split: of this fold.
        store: the features.
        folder: for the system's checkpoints, from which an interrupted network resumes.
    """
    split.check(catalog)
    kind = system_of(config)
    kind.check_songs(config, catalog.artists, split)
    folder.mkdir(exist_ok=True)
    data = clips_of(config, catalog, split, store)
    system = kind(config, data, split)
    resume = (folder / LAST).exists()
    if resume:
        system.check_unchanged(folder)
    system.fit(data, folder, [], resume)
    songs = vote(system.predict(data, "test"), config.vote)
    return Predictions(
        artists=songs.artists,
        track_id=songs.track_id,
        clip=np.zeros(len(songs), np.int32),
        artist=songs.artist,
        probability=songs.probability.astype(np.float32),
    )


def root_of(config: DictConfig, catalog: Catalog) -> Path:
    """The folder that the table's paths are relative to: the collection's root, or its files' common parent."""
    if config.data.get("root"):
        return absolute(expanded(config.data.root))
    return Path(os.path.commonpath([track.path.parent for track in catalog]))


def confirmed(config: DictConfig) -> set[Path]:
    """The files that were checked by ear after an earlier audit, if its table is the catalog."""
    if not config.data.get("csv") or not expanded(config.data.csv).is_file():
        return set()
    table = absolute(expanded(config.data.csv))
    return checked_before(table, absolute(expanded(config.data.get("root") or table.parent)))
