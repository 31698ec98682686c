"""What a checkpoint must carry so that it can be used without the run that made it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import nn

from artistid import __version__
from artistid.data.clips import Clipping
from artistid.data.features import LogMel
from artistid.data.recordings import Recordings
from artistid.errors import ArtistidError
from artistid.evaluation.rejection import Rejection

CHECKPOINT_KEY = "artistid"
# The files of a folder that a network is kept in for others, by the names that Hugging Face's libraries give them.
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
VERSION_KEY = "artistid_version"
# What a network has heard before that grew from none.
NOTHING_BEFORE: dict[str, Any] = {"recordings": [], "fingerprints": {}}


@dataclass(frozen=True)
class Specification:
    """All that data, network and vote must agree on; plain types only, so that it is safe to load.

    Attributes:
        artists: names of the labels, in their order.
        features: settings of :class:`artistid.data.features.LogMel`.
        clip: settings of :class:`artistid.data.clips.Clipping`.
        network: Hydra configuration of the network.
        vote: method of the song level.
        batch_size: clips.
        precision: that it was trained in, in Lightning's words.
        data: Hydra configuration of the source trained on.
        split: track id to part, and the rule and seed that drew it.
        recordings: SHA-1 of the decoded samples of the tracks trained on.
        grew_from: of a fine-tuned network, the checkpoint that it began with: its path, ``sha256``, data, artists, and
            the recordings that it and what it grew from itself were trained on, with fingerprints as below.
        rejection: settings of :class:`artistid.evaluation.rejection.Rejection`; None: songs by nobody that it knows are
            not told apart.
        fingerprints: of the recordings trained on, by their SHA-1, see :mod:`artistid.data.recordings`; None, as in
            checkpoints of before: copies of them that have other samples are not known again.
    """

    artists: list[str]
    features: dict[str, Any]
    clip: dict[str, Any]
    network: dict[str, Any]
    vote: str
    batch_size: int
    precision: str
    data: dict[str, Any]
    split: dict[str, Any]
    recordings: list[str]
    grew_from: dict[str, Any] | None = None
    rejection: dict[str, Any] | None = None
    fingerprints: dict[str, str] | None = None

    @classmethod
    def from_plain(cls, plain: Any, where: str) -> Specification:
        """What :meth:`plain` gave, checked, since a file may come from anywhere.

        Args:
            plain: what was found.
            where: names the file, for the errors.

        Raises:
            ArtistidError: other entries than this version's, or a configuration that would call something foreign.
        """
        expected = {field.name: field.default is MISSING for field in fields(cls)}
        found = set(plain) if isinstance(plain, Mapping) else set()
        unknown = sorted(map(str, found - set(expected)))
        missing = [name for name, needed in expected.items() if needed and name not in found]
        if unknown or missing:
            other = [f"{name} unknown" for name in unknown] + [f"{name} missing" for name in missing]
            raise ArtistidError(
                f"{where} was written by another version of artistid than this one, {__version__}: {', '.join(other)}"
            )
        specification = cls(**plain)
        try:
            specification.check_targets()
        except ArtistidError as error:
            raise ArtistidError(f"{where} is not safe to use: {error}") from error
        try:
            specification.log_mel(), specification.clipping(), specification.rejects()
            for name in ("artists", "recordings"):
                value = getattr(specification, name)
                if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                    raise ArtistidError(f"{name} is no list of text")
            specification.trained_on(), specification.trained_on_before()
        except (TypeError, KeyError, AttributeError, ArtistidError) as error:
            raise ArtistidError(f"{where} was written by another version of artistid: {error}") from error
        return specification

    def trained_on(self) -> Recordings:
        """The recordings trained on."""
        return Recordings(self.recordings, self.fingerprints, self.log_mel())

    def trained_on_before(self) -> Recordings:
        """The recordings trained on before fine-tuning, under whatever labels; the features were the same."""
        before = self.grew_from or NOTHING_BEFORE
        return Recordings(before["recordings"], before.get("fingerprints"), self.log_mel())

    def heard(self) -> dict[str, Any]:
        """All that the weights have learned from: SHA-1 of the recordings, and the fingerprints that are kept."""
        before = self.grew_from or NOTHING_BEFORE
        return {
            "recordings": sorted({*self.recordings, *before["recordings"]}),
            "fingerprints": {**(before.get("fingerprints") or {}), **(self.fingerprints or {})},
        }

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    def log_mel(self) -> LogMel:
        return LogMel(**self.features)

    def clipping(self) -> Clipping:
        return Clipping(**self.clip)

    def rejects(self) -> Rejection | None:
        return Rejection(**self.rejection) if self.rejection is not None else None

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        network: nn.Module = instantiate(self.network, n_artists=len(self.artists))
        return network

    def check_targets(self) -> None:
        """Raises ArtistidError where the network's or the source's configuration would call something foreign."""
        for value in (*_values(self.network), *_values(self.data)):
            if isinstance(value, str) and "${" in value:
                raise ArtistidError(f"it would have {value!r} interpolated, which could stand for anything")
        for target in (*_targets(self.network), *_targets(self.data)):
            if not _is_own_class(target):
                raise ArtistidError(f"it would call {target!r}, which is no part of artistid")


def _values(config: Any) -> Iterator[Any]:
    """All scalars of a configuration, and the names of its settings."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield name
            yield from _values(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _values(value)
    else:
        yield config


def _targets(config: Any) -> Iterator[Any]:
    """What a Hydra configuration would call, nested parts included."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)


def _is_own_class(target: Any) -> bool:
    """Whether a target is a class that this package defines: what our modules import is within reach of a name too."""
    if not isinstance(target, str) or not target.startswith("artistid."):
        return False
    try:
        found = get_object(target)
    except Exception:  # no such thing: Hydra raises what its import raised
        return False
    return isinstance(found, type) and found.__module__.startswith("artistid.")


def load_checkpoint(path: str | Path) -> tuple[Specification, dict[str, torch.Tensor]]:
    """Read a checkpoint that ``train`` wrote, or a folder of ``Identifier.save_pretrained``.

    Nothing that a file holds is run: a checkpoint's pickle may rebuild tensors and plain types only.

    Returns:
        specification: what it was trained for.
        weights: of the network, by parameter name.

    Raises:
        ArtistidError: no such file, or a file that is no checkpoint of this package.
    """
    path = Path(path).expanduser()
    where = f"checkpoint={path}"
    if path.is_dir():
        return _load_folder(path, where)
    if not path.is_file():
        raise ArtistidError(f"{where} does not exist (seen from {Path.cwd()})")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises how to run it all the same.
        reasons = [line for line in str(error).splitlines() if line and "weights_only" not in line]
        raise ArtistidError(
            f"{where} cannot be read: it is no checkpoint, or holds more than weights and plain values, of which "
            f"nothing was run: {' '.join(reasons[-1:])}"
        ) from None
    except Exception as error:
        raise ArtistidError(f"{where} cannot be read: {error}") from error
    if not isinstance(checkpoint, Mapping) or CHECKPOINT_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise ArtistidError(f"{where} was not written by artistid: it has no entry {CHECKPOINT_KEY!r}")
    specification = Specification.from_plain(checkpoint[CHECKPOINT_KEY], where)
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items() if name.startswith(prefix)
    }
    return specification, weights


def load_network(path: str | Path) -> tuple[Specification, nn.Module]:
    """A trained network, ready to be used, and what it was trained for.

    Raises:
        ArtistidError: see :func:`load_checkpoint`; or weights and specification don't fit together.
    """
    specification, weights = load_checkpoint(path)
    try:
        network = specification.build()
        network.load_state_dict(weights)
    except (InstantiationException, RuntimeError) as error:
        raise ArtistidError(f"checkpoint={path}: its weights don't fit its network: {error}") from error
    return specification, network.eval()


def save_folder(folder: Path, specification: Specification, network: nn.Module) -> None:
    """Write a network in the manner of Hugging Face: ``model.safetensors`` and ``config.json``.

    Raises:
        ArtistidError: a folder that can't be written.
    """
    from safetensors.torch import save_file  # here, since checkpoints do without

    config = {VERSION_KEY: __version__, **specification.plain()}
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ArtistidError(f"the network cannot be written to {folder}: {error}") from error


def _load_folder(folder: Path, where: str) -> tuple[Specification, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if lacking := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]:
        raise ArtistidError(f"{where} is a folder without {' and '.join(lacking)}: expected a saved network")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        weights: dict[str, torch.Tensor] = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtistidError(f"{where} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.pop(VERSION_KEY, None) is None:
        raise ArtistidError(f"{where} was not written by artistid: its {CONFIG_FILE} has no entry {VERSION_KEY!r}")
    return Specification.from_plain(config, where), weights
