"""Name the artist of songs: ``python -m artistid.predict checkpoint=PATH audio=song.mp3``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("predict", kept="the answers given so far stand, and nothing is written")
def main(config: DictConfig) -> None:
    from artistid.inference.answering import answer  # here, so that --help need not wait for torch

    answer(config)


if __name__ == "__main__":
    main()
