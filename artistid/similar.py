"""What sounds like a song: ``python -m artistid.similar checkpoint=PATH collection=PATH audio=song.mp3``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("similar", kept="the answers given so far stand, and nothing is written")
def main(config: DictConfig) -> None:
    from artistid.inference.similarity import similar  # here, so that --help need not wait for torch

    similar(config)


if __name__ == "__main__":
    main()
