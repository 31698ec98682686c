"""Batches of clips, gathered from the store's memory map, or on a GPU that has room for all clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from artistid.data.catalog import Catalog
from artistid.data.clips import Clips, ClipSpec, index_clips
from artistid.data.store import Store
from artistid.errors import ArtistidError

log = logging.getLogger(__name__)


COPIED_AT_ONCE = 1024  # clips on their way to a device
PREFETCHERS = 2  # worker processes that read ahead of a GPU


class Batch(TypedDict):
    """What a network is given.

    Keys:
        log_mel: ``(batch, mel, time)`` float16, dB.
        label: ``(batch,)`` int64.
        index: ``(batch,)`` int64, row of the clip in its subset's :class:`Clips`.
    """

    log_mel: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor


class ClipDataset(Dataset[Batch]):
    """The clips of one subset; a whole batch is read at once, since reading one is too little work to do singly.

    Batches are slices of the store's memory map, until :meth:`cache_on_device` copies all clips to a device; they are
    then gathered there, by index.
    """

    def __init__(self, store: Store, clips: Clips) -> None:
        self.array = store.array
        self.clips = clips
        self.label = torch.from_numpy(clips.label)
        self.kept: torch.Tensor | None = None  # (clips, mel, time) float16, on a device

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def nbytes(self) -> int:
        """What its clips would take on a device; 0 once they are there."""
        if self.kept is not None:
            return 0
        return len(self) * (self.clips.rows or 0) * self.array.shape[1] * torch.float16.itemsize

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        if self.kept is None:
            return Batch(log_mel=self._read(indices), label=self.label[index], index=index)
        index = index.to(self.kept.device)
        return Batch(log_mel=self.kept[index], label=self.label[index], index=index)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def cache_on_device(self, device: torch.device) -> None:
        """Copy all clips to a device, some at a time."""
        if self.kept is not None and self.kept.device == device:
            return
        rows, width = self.clips.rows, self.array.shape[1]
        assert rows is not None, "whole songs, each of another length"
        kept = torch.empty(len(self), width, rows, dtype=torch.float16, device=device)
        for first in range(0, len(self), COPIED_AT_ONCE):
            some = range(first, min(first + COPIED_AT_ONCE, len(self)))
            kept[some.start : some.stop] = self._read(some)
        self.kept, self.label = kept, self.label.to(device)

    def _read(self, indices: Sequence[int]) -> torch.Tensor:
        """Clips ``(batch, mel, time)`` float16, from the map."""
        log_mel = torch.from_numpy(self.clips.read(self.array, indices))  # (batch, time, mel)
        return log_mel.transpose(1, 2).contiguous()


class ClipData(L.LightningDataModule):
    """The clips of some subsets of a catalog, as Lightning's loaders.

    Args:
        subsets: tracks of each subset, of ``train``, ``val`` and ``test`` those that are wanted.
        store: holds all of them.
        artists: the labels' names.
        clip_spec: how tracks are cut.
        batch_size: clips.

    Raises:
        ArtistidError: an artist that is not among ``artists``.
    """

    def __init__(
        self, subsets: Mapping[str, Catalog], store: Store, artists: Sequence[str], clip_spec: ClipSpec, batch_size: int
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ArtistidError(f"batch_size={batch_size}: expected 1 or more clips")
        self.subsets = dict(subsets)
        self.store = store
        self.clip_spec = clip_spec
        self.artists = tuple(artists)
        self.batch_size = batch_size
        for subset, catalog in subsets.items():
            if unknown := sorted(set(catalog.artists) - set(artists)):
                raise ArtistidError(
                    f"the {subset} tracks are by artists that the model does not know: {', '.join(unknown)}; "
                    f"it knows {', '.join(self.artists)}"
                )
        self.clips = {
            subset: index_clips(store.rows_of(catalog, self.artists), clip_spec) for subset, catalog in subsets.items()
        }
        self.datasets = {subset: ClipDataset(store, clips) for subset, clips in self.clips.items()}
        self.prefetching = False
        for subset, clips in self.clips.items():
            self._report(subset, clips)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def loader(self, subset: str, shuffle: bool = False) -> DataLoader[Batch]:
        """Batches of a subset, in order or shuffled."""
        # No worker processes unless a GPU waits for the batches: one is a few slices of mapped memory, sooner read than
        # sent between processes.
        workers = PREFETCHERS if self.prefetching else 0
        return DataLoader(
            self.datasets[subset],
            self.batch_size,
            shuffle=shuffle,
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
        log.info("%s: %d songs, %d clips", subset, len(clips.track_ids), len(clips))
        if padded := clips.padded:
            log.info("%s: %d songs shorter than a clip are filled up: %s", subset, len(padded), ", ".join(padded))
        if dropped := clips.dropped:
            log.warning("%s: %d songs give no clip and are left out: %s", subset, len(dropped), ", ".join(dropped))


def _as_it_is(batch: Any) -> Any:
    """Collation: the data set hands out whole batches."""
    return batch
