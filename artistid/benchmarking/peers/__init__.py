"""Alternatives to this package, each run by a Python of its own, since its libraries may conflict with ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from artistid.errors import ArtistidError


def run_peer(python: str, script: str, *arguments: str) -> dict[str, Any]:
    """The figures that a peer prints.

    Args:
        python: interpreter that has the peer's libraries.
        script: name of the module beside this one.
        arguments: of the script.

    Raises:
        ArtistidError: it does not run.
    """
    path = Path(__file__).with_name(f"{script}.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        ran = subprocess.run(
            [python, "-I", str(path), *arguments], env=environment, capture_output=True, text=True, check=True
        )
    except OSError as error:
        raise ArtistidError(f"peers={python} is not a Python that can be run: {error}") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:]
        raise ArtistidError(f"peers={python} does not run {script}: {''.join(last)}") from error
    figures: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return figures
