"""What works here, and what to install for what does not: ``python -m artistid.doctor``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("doctor", kept="nothing is written")
def main(config: DictConfig) -> None:
    from artistid.diagnosis import diagnose, show  # here, so that --help need not wait

    show(diagnose(config))


if __name__ == "__main__":
    main()
