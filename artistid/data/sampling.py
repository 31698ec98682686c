"""The order in which an epoch has its clips, for losses that compare the clips of a batch.

A sampler is one of torch's, made of what the training clips are of: the artist and the album of each. It draws from
torch's generator anew for each epoch, as torch's own shuffling does.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from artistid.errors import ArtistidError
from artistid.hints import Count


class AcrossAlbums(Sampler[int]):
    """All clips once, several of an artist in a row, of as many of the artist's albums as there are.

    Args:
        artist: ``(clips,)`` of each clip.
        album: ``(clips,)`` the same; -1 where it has none.
        clips_per_artist: in a row; a batch is of ``batch_size / clips_per_artist`` rows.
    """

    def __init__(self, artist: torch.Tensor, album: torch.Tensor, clips_per_artist: Count = 4) -> None:
        if clips_per_artist < 1:
            raise ArtistidError(f"sampler.clips_per_artist={clips_per_artist}: expected 1 or more")
        self.clips_per_artist = clips_per_artist
        self.clips = {
            each: [torch.nonzero((artist == each) & (album == one)).flatten() for one in album[artist == each].unique()]
            for each in artist.unique().tolist()
        }

    def __len__(self) -> int:
        return sum(len(clips) for albums in self.clips.values() for clips in albums)

    def __iter__(self) -> Iterator[int]:
        rows = [row for albums in self.clips.values() for row in self._in_turn(albums).split(self.clips_per_artist)]
        for place in torch.randperm(len(rows)).tolist():
            yield from rows[place].tolist()

    @staticmethod
    def _in_turn(albums: list[torch.Tensor]) -> torch.Tensor:
        """The clips of an artist, shuffled, the albums in turn; those that have more have the end for themselves."""
        turn = torch.cat([torch.randperm(len(clips)) for clips in albums])  # in which of its album's turns each comes
        among = torch.rand(len(turn))  # within a turn
        return torch.cat(albums)[torch.argsort(turn + among)]
