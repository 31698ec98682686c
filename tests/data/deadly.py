"""Features that do to their process what a broken file does to its decoder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from artistid.data.features import LogMel

BAD_SECONDS = 2.5  # of a song that does it


@dataclass(frozen=True, kw_only=True)
class Deadly(LogMel):
    """Log-mel, but of songs of ``BAD_SECONDS``.

    Args:
        what: ``crash``, ``exit``, ``hang``, ``hoard`` memory, or ``raise``.
    """

    what: str

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        held = list(blocks)
        if sum(map(len, held)) == BAD_SECONDS * self.sample_rate:
            match self.what:
                case "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "exit":
                    os._exit(3)
                case "hang":
                    time.sleep(1000)
                case "hoard":
                    held = [np.ones(2**20, np.float32) for _ in range(1000)]
                case "raise":
                    raise KeyError("a bug")
        return super().stored(held)
