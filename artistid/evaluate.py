"""Score a checkpoint: ``python -m artistid.evaluate checkpoint=runs/…/checkpoints/best.ckpt``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("evaluate", kept="the features made so far are kept, and no scores are written")
def main(config: DictConfig) -> None:
    from artistid.experiment import evaluate  # here, so that --help need not wait for torch

    evaluate(config)


if __name__ == "__main__":
    main()
