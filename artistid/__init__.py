"""Who made this? Music artist classification after Nasrullah & Zhao (2019).

The verbs are modules: ``python -m artistid.train``, ``evaluate``, ``prepare``, ``report``, ``predict``. From Python,
:func:`load` opens a trained network. Importing the package imports nothing heavy, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artistid.interruption import guard_start, started_module

if TYPE_CHECKING:
    from artistid.inference.identifier import Identifier

__version__ = "0.2.0"  # the only place; pyproject.toml reads it from here

guard_start(started_module())
# ONNX Runtime would send telemetry and write an identifier of this machine to the user's cache, from a thread that has
# crashed whole processes; a value already set in the environment is kept.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(checkpoint: str | Path, device: str = "auto", trust: Sequence[str] = ()) -> Identifier:
    """Open a trained network, to name the artist of any song.

    Args:
        checkpoint: the ``best.ckpt`` of a run, or a folder that ``save_pretrained`` wrote. No code in it is run.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ….
        trust: packages of your own whose classes it may use, such as ``("mynet",)``; see docs/extending.md.

    Raises:
        artistid.errors.ArtistidError: a file that is missing, no checkpoint, not safe, or another version's.

    Example:
        >>> import artistid
        >>> identifier = artistid.load("best.ckpt")
        >>> answer = identifier.predict("song.mp3")
        >>> answer.artist is None or answer.artist in identifier.artists  # None: none of them
        True
        >>> [round(stretch.start_s) for stretch in answer.timeline][:1]
        [0]
        >>> import soundfile
        >>> samples, rate = soundfile.read("song.mp3")
        >>> identifier.embed(samples, rate).shape
        (32,)
    """
    from artistid.inference.identifier import Identifier  # here, so that importing the package stays light

    return Identifier.from_checkpoint(checkpoint, device, trust)
