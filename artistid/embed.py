"""Embed a collection: ``python -m artistid.embed checkpoint=PATH audio=music out=collection.parquet``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("embed", kept="the songs embedded so far are kept")
def main(config: DictConfig) -> None:
    from artistid.inference.embedding import embed  # here, so that --help need not wait for torch

    embed(config)


if __name__ == "__main__":
    main()
