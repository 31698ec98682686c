"""The verifier of a run, stored in its best checkpoint beside the network as plain settings and arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from artistid.errors import ArtistidError
from artistid.learning.archive import load_archive
from artistid.learning.resuming import save_whole
from artistid.learning.specification import check_weights, named
from artistid.models.verification import Verifier
from artistid.places import expanded
from artistid.trust import Trust, check_plain
from artistid.writing import whole

VERIFIER_KEY = "artistid_verifier"  # of a checkpoint
VERIFIER_FILE = "verifier.safetensors"  # in a folder of ``Identifier.save_pretrained``


@rank_zero_only
def keep_verifier(path: Path, verifier: Verifier, trust: Trust = ()) -> None:
    """Write a verifier into a checkpoint."""
    checkpoint = load_archive(path, named(path), trust)
    checkpoint[VERIFIER_KEY] = {"settings": verifier.settings(), "arrays": _tensors(verifier)}
    save_whole(checkpoint, path)


def save_verifier(folder: Path, verifier: Verifier) -> None:
    """Write a verifier beside a network that has been saved to a folder."""
    from safetensors.torch import save  # here, since checkpoints do not need it

    with whole(folder / VERIFIER_FILE, "wb") as file:
        file.write(save(_tensors(verifier), metadata={"settings": json.dumps(verifier.settings())}))


def load_verifier(path: str | Path, trust: Trust = ()) -> Verifier | None:
    """The verifier of a checkpoint, or of a folder of ``Identifier.save_pretrained``; None where it has none.

    Raises:
        ArtistidError: a file that cannot be read, or is not safe.
    """
    path = expanded(path)
    where = named(path)
    settings, arrays = _read_folder(path, where) if path.is_dir() else _read_file(path, where, trust)
    if settings is None:
        return None
    try:
        check_plain(settings, "its verifier")
        check_weights(arrays, where)
        return Verifier.of(settings, {name: np.asarray(each) for name, each in arrays.items()})
    except (ValueError, TypeError, KeyError, IndexError, np.linalg.LinAlgError) as error:
        raise ArtistidError(f"{where} is damaged: its verifier does not fit together: {error}") from error


def _tensors(verifier: Verifier) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in verifier.arrays().items()}


def _read_file(path: Path, where: str, trust: Trust) -> tuple[Any, Mapping[str, Any]]:
    kept = load_archive(path, where, trust).get(VERIFIER_KEY)
    if kept is None:
        return None, {}
    if not isinstance(kept, Mapping) or not all(isinstance(kept.get(part), Mapping) for part in ("settings", "arrays")):
        raise ArtistidError(f"{where} is damaged: its verifier does not consist of settings and arrays")
    return kept["settings"], kept["arrays"]


def _read_folder(folder: Path, where: str) -> tuple[Any, Mapping[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not (folder / VERIFIER_FILE).is_file():
        return None, {}
    try:
        with safe_open(folder / VERIFIER_FILE, "pt") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping
            return json.loads((file.metadata() or {})["settings"]), arrays
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise ArtistidError(f"{where} cannot be read: {VERIFIER_FILE}: {error}") from error
