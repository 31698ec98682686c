"""Runs a command in a terminal of 80 columns, and says what it shows."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9]+)*m")


def in_terminal(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and all that a terminal is sent, its commands included."""
    import pty  # which not every system has
    import termios

    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, COLUMNS))
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, cwd=cwd, env={**os.environ, **environment}
    ) as run:
        os.close(its)
        shown = b""
        while part := _read(ours):
            shown += part
    os.close(ours)
    return run.returncode, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:  # as Linux tells that nothing is open on the other side
        return b""


def lines(shown: str) -> list[str]:
    """The lines that were shown, one for each state of a bar, without a terminal's commands."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", shown)) if line.strip()]
