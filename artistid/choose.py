"""Reproduce the selection of the open benchmarks from MTG-Jamendo: ``python -m artistid.choose table=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("choose")

from omegaconf import DictConfig

from artistid.data.benchmarks import choice
from artistid.data.benchmarks.lists import require_published, write
from artistid.data.sources.mtg_jamendo import read_table
from artistid.errors import require_path
from artistid.places import expanded
from artistid.printing import say


def choose(config: DictConfig) -> None:
    """Select the benchmarks from the official table, and compare them with the package's lists.

    Raises:
        ArtistidError: no table, or lists that differ from the published ones.
    """
    require_path(config, "table", "the official list of tracks, or [the files] that make it up")
    paths = [config.table] if isinstance(config.table, str) else config.table
    chosen = choice.choose(row for path in paths for row in read_table(expanded(path)))
    tables = (choice.of_rules(chosen), choice.of_benchmarks(chosen), choice.of_splits(chosen))
    say("\n\n".join(map(str, tables)))
    if config.out:
        write(chosen.benchmarks, expanded(config.out))
        say(f"\nthe lists are in {config.out}")
    require_published(chosen.benchmarks)
    say("\nthe lists are identical, byte for byte, to those of the package")
