"""What a type checker sees of the package from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import artistid

PROGRAM = """
import artistid

identifier = artistid.load("best.ckpt")
answer = identifier.predict("song.mp3")
reveal_type(answer.artist)
reveal_type(answer.top[0].probability)
answer.top[0].likelihood
"""
# What other packages say of themselves takes a minute to read, and is not the question.
OTHERS = (
    "torch",
    "torchaudio",
    "lightning",
    "torchmetrics",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "hydra",
    "omegaconf",
    "rich",
)


@pytest.mark.slow
def test_other_programs_see_the_packages_types(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in OTHERS)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\ncache_dir = {os.devnull}\n{skipped}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(artistid.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines()[:3]]
    assert told[0] == 'note: Revealed type is "str | None"', done.stdout + done.stderr
    assert told[1] == 'note: Revealed type is "float"'
    assert told[2].startswith('error: "Candidate" has no attribute "likelihood"')
