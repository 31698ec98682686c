"""The order of an epoch's clips, for losses that compare the clips of a batch.

A sampler is one of torch's, built from the artist and the album of each training clip. It draws from torch's generator
anew for each epoch, as torch's own shuffling does.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from artistid.errors import ArtistidError
from artistid.hints import Count


class AcrossAlbums(Sampler[int]):
    """All clips once, several of an artist in succession, from as many of the artist's albums as possible.

    Args:
        artist: ``(clips,)`` index of each clip's artist.
        album: ``(clips,)`` the same; -1 where it has none.
        clips_per_artist: in succession; a batch has ``batch_size / clips_per_artist`` such groups.
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
        """The clips of an artist, shuffled, taking the albums in turn until only those with more clips are left."""
        turn = torch.cat([torch.randperm(len(clips)) for clips in albums])  # the turn in which each comes
        among = torch.rand(len(turn))  # within a turn
        return torch.cat(albums)[torch.argsort(turn + among)]
