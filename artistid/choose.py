"""Choose the open benchmarks again from the table of MTG-Jamendo: ``python -m artistid.choose table=PATH``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("choose", kept="of the lists, each is written whole or not at all")
def main(config: DictConfig) -> None:
    from artistid.data.benchmarks import statistics  # here, so that --help need not wait
    from artistid.data.benchmarks.choice import choose
    from artistid.data.benchmarks.lists import require_published, write
    from artistid.data.sources.mtg_jamendo import read_table
    from artistid.errors import ArtistidError
    from artistid.places import expanded
    from artistid.printing import say

    if not config.table:
        raise ArtistidError("table=PATH is missing: the official list of tracks, or [the files] that make it up")
    paths = [config.table] if isinstance(config.table, str) else config.table
    choice = choose(row for path in paths for row in read_table(expanded(path)))
    tables = (statistics.of_rules(choice), statistics.of_benchmarks(choice), statistics.of_splits(choice))
    say("\n\n".join(map(str, tables)))
    if config.out:
        write(choice.benchmarks, expanded(config.out))
        say(f"\nthe lists are in {config.out}")
    require_published(choice.benchmarks)
    say("\nthe lists are, byte for byte, those of the package")


if __name__ == "__main__":
    main()
