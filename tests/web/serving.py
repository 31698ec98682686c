"""The command that serves the page, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(checkpoint: Path, *settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``python -m artistid.app``: where it answers, and the process."""
    command = [sys.executable, "-m", "artistid.app", f"checkpoint={checkpoint}", "device=cpu", "port=0", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"listening at (http://127\.0\.0\.1:\d+)", process.stdout.readline())
            assert found is not None, "it did not say where it listens"
            yield found[1], process
        finally:
            process.terminate()
