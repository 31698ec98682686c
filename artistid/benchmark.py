"""How fast this machine decodes, reads, trains and predicts: ``python -m artistid.benchmark``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("benchmark", kept="the files it measures on are kept, no measurement is")
def main(config: DictConfig) -> None:
    from artistid.benchmarking.benchmark import benchmark  # here, so that --help need not wait for torch

    benchmark(config)


if __name__ == "__main__":
    main()
