"""Child processes that run calls for this one, and locks for folders that only one process may write at a time."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn, Self, TypeVar

from filelock import FileLock, Timeout

from artistid.errors import ArtistidError

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Item = TypeVar("Item")
Call = tuple[Callable[..., Any], tuple[Any, ...]]

# A child is no fork, which would inherit locks of threads that it does not have, and not multiprocessing's spawn, which
# reruns a caller's script that has no `if __name__ == "__main__"`.
BOOT = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from artistid.processes import serve; serve()"

LENGTH = struct.Struct("!Q")

# Seconds by which an overdue child outlives the parent's timer before it ends itself, as the parent may be dead; and
# that it has to exit once it stops answering.
GRACE_S = 5.0


def lock(folder: Path, name: str = ".lock") -> AbstractContextManager[object]:
    """Keeps other processes from writing to a folder; waits for one that is writing, and logs that.

    Args:
        folder: holds the lock file.
        name: of the lock file.
    """
    file = FileLock(folder / name)
    try:
        return file.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that is writing to %s", folder)
        return file.acquire()


@dataclass(frozen=True)
class Allowance:
    """The limits of one call; None: no limit.

    Attributes:
        seconds: of time.
        memory: bytes, beyond those that the process has when the call begins. Enforced on Linux only.
    """

    seconds: float | None = None
    memory: int | None = None


UNLIMITED = Allowance()


class WorkerDiedError(Exception):
    """A child ended before it answered; the message says how, as in "was killed by SIGSEGV"."""


class OverdueError(WorkerDiedError):
    """A child was killed because a call took too long."""


class Worker:
    """A child process that runs calls, one at a time, and whose death raises an exception here.

    It is started at once, and again by the first call after its death. It ends with this process, however that ends.
    Ctrl-C in a terminal does not reach it: this process handles that.

    Args:
        environment: variables to add to, or override in, those of this process.
        first: a call that a child runs before all others, to set up what they share.
        preload: modules that a child imports while it is idle.
        quiet: whether to discard what libraries print there.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        first: Call | None = None,
        preload: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        self._environment = dict(environment or {})
        self._first = first
        self._preload = tuple(preload)
        self._stderr = subprocess.DEVNULL if quiet else None
        self._turn = threading.Lock()
        self._met = False  # whether the child has run the first call
        self._closed = False
        self._process = self._started()

    def call(self, allowance: Allowance, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result of a function called in the child.

        If the child dies, another one tries again: the cause may lie elsewhere, such as memory that ran out.

        Args:
            allowance: of this call.
            function: of a module that a child can import.
            arguments: for it; pickled, like its result.

        Raises:
            WorkerDiedError: the child ended, by itself or because it took too long (:class:`OverdueError`).
            Exception: whatever the function raises there.
        """
        with self._turn:
            try:
                worked, answer = self._asked(allowance, (function, arguments))
            except OverdueError:
                raise
            except WorkerDiedError:
                worked, answer = self._asked(allowance, (function, arguments))
        if not worked:
            raise answer
        result: Result = answer
        return result

    def close(self) -> None:
        """End the child, whatever it is doing, and start no other."""
        self._closed = True
        _end(self._process)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **self._environment},
            start_new_session=True,
        )
        weakref.finalize(self, _end, process)
        with suppress(OSError):  # it is dead already: its first call will report how
            assert process.stdin
            pickle.dump(sys.path, process.stdin)
            _send(process.stdin, self._preload)
        return process

    def _asked(self, allowance: Allowance, call: Call) -> tuple[bool, Any]:
        """The answer of a child, (re)started if dead, that has run the first call."""
        if self._process.poll() is not None and not self._closed:
            self._process, self._met = self._started(), False
        if self._first and not self._met:
            worked, answer = self._answer(UNLIMITED, self._first)
            if not worked:
                return worked, answer
            self._met = True
        return self._answer(allowance, call)

    def _answer(self, allowance: Allowance, call: Call) -> tuple[bool, Any]:
        """Whether the call worked, and its result or exception."""
        process, overdue = self._process, threading.Event()

        def end() -> None:
            overdue.set()
            process.kill()

        timer = threading.Timer(allowance.seconds or 0, end)
        timer.daemon = True  # so that the interpreter does not wait for it at exit
        try:
            assert process.stdin
            assert process.stdout
            if allowance.seconds is not None:
                timer.start()
            _send(process.stdin, (allowance, call))
            answer: tuple[bool, Any] = pickle.load(process.stdout)
            return answer
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:  # of a pipe that ended or was closed
            code = _exit_code(process)
            if overdue.is_set():
                raise OverdueError(f"took more than {allowance.seconds:g} s") from error
            raise WorkerDiedError(_how_it_ended(code)) from error
        except BaseException:  # an interruption: the pending answer would be taken for the next call's
            process.kill()
            raise
        finally:
            timer.cancel()


class Workers:
    """A pool of children: when one dies, only its own call is lost.

    Args:
        number: of children, 1 or more.
        allowance: of each call.
        environment, first, quiet: see :class:`Worker`.

    Raises:
        ArtistidError: the system cannot start so many processes.
    """

    def __init__(
        self,
        number: int,
        allowance: Allowance = UNLIMITED,
        environment: Mapping[str, str] | None = None,
        first: Call | None = None,
        quiet: bool = False,
    ) -> None:
        self._allowance = allowance
        self._workers: list[Worker] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(number)
        try:
            for _ in range(number):
                self._workers.append(Worker(environment, first, quiet=quiet))
                self._idle.put(self._workers[-1])
        except OSError as error:
            self.close()
            raise ArtistidError(f"workers={number}: the system cannot start so many processes: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """The future result of :meth:`Worker.call`, once a child is free."""
        return self._threads.submit(self._call, function, *arguments)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], ahead: int) -> Iterator[Future[Result]]:
        """The function's future results for all items, in order; at most ``ahead`` are running or waiting."""
        window: deque[Future[Result]] = deque()
        for item in items:
            window.append(self.submit(function, item))
            if len(window) == ahead:
                yield window.popleft()
        yield from window

    def close(self) -> None:
        """End all children, whatever they are doing."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)

    def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        worker = self._idle.get()
        try:
            return worker.call(self._allowance, function, *arguments)
        finally:
            self._idle.put(worker)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # of data that could not be sent any more
            if pipe:
                pipe.close()


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that has stopped answering, which is killed if it does not end."""
    try:
        return process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def serve() -> NoReturn:
    """A child's main loop: run the calls from its standard input, send the answers to its standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the answers
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls,), daemon=True).start()
    for module in pickle.loads(calls.get()):
        with suppress(Exception):  # the first call that needs it will report it
            import_module(module)
    while True:
        try:
            allowance, (function, arguments) = pickle.loads(calls.get())
            with _within(allowance):
                answer = True, function(*arguments)
        except BaseException as error:
            answer = False, _portable(error)
        pickle.dump(answer, answers, protocol=5)  # which writes large arrays without copying them
        answers.flush()


def _listen(calls: queue.SimpleQueue[bytes]) -> None:
    """Receive calls while others run, to notice at once when the parent has ended."""
    while len(header := sys.stdin.buffer.read(LENGTH.size)) == LENGTH.size:
        calls.put(sys.stdin.buffer.read(*LENGTH.unpack(header)))
    os._exit(0)


def _send(pipe: IO[bytes], call: Any) -> None:
    """Send a call as :func:`_listen` reads it: pickled, preceded by its length."""
    pickled = pickle.dumps(call)
    pipe.write(LENGTH.pack(len(pickled)))
    pipe.write(pickled)
    pipe.flush()


@contextmanager
def _within(allowance: Allowance) -> Iterator[None]:
    """Enforce an allowance on this process: beyond its memory it gets a MemoryError, or a library's equivalent."""
    if allowance.seconds is not None and hasattr(signal, "setitimer"):
        # The parent's timer fires first, unless the parent is dead; a signal ends what no exception would.
        signal.setitimer(signal.ITIMER_REAL, allowance.seconds + GRACE_S)
    if allowance.memory is not None and sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + allowance.memory, most))
    try:
        yield
    finally:
        if allowance.memory is not None and sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _data_bytes() -> int:
    """Bytes of this process's memory that count against RLIMIT_DATA."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _portable(error: BaseException) -> Exception:
    """An exception that can be sent and raised by the parent; if no ArtistidError, with its traceback as a note."""
    if not isinstance(error, ArtistidError):
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    with suppress(Exception):
        pickle.loads(pickle.dumps(error))
        if isinstance(error, Exception):  # and not SystemExit, which would end the parent
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")
