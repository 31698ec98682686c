"""Train, test and report one run: ``python -m artistid.train split=album clip=3s data=folder data.root=PATH``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("train", kept="the features, the epochs trained to their end and, of a sweep, the finished runs are kept")
def main(config: DictConfig) -> float:
    from artistid.experiment import train  # here, so that --help need not wait for torch

    return train(config)


if __name__ == "__main__":
    main()
