"""Runs one verb on many files in this process, and writes down what each run did beyond its answer.

``python -m tests.hostile.watched OUT ALLOWED``, with two JSON lists of runs (a verb and its settings) on standard
input: those to begin with, unwatched, and the others.
An audit hook sees every file that Python opens for writing, every process and every connection; what C code does
shows in the file tree, which the test compares.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from artistid.processes import BOOT

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
           "os.chown", "os.utime", "os.setxattr", "os.removexattr")  # fmt: skip
STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "pty.spawn",
)
CONNECTIONS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What happened since it was asked last."""

    def __init__(self, allowed: Path) -> None:
        self.allowed = allowed
        self.seen: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and not isinstance(path, int):
                self._change(event, path)
        elif event in CHANGES:
            # Of a removal within an open folder the name alone is told, and the folder by its descriptor.
            folder = arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1
            beside = Path(f"/proc/self/fd/{folder}").readlink() if isinstance(folder, int) and folder >= 0 else Path()
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike):
                    self._change(event, beside / os.fsdecode(path))
        elif event == "subprocess.Popen" and arguments[1][-1:] == [BOOT]:
            pass  # the process that decodes the user's own song, which no checkpoint has a say in
        elif event in STARTS or event in CONNECTIONS:
            self.seen.append(f"{event} {arguments[:2]!r}"[:300])

    def _change(self, event: str, path: Any) -> None:
        place = Path(os.path.realpath(os.fsdecode(path)))
        if event == "os.mkdir" and place.is_dir():  # which changes nothing: Hydra does so to the current folder
            return
        if not place.is_relative_to(self.allowed) and place != Path(os.devnull):
            self.seen.append(f"{event} {place}")

    def taken(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


def run(verb: str, overrides: list[str]) -> dict[str, Any]:
    """The exit code and what was printed."""
    from tests.verbs import run_verb

    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_verb(verb, *overrides)
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:
            code = "raised"
            traceback.print_exc(file=err)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def _memory(field: str) -> int:
    """Bytes of this process, by a line of Linux' account of it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])


def main() -> None:
    results, allowed = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    warming, runs = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for verb, overrides in warming:  # what is imported, and whatever torch does once, is not a file's doing
        run(verb, overrides)
    watch = Watch(allowed)
    with results.open("w") as file:
        for verb, overrides in runs:
            Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far is now's
            watch.taken()
            before = _memory("VmRSS")
            result = run(verb, overrides)
            seen = watch.taken()
            file.write(json.dumps({**result, "seen": seen, "bytes": _memory("VmHWM") - before}) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
