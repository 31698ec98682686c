"""A run of ``train`` that ends with its first step: ``python -m artistid.benchmarking.first_step``."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from artistid.config import verb


@verb("train", kept="the features made so far are kept")
def main(config: DictConfig) -> float:
    from lightning.pytorch.callbacks import Callback  # here, as in train

    from artistid.experiment import train
    from artistid.learning.networks import Network

    class EndOfFirstStep(Callback):
        """Ends the process, at once, with the exit code of success."""

        def on_train_batch_end(self, *_: Any) -> None:
            os._exit(0)

    Network.extra_callbacks = (EndOfFirstStep(),)
    return train(config)


if __name__ == "__main__":
    main()
