"""Ctrl-C and SIGTERM: both stop the work in an orderly way, so that what is finished is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from artistid.printing import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The process was asked to end, by the signal of this number.

    Not a ``KeyboardInterrupt``, since libraries that catch it, such as Lightning, end the process in their own way.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code of a process ended by the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def interruptible(at_signal: Callable[[], None] | None = None) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise :class:`Interrupted` in the block; the second one ends the process at once.

    The block then ends with it, even if a library turned it into another exception. Handlers other than Python's own
    are left in place: submitit sets one to requeue SLURM jobs, and a shell lets a command in the background ignore
    Ctrl-C.

    Args:
        at_signal: what else to do when the signal comes.
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach only the main thread
        yield
        return
    handler = _Handler(at_signal)
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:  # such as from a library that was cleaning up
        if _Handler.came is None:
            raise
        raise Interrupted(_Handler.came) from error
    finally:
        handler.remove()
    if _Handler.came is not None:
        raise Interrupted(_Handler.came)


class _Handler:
    """Handles the signals that have a default handler; none of them within another handler's block.

    Attributes:
        came: the number of the signal that has come.
    """

    came: int | None = None

    def __init__(self, at_signal: Callable[[], None] | None) -> None:
        free = (signal.default_int_handler, signal.SIG_DFL, _end_at_start)
        self._found = {number: found for number in SIGNALS if (found := signal.getsignal(number)) in free}
        self._at_signal = at_signal
        self._again: threading.Timer | None = None
        self._before = sys.unraisablehook
        if self._found:
            _Handler.came = None
            sys.unraisablehook = self._catch
            self._listen()

    def _listen(self) -> None:
        for number in self._found:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        for each in self._found:
            signal.signal(each, signal.SIG_DFL)
        _Handler.came = number
        if self._at_signal:
            self._at_signal()
        raise Interrupted(number)

    def _catch(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Interrupt again a moment later, if it struck code that lets no exception out, such as a finaliser."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self._before(unraisable)
            return
        self._listen()
        self._again = threading.Timer(0.05, os.kill, (os.getpid(), unraisable.exc_value.number))
        self._again.start()

    def remove(self) -> None:
        if not self._found:
            return
        if self._again:
            self._again.cancel()
        sys.unraisablehook = self._before
        for number, found in self._found.items():  # while the process is ending, the next one kills it
            ending = _Handler.came is not None or found is _end_at_start
            signal.signal(number, signal.SIG_DFL if ending else found)


def signal_that_came() -> int | None:
    """The number of the signal that is ending the process, whatever error a library turned it into."""
    return _Handler.came


def is_first_process() -> bool:
    """Whether this process is the one that prints, of all that train together."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def print_interruption(kept: str) -> None:
    """Print in one line what is kept; only the first of the processes that train together does."""
    if is_first_process():
        beside_the_key = "\n" if sys.stderr.isatty() else ""  # a terminal shows ^C
        say(f"{beside_the_key}interrupted: {kept}; run the same command to continue", to=sys.stderr)


def started_module() -> str:
    """What the process was started to run: ``artistid.train`` of ``artistid train`` and ``python -m artistid.train``.

    Empty if it runs no module.
    """
    arguments = sys.orig_argv[1:]
    if arguments and Path(arguments[0]).name in ("artistid", "artistid.exe"):  # the console script
        arguments = ["-m", "artistid", *arguments[1:]]
    _, _, after = "\0".join(["", *arguments]).partition("\0-m\0")
    module, *rest = after.split("\0")
    return f"artistid.{rest[0] if rest else ''}" if module == "artistid" else module


def guard_start(module: str) -> None:
    """Handle the signals in the same way while a verb's process is importing packages, which takes a while."""
    if module.startswith("artistid."):
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                signal.signal(number, _end_at_start)


def _end_at_start(number: int, frame: FrameType | None) -> None:
    print_interruption("nothing was started")
    os._exit(128 + number)
