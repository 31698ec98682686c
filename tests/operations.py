"""Runs the package's commands in processes that count their file operations, and end at the one that is asked for.

``python -m tests.operations`` is a server: it imports once what the commands need, and forks a process for each
request, since starting anew would take longer than the tiny commands that are killed. :class:`Commands` is its client.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import artistid
from artistid.cli import command
from artistid.interruption import guard_start
from artistid.writing import DRAFT

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LOADED = (
    *("artistid.train", "artistid.prepare", "artistid.inference.sources", "artistid.synthesis.instruments"),
    *("artistid.reporting.sections", "artistid.reporting.document", "artistid.reporting.maps"),
    *("hydra._internal.hydra", "hydra._internal.core_plugins.basic_sweeper", "sklearn.manifold", "rich.progress"),
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; of one that a signal ended, minus its number.
        out: what it printed.
        err: what it printed on standard error.
        operations: on files below the folder that was watched, as far as it came: what, and on which path.
    """

    code: int
    out: str
    err: str
    operations: tuple[str, ...]


class Commands:
    """Client of the server; a context manager that starts and ends it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Commands:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(artistid.__file__).parent.parent),
            "OMP_NUM_THREADS": "1",  # no threads, which a fork would lose
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.operations"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=environment["PYTHONPATH"],
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()

    def run(
        self,
        verb: str,
        *overrides: str,
        watch: Path,
        end_at: int = -1,
        with_signal: int = signal.SIGKILL,
        after_s: float | None = None,
        constants: dict[str, float] | None = None,
    ) -> Ended:
        """``python -m artistid.<verb> <overrides>`` in the folder ``watch``.

        Args:
            verb: of the package.
            overrides: its settings.
            watch: below which operations are counted.
            end_at: number of the operation, from 0, before which the signal comes; negative: none.
            with_signal: that comes.
            after_s: seconds after which it comes, instead.
            constants: ``artistid.module.NAME`` to a value, for what no setting sets.
        """
        request = {
            "verb": verb,
            "overrides": overrides,
            "watch": str(watch),
            "end_at": end_at,
            "signal": int(with_signal),
            "after_s": after_s,
            "constants": constants or {},
            "folder": str(self._folder),
        }
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())
        out, err, operations = (
            (self._folder / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err", "operations")
        )
        return Ended(code, out, err, tuple(operations.splitlines()))


class Watch:
    """Counts what this process does to files below a folder, and ends it before one of these operations.

    A write is two: before it, and when half of it is written.
    """

    def __init__(self, folder: str, end_at: int, number: int, record: Path) -> None:
        self._folder = f"{Path(folder).resolve()}{os.sep}"
        self._end_at = end_at
        self._signal = number
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._count = 0
        self._process = os.getpid()

    def start(self) -> None:
        sys.addaudithook(self._audit)
        builtins.open = io.open = self._open  # type: ignore[assignment]

    def happens(self, operation: str, path: str) -> None:
        """Count an operation, before which the signal may come."""
        os.write(self._record, f"{operation} {path.removeprefix(self._folder)}\n".encode(errors="replace"))
        self._count += 1
        if self._count - 1 == self._end_at:
            os.kill(os.getpid(), self._signal)

    def next_ends(self) -> bool:
        """Whether the signal comes before the next operation."""
        return self._count == self._end_at

    def inside(self, path: Any, folder: int = -1) -> str | None:
        """The path as text, if it is watched; ``folder`` is a descriptor that it is relative to."""
        if isinstance(path, int) or os.getpid() != self._process:
            return None
        place = Path(os.fsdecode(path))
        if folder >= 0:
            place = Path(f"/proc/self/fd/{folder}").readlink() / place
        text = str(place.parent.resolve() / place.name)
        return text if text.startswith(self._folder) else None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & TO_WRITE or path is None:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        at = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.rename": 2}.get(event)
        if watched := self.inside(path, arguments[at] if at else -1):
            self.happens(event, watched)

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not set(mode) & set("wax+") or self.inside(file) is None:
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = WatchedFile(self, file, "".join(letter for letter in mode if letter not in "bt"), closefd, opener)
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)


class WatchedFile(io.FileIO):
    """A file whose writes are counted, and can be cut in half; of a draft, which nobody reads, the first one counts."""

    def __init__(self, watch: Watch, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self._watch = watch
        super().__init__(file, mode, closefd, opener)
        self._path = watch.inside(file) or ""
        self._is_draft = DRAFT.fullmatch(Path(self._path).name) is not None
        self._writes = 0

    def write(self, data: Any) -> int:
        self._writes += 1
        if self._writes == 1 or not self._is_draft:
            self._watch.happens("write", self._path)
            if self._watch.next_ends():
                super().write(bytes(data)[: len(data) // 2])
            self._watch.happens("half of a write", self._path)
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._watch.happens("truncate", self._path)
        return super().truncate(size)


_real_open = io.open


def serve() -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    for name in LOADED:
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        begun, begins = os.pipe()
        if child := os.fork():
            os.close(begins)
            os.read(begun, 1)
            os.close(begun)
            if request["after_s"] is not None:
                time.sleep(request["after_s"])
                os.kill(child, request["signal"])
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        else:
            os._exit(_exit_code(request, begins))


def _work(request: dict[str, Any], begins: int) -> None:
    folder = Path(request["folder"])
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell's foreground, wherever the tests run
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(request["watch"])
    for constant, value in request["constants"].items():
        module, _, name = constant.rpartition(".")
        setattr(import_module(module), name, value)
    sys.argv = [f"artistid/{request['verb']}.py", *request["overrides"]]
    Watch(request["watch"], request["end_at"], request["signal"], folder / "operations").start()
    import_module(f"artistid.{request['verb']}")
    guard_start(f"artistid.{request['verb']}")
    os.close(begins)
    command(request["verb"])


def _exit_code(request: dict[str, Any], begins: int) -> int:
    """What Python ends a process with that does this work."""
    try:
        _work(request, begins)
        code: Any = 0
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    serve()
