"""Batches of clips, gathered from the store's memory map, or on a GPU that has room for all clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from artistid.data.catalog import Catalog
from artistid.data.clips import Clipping, Clips, cut
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
        index: ``(batch,)`` int64, row of the clip in its part's :class:`Clips`.
    """

    log_mel: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor


class ClipDataset(Dataset[Batch]):
    """The clips of one part; a whole batch is read at once, since reading one is too little work to do singly.

    They are slices of the store's memory map, until :meth:`keep_on` copies them to a device: a batch is then gathered
    there, by index.
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

    def keep_on(self, device: torch.device) -> None:
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
    """The clips of some parts of a catalog, as Lightning's loaders.

    Args:
        parts: tracks of each part, of ``train``, ``val`` and ``test`` those that are wanted.
        store: holds all of them.
        artists: the labels' names.
        clipping: how tracks are cut.
        batch_size: clips.

    Raises:
        ArtistidError: an artist that is not among ``artists``.
    """

    def __init__(
        self, parts: Mapping[str, Catalog], store: Store, artists: Sequence[str], clipping: Clipping, batch_size: int
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ArtistidError(f"batch_size={batch_size}: expected 1 or more clips")
        self.parts = dict(parts)
        self.store = store
        self.clipping = clipping
        self.artists = tuple(artists)
        self.batch_size = batch_size
        for part, catalog in parts.items():
            if unknown := sorted(set(catalog.artists) - set(artists)):
                raise ArtistidError(
                    f"the {part} tracks are by artists that the model does not know: {', '.join(unknown)}; "
                    f"it knows {', '.join(self.artists)}"
                )
        self.clips = {part: cut(catalog, store, self.artists, clipping) for part, catalog in parts.items()}
        self.datasets = {part: ClipDataset(store, clips) for part, clips in self.clips.items()}
        self.prefetching = False
        for part, clips in self.clips.items():
            self._report(part, clips)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def loader(self, part: str, shuffle: bool = False) -> DataLoader[Batch]:
        """Batches of a part, in order or shuffled."""
        # No worker processes unless a GPU waits for the batches: one is a few slices of mapped memory, sooner read than
        # sent between processes.
        workers = PREFETCHERS if self.prefetching else 0
        return DataLoader(
            self.datasets[part],
            self.batch_size,
            shuffle=shuffle,
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.prefetching,
        )

    @property
    def nbytes(self) -> int:
        """What the clips of all parts would take on a device; 0 once they are there."""
        return sum(dataset.nbytes for dataset in self.datasets.values())

    def keep_on(self, device: torch.device) -> None:
        """Copy all clips to a device, where batches are gathered from now on."""
        for dataset in self.datasets.values():
            dataset.keep_on(device)

    def prefetch(self) -> None:
        """Read batches ahead, in worker processes, into memory that a GPU can copy from by itself."""
        self.prefetching = True

    def _report(self, part: str, clips: Clips) -> None:
        log.info("%s: %d songs, %d clips", part, len(clips.track_ids), len(clips))
        if padded := clips.padded:
            log.info("%s: %d songs shorter than a clip are filled up: %s", part, len(padded), ", ".join(padded))
        if dropped := clips.dropped:
            log.warning("%s: %d songs give no clip and are left out: %s", part, len(dropped), ", ".join(dropped))


def _as_it_is(batch: Any) -> Any:
    """Collation: the data set hands out whole batches."""
    return batch
