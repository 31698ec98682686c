"""Batches of clips: slices of the store's memory map, gathered a batch at a time."""

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
    """The clips of one part; a whole batch is read at once, since reading one is too little work to do singly."""

    def __init__(self, store: Store, clips: Clips) -> None:
        self.array = store.array
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        clips = self.clips
        assert clips.rows is not None, "a batch of whole songs, each of another length"
        index = torch.as_tensor(indices)
        log_mel = torch.empty(len(index), clips.rows, self.array.shape[1], dtype=torch.float16)  # (batch, time, mel)
        for place, row in enumerate(index.tolist()):
            start, length = clips.start[row], clips.length[row]
            log_mel[place, :length] = torch.from_numpy(self.array[start : start + length].copy())
            log_mel[place, length:] = float(clips.floor[row])
        label = torch.from_numpy(clips.label)[index]
        return Batch(log_mel=log_mel.transpose(1, 2).contiguous(), label=label, index=index)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])


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
        # No worker processes: a batch is a few slices of mapped memory, sooner read than sent between processes.
        dataset = ClipDataset(self.store, self.clips[part])
        return DataLoader(dataset, self.batch_size, shuffle=shuffle, collate_fn=_as_it_is)

    def _report(self, part: str, clips: Clips) -> None:
        log.info("%s: %d songs, %d clips", part, len(clips.track_ids), len(clips))
        if padded := clips.padded:
            log.info("%s: %d songs shorter than a clip are filled up: %s", part, len(padded), ", ".join(padded))
        if dropped := clips.dropped:
            log.warning("%s: %d songs give no clip and are left out: %s", part, len(dropped), ", ".join(dropped))


def _as_it_is(batch: Any) -> Any:
    """Collation: the data set hands out whole batches."""
    return batch
