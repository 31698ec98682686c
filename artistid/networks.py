"""Parameters of the networks in ``conf/model``, and operations per clip: ``python -m artistid.networks``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("networks")

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode

from artistid.cli import settings_of
from artistid.config import build
from artistid.data.features import features_of
from artistid.errors import ArtistidError, counted
from artistid.learning.networks import NetworkSystem, shape_of, without_memory
from artistid.learning.system import system_of
from artistid.models.embedding import has_bottleneck
from artistid.places import expanded
from artistid.printing import say
from artistid.records import Layout, RecordWriter, table_of
from artistid.terminal import Console
from artistid.writing import write_text

TABLE = re.compile("(?<=<!-- networks -->\n).*?(?=<!-- /networks -->)", re.DOTALL)  # of a Markdown file


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network, and its operations per clip.

    Attributes:
        model: as in ``model=``.
        parameters: all of its weights, frozen ones as well.
        units: of its bottleneck; None without one.
        clip_seconds: of its default clip.
        mflop: millions of operations in a forward pass of such a clip; a multiply-add counts as two. Only matrix
            products and convolutions count.
        mflop_per_second: of music.
    """

    model: str
    parameters: int
    units: int | None
    clip_seconds: float
    mflop: float
    mflop_per_second: float

    def cells(self) -> tuple[str, ...]:
        """As a row of formatted cells."""
        units = "–" if self.units is None else str(self.units)
        return (
            *(self.model, f"{self.parameters:,}", units, f"{self.clip_seconds:g} s"),
            *("< 1" if value < 1 else f"{value:,.0f}" for value in (self.mflop, self.mflop_per_second)),
        )


@dataclass(frozen=True)
class NetworkSizes:
    """The sizes of several networks."""

    networks: tuple[NetworkSize, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    def rows(self) -> Iterator[tuple[object, ...]]:
        """A row of plain values for each."""
        yield from map(astuple, self.networks)

    def show(self, console: Console) -> None:
        """Print them as a table."""
        rows = (each.cells() for each in self.networks)
        console.print(table_of(rows, HEADINGS, right=range(1, len(HEADINGS))), soft_wrap=False)

    def markdown(self) -> str:
        """As a table in Markdown."""
        rows = (HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(each.cells() for each in self.networks))
        return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


HEADINGS = ("model=", "parameters", "bottleneck", "clip", "MFLOP a clip", "MFLOP a second")
LAYOUT = Layout(
    tuple(field.name for field in fields(NetworkSize)),
    NetworkSizes.rows,
    lambda console, found: found.show(console),
)


def networks(config: DictConfig) -> None:
    """Print the networks, or write them to ``config.out``.

    Raises:
        ArtistidError: a file without a table of networks.
    """
    if not config.out:
        with closing(RecordWriter(config.format, LAYOUT, sys.stdout, single=True)) as writer:
            writer.write(NetworkSizes(tuple(sizes(config.artists))))
        return
    path = expanded(config.out)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not TABLE.search(text):
        raise ArtistidError(
            f"out={config.out}: expected a file with the lines <!-- networks --> and <!-- /networks -->"
        )
    found = NetworkSizes(tuple(sizes(config.artists)))
    write_text(path, TABLE.sub(lambda _: found.markdown(), text))
    say(f"{config.out}: {counted(len(found.networks), 'network')}")


def sizes(n_artists: int) -> Iterator[NetworkSize]:
    """The sizes of all networks of ``model/``, ours and those of a folder that the command line names."""
    for name in settings_of("train").choices("model"):
        config = compose("train", [f"model={name}"])
        if issubclass(system_of(config), NetworkSystem):
            yield size_of(name, config, n_artists)


def size_of(name: str, config: DictConfig, n_artists: int) -> NetworkSize:
    """The size of the network of a composed ``train`` configuration, without allocating memory for it."""
    features, clip_spec = features_of(config), build(config.clip, "clip")
    network = without_memory(config, features, n_artists)
    clip = torch.empty(1, *shape_of(features, clip_spec)[1:], device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(clip)
    with torch.no_grad():
        units = network.bottleneck(clip).shape[1] if has_bottleneck(network) else None
    mflop = counter.get_total_flops() / 1e6
    seconds = clip.shape[2] * features.hop_length / features.sample_rate
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkSize(name, n_parameters, units, config.clip.seconds, mflop, mflop / seconds)
