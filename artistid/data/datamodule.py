"""Batches of clips, read from the store's memory map, or gathered on a GPU that has room for all clips."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from artistid.data.catalog import Catalog
from artistid.data.clips import Clips, ClipSpec, index_clips
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted

log = logging.getLogger(__name__)


COPIED_AT_ONCE = 1024  # clips on their way to a device
PREFETCHERS = 2  # worker processes that read ahead of a GPU


class Batch(TypedDict):
    """What a network and its loss are given.

    Keys:
        features: ``(batch, width, time)`` float16, such as log-mel in dB.
        label: ``(batch,)`` int64.
        clip: ``(batch,)`` int64, row of the clip in its subset's :class:`Clips`.
        song: ``(batch,)`` int64, index of its track there.
        album: ``(batch,)`` int64, index of its track's album among the subset's, :func:`albums_of`; -1 without one.
        production: ``(batch,)`` int64, index of its track's :attr:`artistid.data.catalog.Track.production`; -1 where
            that is unknown.
    """

    features: torch.Tensor
    label: torch.Tensor
    clip: torch.Tensor
    song: torch.Tensor
    album: torch.Tensor
    production: torch.Tensor


def albums_of(catalog: Catalog) -> list[tuple[str, str]]:
    """The albums of a catalog, sorted, as :attr:`artistid.data.catalog.Track.album_key`."""
    return sorted({track.album_key for track in catalog if track.album})


def _indices(keys: Sequence[Any], among: Sequence[Any]) -> torch.Tensor:
    """The index ``(keys,)`` of each key in ``among``; -1 if it is not there."""
    place = {key: index for index, key in enumerate(among)}
    return torch.tensor([place.get(key, -1) for key in keys], dtype=torch.int64)


class ClipDataset(Dataset[Batch]):
    """The clips of one subset; a whole batch is read at once, since one clip per call is too little work.

    Batches are slices of the store's memory map, until :meth:`cache_on_device` copies all clips to a device; they are
    then gathered there, by index.

    Args:
        store: holds the tracks.
        clips: of the tracks.
        tracks: of the subset, in the order of ``clips.track_ids``.

    Attributes:
        known: a batch's label, song, album and production for all clips, each ``(clips,)``.
    """

    def __init__(self, store: Store, clips: Clips, tracks: Catalog) -> None:
        self.array = store.array
        self.clips = clips
        song = torch.from_numpy(clips.track)
        productions = sorted({track.production for track in tracks} - {""})
        self.known = {
            "label": torch.from_numpy(clips.label),
            "song": song,
            "album": _indices([track.album_key for track in tracks], albums_of(tracks))[song],
            "production": _indices([track.production for track in tracks], productions)[song],
        }
        self.kept: torch.Tensor | None = None  # on a device: all clips (clips, width, time) float16

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def nbytes(self) -> int:
        """Bytes its clips would take on a device; 0 once they are there."""
        if self.kept is not None:
            return 0
        return len(self) * (self.clips.rows or 0) * self.array.shape[1] * torch.float16.itemsize

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        clip = torch.as_tensor(indices)
        if self.kept is None:
            features = self._read(indices)
        else:
            clip = clip.to(self.kept.device)
            features = self._gather(self.kept, clip)
        label, song, album, production = (each[clip] for each in self.known.values())
        return Batch(features=features, label=label, clip=clip, song=song, album=album, production=production)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def cache_on_device(self, device: torch.device) -> None:
        """Copy all clips to a device, some at a time."""
        if self.kept is not None and self.kept.device == device:
            return
        rows, width = self.clips.rows, self.array.shape[1]
        assert rows is not None, "whole songs, which differ in length"
        kept = torch.empty(len(self), width, rows, dtype=torch.float16, device=device)
        for first in range(0, len(self), COPIED_AT_ONCE):
            some = range(first, min(first + COPIED_AT_ONCE, len(self)))
            kept[some.start : some.stop] = self._read(some)
        self._keep(kept)

    def begin_epoch(self) -> None:
        """Called before the batches of an epoch are asked for."""

    def _keep(self, kept: torch.Tensor) -> None:
        self.kept, self.known = kept, {name: each.to(kept.device) for name, each in self.known.items()}

    def _gather(self, kept: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
        """Clips ``(batch, width, time)`` from those on a device, by row."""
        return kept[clip]

    def _read(self, indices: Sequence[int]) -> torch.Tensor:
        """Clips ``(batch, width, time)`` float16, from the map."""
        features = torch.from_numpy(self._placed().read(self.array, indices))  # (batch, time, width)
        return features.transpose(1, 2).contiguous()

    def _placed(self) -> Clips:
        """The clips with their current starts."""
        return self.clips


class RandomCrops(ClipDataset):
    """As many clips of each track as tile it, each at a random place in the track, drawn anew in each epoch.

    All starts are drawn at once by the training process, so they do not depend on how many processes read ahead; these
    see them in shared memory. A device holds whole tracks.

    Args:
        store, tracks: see :class:`ClipDataset`.
        clips: that tile the tracks.
        seed: of the draws.

    Attributes:
        epochs: begun so far.
    """

    def __init__(self, store: Store, clips: Clips, tracks: Catalog, seed: int) -> None:
        assert clips.rows is not None, "whole songs have no crops"
        entries = [store.entries[track_id] for track_id in clips.track_ids]
        start, n_rows = (np.array([getattr(each, name) for each in entries], np.int64) for name in ("start", "frames"))
        length = np.minimum(n_rows, clips.rows)
        super().__init__(store, replace(clips, start=start[clips.track], length=length[clips.track]), tracks)
        self.n_rows = n_rows
        self.choices = (n_rows - length + 1)[clips.track]  # of a start
        self.seed = seed
        self.epochs = 0
        self.offset = torch.zeros(len(clips), dtype=torch.int64).share_memory_()  # rows, within the track

    @property
    def nbytes(self) -> int:
        if self.kept is not None:
            return 0
        return int(self.n_rows.sum()) * self.array.shape[1] * torch.float16.itemsize

    def begin_epoch(self) -> None:
        """Draw where the clips begin."""
        drawn = np.random.default_rng([self.seed, self.epochs]).integers(self.choices)
        self.offset.copy_(torch.from_numpy(drawn))
        self._copy_starts()
        self.epochs += 1

    def cache_on_device(self, device: torch.device) -> None:
        """Copy all tracks to a device, one after the other."""
        if self.kept is not None and self.kept.device == device:
            return
        _, first = np.unique(self.clips.track, return_index=True)  # a clip of each track that has any
        used = self.clips.track[first]
        kept = torch.empty(int(self.n_rows[used].sum()), self.array.shape[1], dtype=torch.float16, device=device)
        begins = np.zeros(len(self.n_rows), np.int64)
        begins[used] = np.cumsum(self.n_rows[used]) - self.n_rows[used]
        for track, start in zip(used, self.clips.start[first], strict=True):
            rows = np.array(self.array[start : start + self.n_rows[track]])
            kept[begins[track] : begins[track] + len(rows)] = torch.from_numpy(rows)
        self.begins, self.length, self.pad_value = (
            torch.from_numpy(values).to(device)
            for values in (begins[self.clips.track], self.clips.length, self.clips.pad_value)
        )
        self._keep(kept)
        self._copy_starts()

    def _copy_starts(self) -> None:
        """Tell the device where the clips begin: once per epoch, not with every batch."""
        if self.kept is not None:
            self.first = self.begins + self.offset.to(self.kept.device)

    def _gather(self, kept: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
        assert self.clips.rows is not None
        time = torch.arange(self.clips.rows, device=kept.device)
        length = self.length[clip, None]  # (batch, 1)
        rows = kept[self.first[clip, None] + time.minimum(length - 1)]  # (batch, time, width)
        pad_value = self.pad_value[clip, None, None].half()
        return rows.where((time < length)[:, :, None], pad_value).transpose(1, 2).contiguous()

    def _placed(self) -> Clips:
        return replace(self.clips, start=self.clips.start + self.offset.numpy())


class ClipLoader(DataLoader[Batch]):
    """Tells its dataset when an epoch begins."""

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, ClipDataset)
        self.dataset.begin_epoch()
        return super().__iter__()


class ClipData(L.LightningDataModule):
    """The clips of some subsets of a catalog, as Lightning's loaders.

    Args:
        subsets: tracks by subset: any of ``train``, ``val`` and ``test``.
        store: holds all of them.
        artists: the labels' names.
        clip_spec: how tracks are cut; clips of validation and test always tile them.
        batch_size: clips.
        seed: of random crops.
        sampler: makes the sampler of training clips from ``artist`` and ``album`` ``(clips,)``, see :mod:`.sampling`;
            None: they are shuffled.

    Raises:
        ArtistidError: an artist that is not among ``artists``.
    """

    def __init__(
        self,
        subsets: Mapping[str, Catalog],
        store: Store,
        artists: Sequence[str],
        clip_spec: ClipSpec,
        batch_size: int,
        seed: int = 0,
        sampler: Callable[..., Sampler[int]] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ArtistidError(f"batch_size={batch_size}: expected 1 or more clips")
        self.subsets = dict(subsets)
        self.store = store
        self.clip_spec = clip_spec
        self.artists = tuple(artists)
        self.batch_size = batch_size
        self.sampler = sampler
        for subset, catalog in subsets.items():
            require_known_artists(catalog, self.artists, subset)
        self.clips = {
            subset: index_clips(
                store.rows_of(catalog, self.artists), clip_spec if subset == "train" else clip_spec.tiling
            )
            for subset, catalog in subsets.items()
        }
        self.datasets = {
            subset: ClipDataset(store, clips, self.subsets[subset]) for subset, clips in self.clips.items()
        }
        if clip_spec.crop == "random" and "train" in self.clips:
            self.datasets["train"] = RandomCrops(store, self.clips["train"], subsets["train"], seed)
        self.prefetching = False
        for subset, clips in self.clips.items():
            self._report(subset, clips)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: for how many epochs random crops were drawn."""
        crops = self.datasets.get("train")
        return {"epochs": crops.epochs} if isinstance(crops, RandomCrops) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        crops = self.datasets["train"]
        if isinstance(crops, RandomCrops):
            crops.epochs = state_dict["epochs"]

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def loader(self, subset: str, shuffle: bool = False) -> DataLoader[Batch]:
        """Batches of a subset, in order or, for training, shuffled."""
        # No worker processes unless a GPU waits for the batches: a batch is a few slices of mapped memory, read faster
        # than sent between processes.
        workers = PREFETCHERS if self.prefetching else 0
        dataset, sampler = self.datasets[subset], None
        if shuffle and self.sampler:
            sampler = self.sampler(artist=dataset.known["label"].cpu(), album=dataset.known["album"].cpu())
        return ClipLoader(
            dataset,
            self.batch_size,
            shuffle=shuffle and sampler is None,
            sampler=sampler,
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.prefetching,
        )

    @property
    def nbytes(self) -> int:
        """What the clips of all subsets would take on a device; 0 once they are there."""
        return sum(dataset.nbytes for dataset in self.datasets.values())

    def cache_on_device(self, device: torch.device) -> None:
        """Copy all clips to a device, where batches are gathered from now on."""
        for dataset in self.datasets.values():
            dataset.cache_on_device(device)

    def prefetch(self) -> None:
        """Read batches ahead, in worker processes, into memory that a GPU can copy from by itself."""
        self.prefetching = True

    def _report(self, subset: str, clips: Clips) -> None:
        log.info("%s: %s, %s", subset, counted(len(clips.track_ids), "song"), counted(len(clips), "clip"))
        if padded := clips.padded:
            n_padded = counted(len(padded), "song")
            log.info("%s: padded, as they are shorter than a clip, %s: %s", subset, n_padded, ", ".join(padded))
        if dropped := clips.dropped:
            n_dropped = counted(len(dropped), "song")
            log.warning("%s: left out, as they give no clip, %s: %s", subset, n_dropped, ", ".join(dropped))


def require_known_artists(catalog: Catalog, artists: Sequence[str], subset: str) -> None:
    """Raises ArtistidError where tracks are by artists that a model does not know."""
    if unknown := sorted(set(catalog.artists) - set(artists)):
        raise ArtistidError(
            f"{subset}: the tracks are by artists that the model does not know: {', '.join(unknown)}; it knows "
            f"{', '.join(artists)}"
        )


def _as_it_is(batch: Any) -> Any:
    """Collation: the data set hands out whole batches."""
    return batch
