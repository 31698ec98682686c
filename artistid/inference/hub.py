"""The Hugging Face Hub: downloads or uploads a saved network. Nothing else in this package connects to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from artistid.errors import ArtistidError
from artistid.learning.specification import CONFIG_FILE, WEIGHTS_FILE
from artistid.printing import printable

FILES = [CONFIG_FILE, WEIGHTS_FILE, "scores.json", "README.md"]
NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def download(name: str, revision: str | None, token: str | None) -> Path:
    """The folder, in the Hub's cache on this machine, of a model of the Hub.

    Raises:
        ArtistidError: no name of a model, the extra is missing, or the model cannot be downloaded.
    """
    shown = printable(name)
    if not NAME.fullmatch(name) or ".." in name:
        raise ArtistidError(f"{shown} is neither a folder here nor the name of a model on the Hub, owner/model")
    hub = _hub(f"{shown} is not a folder here")
    try:
        return Path(hub.snapshot_download(name, revision=revision, token=token, allow_patterns=FILES))
    except Exception as error:  # of the network, the Hub, or its files
        raise ArtistidError(f"{shown} is not a folder here, nor available from the Hub: {_said(error)}") from error


def upload(folder: Path, name: str, *, private: bool, token: str | None, message: str) -> str:
    """Upload a folder as a model on the Hub; returns its address.

    Raises:
        ArtistidError: no name of a model, the extra is missing, or the Hub refuses.
    """
    shown = printable(name)
    if not NAME.fullmatch(name) or ".." in name:
        raise ArtistidError(f"{shown} is not a name of a model on the Hub: expected owner/model")
    hub = _hub(f"{shown} can't be uploaded")
    try:
        api = hub.HfApi(token=token)
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except Exception as error:
        raise ArtistidError(f"{shown} can't be uploaded: {_said(error)}") from error
    return str(url)


def _hub(otherwise: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ArtistidError(f"{otherwise}: the Hub needs the extra hub, pip install 'artistid[hub]'") from error
    return huggingface_hub


def _said(error: Exception) -> str:
    """The first line of an error's message."""
    return printable(str(error).strip().partition("\n")[0] or type(error).__name__)
