"""Ctrl-C and SIGTERM: both end the work where it is, in an orderly way, so that what is finished is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Handlers of Python's own. Where another is set, whoever set it has plans: submitit's requeue a job of SLURM's, and a
# command that a shell starts in the background is to ignore Ctrl-C.
DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interrupted(BaseException):
    """The process is asked to end, by the signal of this number.

    It is no ``KeyboardInterrupt``, since those who catch that one, such as Lightning, end the process in their own way.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell is told of a process that the signal has ended: 130 of Ctrl-C, 143 of SIGTERM."""
        return 128 + self.number


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise :class:`Interrupted` in the block; the second one ends the process at once.

    The latter stays so after the block: whoever asks again does not wait for the process to tidy up.
    """
    if threading.current_thread() is not threading.main_thread():  # which no signal reaches
        yield
        return
    mine = [number for number, default in DEFAULTS.items() if signal.getsignal(number) is default]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in mine:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    for number in mine:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in mine:
            if signal.getsignal(number) is interrupt:
                signal.signal(number, DEFAULTS[number])
