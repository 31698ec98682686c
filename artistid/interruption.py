"""Ctrl-C and SIGTERM: both end the work where it is, in an orderly way, so that what is finished is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from artistid.printing import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    Where another than Python's own handler is set, it stays: whoever set it has plans, as submitit has, which requeues
    SLURM's jobs, and as a shell that lets a command in the background ignore Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():  # which no signal reaches
        yield
        return
    found = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [
        number for number in SIGNALS if found[number] in (signal.default_int_handler, signal.SIG_DFL, _end_at_start)
    ]

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
            if signal.getsignal(number) is interrupt:  # not while the process ends for an interruption
                signal.signal(number, signal.SIG_DFL if found[number] is _end_at_start else found[number])


def tell_interruption(kept: str) -> None:
    """Say in one line what is kept; of processes that train together, the first one does."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        beside_the_key = "\n" if sys.stderr.isatty() else ""  # a terminal shows ^C
        say(f"{beside_the_key}interrupted: {kept}; the same command goes on", to=sys.stderr)


def started_module() -> str:
    """What the process was started to run: ``artistid.train`` of ``python -m artistid.train``; else nothing."""
    _, _, after = "\0".join(sys.orig_argv).partition("\0-m\0")
    return after.partition("\0")[0]


def guard_start(module: str) -> None:
    """Answer the signals in the same way while the process of a verb imports what it needs, which takes a while."""
    if module.startswith("artistid."):
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                signal.signal(number, _end_at_start)


def _end_at_start(number: int, frame: FrameType | None) -> None:
    tell_interruption("nothing was begun")
    os._exit(128 + number)
