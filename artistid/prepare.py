"""Decode a collection and make its features: ``python -m artistid.prepare data=folder data.root=PATH``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("prepare", kept="the songs that are finished are kept")
def main(config: DictConfig) -> None:
    from artistid.preparation import prepare_only  # here, so that --help need not wait
    from artistid.printing import say

    catalog, store = prepare_only(config)
    hours = sum(track.duration_s or 0 for track in catalog) / 3600
    say(f"{len(catalog)} songs by {len(catalog.artists)} artists, {hours:.1f} hours, are in {store.folder}")


if __name__ == "__main__":
    main()
