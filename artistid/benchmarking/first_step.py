"""A run of ``train`` that ends with its first step: ``python -m artistid.benchmarking.first_step``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import command

    command("train", module="artistid.benchmarking.first_step")

import os
from typing import Any

from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from artistid import train as story
from artistid.learning.networks import NetworkSystem


class EndOfFirstStep(Callback):
    """Ends the process, at once, with the exit code of success."""

    def on_train_batch_end(self, *_: Any) -> None:
        os._exit(0)


def train(config: DictConfig) -> float:
    """As ``artistid.train``, until the first step is done."""
    NetworkSystem.extra_callbacks = (EndOfFirstStep(),)
    return story.train(config)
