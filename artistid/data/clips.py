"""Clips: slices of a track's features, contiguous and disjoint unless training asks otherwise (paper III-B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from artistid.data.features import Features
from artistid.data.shards import Rows
from artistid.errors import ArtistidError, counted

# A frame of the paper's log-mel, 512 samples at 16 kHz: the unit of clip lengths, whatever the features.
FRAME_MS = 32


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """How tracks are cut into clips.

    Every full clip of a track is used, and a track shorter than one clip becomes one, padded with its own floor. The
    authors' code did neither: it dropped every track's last full clip, and so all tracks shorter than two clips.

    Attributes:
        name: as in ``clip=3s``.
        seconds: nominal length; None for whole songs.
        frames: length in frames of 32 ms, from the authors' code: three more for 20 s, and 26 fewer for 30 s, than the
            seconds would give. None: a whole song is one clip, however long.
        keep_last: use a track's last full clip.
        pad_short: use tracks shorter than one clip.
        hop: seconds from the start of a training clip to that of the next; None: clips tile the track.
        crop: ``random``: training clips begin anywhere in their track, anew in each epoch; None: where ``hop`` says.
    """

    name: str
    seconds: float | None
    frames: int | None
    keep_last: bool = True
    pad_short: bool = True
    hop: float | None = None
    crop: Literal["random"] | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) != (self.frames is None):
            raise ArtistidError(
                f"clip.seconds={self.seconds} and clip.frames={self.frames}: expected both, or neither for whole songs"
            )
        if self.frames is not None and self.frames < 1:
            raise ArtistidError(f"clip.frames={self.frames}: a clip needs 1 frame or more")
        if self.frames is None and (self.hop is not None or self.crop is not None):
            raise ArtistidError(f"clip.hop={self.hop} and clip.crop={self.crop}: expected neither for whole songs")
        if self.hop is not None and self.step is not None and self.step < 1:
            raise ArtistidError(f"clip.hop={self.hop}: expected null, or {FRAME_MS / 1000} s or more")

    @property
    def tiling(self) -> ClipSpec:
        """The same for validation, test and inference, where clips tile the track."""
        return replace(self, hop=None, crop=None)

    @property
    def step(self) -> int | None:
        """Frames from the start of a clip to that of the next; None for whole songs."""
        return self.frames if self.hop is None else round(1000 * self.hop / FRAME_MS)

    def plain(self) -> dict[str, Any]:
        """The settings as plain types, without those that concern training only."""
        return {name: value for name, value in asdict(self).items() if name not in ("hop", "crop")}

    @property
    def whole_songs(self) -> bool:
        """Whether a clip is a song, so that there is no frame level to score."""
        return self.frames is None

    def count(self, n_frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Number of clips ``(tracks,)`` from ``n_frames`` ``(tracks,)`` of 32 ms."""
        if self.frames is None or self.step is None:
            return np.minimum(n_frames, 1)
        clips = np.maximum(1 + (n_frames - self.frames) // self.step, 0)
        if not self.keep_last:
            clips = np.maximum(clips - 1, 0)
        if self.pad_short:
            clips = np.where(n_frames < self.frames, 1, clips)
        return clips

    def rows(self, features: Features) -> int | None:
        """Rows of a clip; None where clips are songs. Raises ArtistidError for clips shorter than half a row."""
        if self.frames is None:
            return None
        if rows := round(self.frames * rows_per_frame(features)):
            return rows
        raise ArtistidError(
            f"clip={self.name} is shorter than half a row of features={features.name}, which lasts "
            f"{features.hop_length / features.sample_rate:.3g} s"
        )


@dataclass(frozen=True, eq=False)
class TrackRows:
    """Where the rows of some tracks lie in an array, and what clips need of them; one entry per track.

    Attributes:
        track_ids: their names.
        label: ``(tracks,)`` index of the artist.
        start: ``(tracks,)`` first row.
        length: ``(tracks,)`` rows.
        duration_s: ``(tracks,)`` seconds of audio.
        pad_value: ``(tracks,)`` float32, fills padded clips.
        features: what the rows hold.
    """

    track_ids: tuple[str, ...]
    label: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    duration_s: npt.NDArray[np.float64]
    pad_value: npt.NDArray[np.float32]
    features: Features

    @property
    def n_frames(self) -> npt.NDArray[np.int64]:
        """``(tracks,)`` frames of 32 ms: clips begin and end where they would on the paper's log-mel."""
        if rows_per_frame(self.features) == 1:
            return self.length
        n_samples = np.rint(self.duration_s * self.features.sample_rate).astype(np.int64)
        return 1 + n_samples * 1000 // (FRAME_MS * self.features.sample_rate)


@dataclass(frozen=True, eq=False)
class Clips:
    """Where the clips of some tracks lie in the store; one row per clip.

    Attributes:
        track_ids: of all tracks, including those without a clip.
        track: ``(clips,)`` index into ``track_ids``.
        clip: ``(clips,)`` place within the track, from 0.
        label: ``(clips,)`` index of the artist.
        start: ``(clips,)`` first row in the store's array.
        length: ``(clips,)`` rows to read, fewer than ``rows`` for a padded clip.
        pad_value: ``(clips,)`` fills padded clips; for log-mel in dB.
        rows: of every clip, padding included; None where clips are whole songs of any length.
        dropped: track ids without a clip.
        padded: track ids of padded clips.
    """

    track_ids: tuple[str, ...]
    track: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    pad_value: npt.NDArray[np.float32]
    rows: int | None
    dropped: tuple[str, ...]
    padded: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.track)

    def select(self, chosen: npt.NDArray[np.integer]) -> Clips:
        """Some of the clips, by row."""
        per_clip = ("track", "clip", "label", "start", "length", "pad_value")
        return replace(self, **{name: getattr(self, name)[chosen] for name in per_clip})

    def read(self, array: Rows, chosen: Sequence[int]) -> npt.NDArray[np.float16]:
        """The features ``(len(chosen), rows, width)`` of some clips, by row; short ones are padded.

        Args:
            array: the store's, ``(frames, width)``.
            chosen: rows of the clips, which must not be whole songs.
        """
        assert self.rows is not None, "a batch of whole songs, which differ in length"
        features = np.empty((len(chosen), self.rows, array.shape[1]), np.float16)
        for place, row in enumerate(chosen):
            start, length = self.start[row], self.length[row]
            features[place, :length] = array[start : start + length]
            features[place, length:] = self.pad_value[row]
        return features

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for the log and the scores file."""
        return {
            "songs": len(self.track_ids),
            "clips": len(self),
            "songs_padded": len(self.padded),
            "songs_dropped": len(self.dropped),
        }


def rows_per_frame(features: Features) -> float:
    """Rows in a frame of 32 ms."""
    return features.sample_rate * FRAME_MS / (1000 * features.hop_length)


def index_clips(tracks: TrackRows, clip_spec: ClipSpec) -> Clips:
    """Cut tracks into clips.

    Args:
        tracks: how long they are, and where they lie.
        clip_spec: how to cut.

    Raises:
        ArtistidError: if no track gives a clip, or a clip is shorter than a row.
    """
    n_frames, rows = tracks.n_frames, clip_spec.rows(tracks.features)
    n_clips = clip_spec.count(n_frames)
    if not n_clips.sum():
        raise ArtistidError(
            f"none of {counted(len(n_frames), 'track')} gives a clip of clip={clip_spec.name} "
            f"({counted(clip_spec.frames or 0, 'frame')}): the longest has {counted(n_frames.max(initial=0), 'frame')} "
            f"of {FRAME_MS} ms (clip.keep_last={clip_spec.keep_last}, clip.pad_short={clip_spec.pad_short})"
        )
    track = np.repeat(np.arange(len(n_frames)), n_clips)
    clip = np.arange(len(track)) - np.repeat(np.cumsum(n_clips) - n_clips, n_clips)
    step = (clip_spec.step or 0) * rows_per_frame(tracks.features)  # in rows, and not always a whole number
    first = np.rint(clip * step).astype(np.int64)  # within the track
    short = clip_spec.frames is not None and n_frames < clip_spec.frames
    ids = np.array(tracks.track_ids, dtype=object)
    return Clips(
        track_ids=tracks.track_ids,
        track=track,
        clip=clip,
        label=tracks.label[track],
        start=tracks.start[track] + first,
        length=tracks.length[track] if rows is None else np.minimum(tracks.length[track] - first, rows),
        pad_value=tracks.pad_value[track],
        rows=rows,
        dropped=tuple(ids[n_clips == 0]),
        padded=tuple(ids[(n_clips > 0) & short]),
    )
