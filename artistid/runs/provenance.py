"""Where a run's numbers come from: the code, the machine and the time it took."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from artistid import __version__
from artistid.learning.acceleration import device_name, threads
from artistid.sweeps import jobs_at_once

PACKAGES = (
    "torch",
    "torchaudio",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "omegaconf",
    "soundfile",
)


def provenance(seconds: Mapping[str, float]) -> dict[str, Any]:
    """Which code ran, on what, and for how long: for the scores file."""
    return {
        "command": shlex.join(["python", "-m", f"artistid.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "revision": revision(),
        "device": device_name(),
        "threads": {**threads(), "jobs": jobs_at_once()},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"artistid": __version__, **{name: version(name) for name in PACKAGES}},
    }


def revision() -> str | None:
    """Git commit of the checkout this package runs from, ``+changes`` if files differ; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(checkout), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not (checkout / ".git").exists():  # installed, perhaps somewhere below another project's checkout
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


@contextmanager
def stopwatch(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Record how many seconds a stage takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
