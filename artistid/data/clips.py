"""Clips: consecutive, disjoint slices of a track's log-mel (paper III-B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Catalog
from artistid.data.store import Store
from artistid.errors import ArtistidError


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """How tracks are cut into clips.

    Every full clip of a track is used, and a track shorter than one clip is one clip, filled up with its own floor.
    The authors' code did neither: it dropped every track's last full clip, and so all tracks shorter than two clips.

    Attributes:
        name: as in ``clip=3s``.
        seconds: nominal length.
        frames: length in frames of the log-mel, from the authors' code; 20 s are three more and 30 s 26 fewer than
            the seconds would give.
        keep_last: use a track's last full clip.
        pad_short: use tracks shorter than one clip.
    """

    name: str
    seconds: float
    frames: int
    keep_last: bool = True
    pad_short: bool = True

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ArtistidError(f"clip.frames={self.frames}: a clip needs 1 frame or more")

    def plain(self) -> dict[str, Any]:
        """The settings as plain types."""
        return asdict(self)

    def count(self, n_frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many clips tracks of ``n_frames`` (tracks,) give."""
        clips = n_frames // self.frames
        if not self.keep_last:
            clips = np.maximum(clips - 1, 0)
        if self.pad_short:
            clips = np.where(n_frames < self.frames, 1, clips)
        return clips


@dataclass(frozen=True, eq=False)
class Clips:
    """Where the clips of some tracks lie in the store; one row per clip.

    Attributes:
        track_ids: of the tracks, those without a clip included.
        track: ``(clips,)`` index into ``track_ids``.
        clip: ``(clips,)`` place within the track, from 0.
        label: ``(clips,)`` index of the artist.
        start: ``(clips,)`` first row in the store's array.
        length: ``(clips,)`` rows to read, fewer than ``frames`` for a padded clip.
        floor_db: ``(clips,)`` what a padded clip is filled up with, in dB.
        frames: of every clip, padding included.
        dropped: track ids without a clip.
        padded: track ids of padded clips.
    """

    track_ids: tuple[str, ...]
    track: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    floor_db: npt.NDArray[np.float32]
    frames: int
    dropped: tuple[str, ...]
    padded: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.track)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for the log and the scores file."""
        return {
            "songs": len(self.track_ids),
            "clips": len(self),
            "songs_padded": len(self.padded),
            "songs_dropped": len(self.dropped),
        }


def cut(catalog: Catalog, store: Store, artists: Sequence[str], clipping: Clipping) -> Clips:
    """Cut all tracks of a catalog.

    Args:
        catalog: tracks, all of them in the store.
        store: where their frames are.
        artists: the labels' names.
        clipping: how to cut.

    Raises:
        ArtistidError: if no track gives a clip.
    """
    entries = [store.entries[track.track_id] for track in catalog]
    n_frames = np.array([entry.frames for entry in entries], np.int64)
    n_clips = clipping.count(n_frames)
    if not n_clips.sum():
        raise ArtistidError(
            f"none of {len(catalog)} tracks gives a clip of clip={clipping.name} ({clipping.frames} frames): "
            f"the longest has {n_frames.max(initial=0)} frames (clip.keep_last={clipping.keep_last}, "
            f"clip.pad_short={clipping.pad_short})"
        )
    track = np.repeat(np.arange(len(catalog)), n_clips)
    clip = np.arange(len(track)) - np.repeat(np.cumsum(n_clips) - n_clips, n_clips)
    label_of = {artist: label for label, artist in enumerate(artists)}
    labels = np.array([label_of[track.artist] for track in catalog])
    ids = tuple(track.track_id for track in catalog)
    return Clips(
        track_ids=ids,
        track=track,
        clip=clip,
        label=labels[track],
        start=np.array([entry.start for entry in entries])[track] + clip * clipping.frames,
        length=np.minimum(n_frames[track], clipping.frames),
        floor_db=np.array([entry.floor_db for entry in entries], np.float32)[track],
        frames=clipping.frames,
        dropped=tuple(np.array(ids, dtype=object)[n_clips == 0]),
        padded=tuple(np.array(ids, dtype=object)[(n_clips > 0) & (n_frames < clipping.frames)]),
    )
