"""The specification stored in a checkpoint, which makes it usable without the run that wrote it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import nn

from artistid import __version__, old_names
from artistid.data.clips import ClipSpec
from artistid.data.features import Features, build_features
from artistid.data.recordings import Recordings
from artistid.data.sources.base import check_description
from artistid.data.splits import ALL_SUBSETS
from artistid.errors import ArtistidError, counted
from artistid.evaluation.open_set import OpenSetThreshold
from artistid.evaluation.voting import find_vote
from artistid.learning.archive import load_archive
from artistid.models.published.base import Published
from artistid.old_names import renamed
from artistid.places import expanded
from artistid.printing import printable
from artistid.trust import (
    BOUNDS,
    LONGEST_ARTIST_NAME,
    MOST_VALUES_PER_S,
    Trust,
    check_bound,
    check_plain,
    find_class,
    is_within,
    shown,
)
from artistid.writing import whole, write_text

CHECKPOINT_KEY = "artistid"
FEATURES_HOMES = ("artistid.data", "artistid.learning.bottleneck")  # where this package's feature classes are
PUBLISHED_HOME = "artistid.models.published"
# The files of a folder that a network is saved to, named as Hugging Face's libraries name them.
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
VERSION_KEY = "artistid_version"
# Lightning's names; on a command line, the plain ones are parsed as numbers.
PRECISIONS = (
    *("16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "64", "32", "16", "bf16"),
    *("transformer-engine", "transformer-engine-float16", 64, 32, 16),
)
# Of weights: the types that networks are trained in, and those of batch counters and indices.
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
)
MOST_BESIDE_WEIGHTS = 2**26  # bytes that a network holds but checkpoints do not, such as a window
# The earlier training data of a network that was not fine-tuned from another.
NOTHING_BEFORE: dict[str, Any] = {"recordings": [], "fingerprints": {}}


@dataclass(frozen=True)
class Specification:
    """Everything that data, network and vote must agree on; plain types only, so that it is safe to load.

    Attributes:
        artists: names of the labels, in order.
        features: description of the features, see :func:`artistid.data.features.build_features`.
        clip: settings of :class:`artistid.data.clips.ClipSpec`.
        network: Hydra configuration of the network.
        vote: method of the song vote.
        batch_size: clips per batch.
        precision: training precision, by Lightning's name.
        data: Hydra configuration of the source trained on.
        split: track id to subset, and the rule and seed that drew it.
        recordings: SHA-1 of the decoded samples of the tracks trained on.
        pretrained_from: of a fine-tuned network, the checkpoint that it started from: its path, ``sha256``, data,
            artists, and the recordings that it and its own predecessor were trained on, with fingerprints as below.
        open_set: settings of :class:`artistid.evaluation.open_set.OpenSetThreshold`; None: songs by unknown artists
            are not rejected.
        fingerprints: of the recordings trained on, by their SHA-1, see :mod:`artistid.data.recordings`; None, as in
            older checkpoints: copies of them with other samples are not recognised.
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
    pretrained_from: dict[str, Any] | None = None
    open_set: dict[str, Any] | None = None
    fingerprints: dict[str, str] | None = None

    @classmethod
    def from_plain(cls, plain: Any, where: str, trust: Trust = ()) -> Specification:
        """The specification from what :meth:`plain` returned, checked, since a file may come from anywhere.

        Args:
            plain: the loaded content.
            where: name of the file, for errors.
            trust: packages whose networks and sources it may name, besides this one.

        Raises:
            ArtistidError: other entries than this version's, or see :meth:`check`.
        """
        plain = _with_todays_names(plain)
        expected = {field.name: field.default is MISSING for field in fields(cls)}
        found = set(plain) if isinstance(plain, Mapping) else set()
        unknown = sorted(map(shown, found - set(expected)))
        missing = [name for name, needed in expected.items() if needed and name not in found]
        if unknown or missing:
            other = [f"{name.strip(chr(39))} unknown" for name in unknown[:5]] + [f"{name} missing" for name in missing]
            raise ArtistidError(
                f"{where} was written by another version of artistid than this one, {__version__}: {', '.join(other)}"
            )
        try:
            check_plain(plain, "its specification")
            check_targets(plain["network"], plain["features"], plain["data"], trust)
            find_vote(plain["vote"], trust)
        except ArtistidError as error:
            raise ArtistidError(f"{where} is not safe to use: {error}") from error
        try:
            specification = cls(**plain)
            specification.check()
        except (TypeError, ArtistidError) as error:
            raise ArtistidError(f"{where} was written by another version of artistid: {error}") from error
        return specification

    def check(self) -> None:
        """Raises ArtistidError for entries of the wrong type, or outside the bounds of :mod:`artistid.trust`."""
        kinds = {"list": list, "dict": dict, "str": str, "int": int}
        for field in fields(self):
            value, words = getattr(self, field.name), str(field.type)
            if field.name in ("vote", "precision"):  # checked below, or by find_vote
                continue
            if not isinstance(value, kinds[words.split(" ")[0].partition("[")[0]]) and not (
                value is None and "None" in words
            ):
                raise ArtistidError(f"{field.name} is {shown(value)}, expected {words}")
        for name in ("artists", "recordings"):
            _check_texts(getattr(self, name), name)
        check_bound("artists", len(self.artists))
        if len(set(self.artists)) < len(self.artists) or max(map(len, self.artists)) > LONGEST_ARTIST_NAME:
            raise ArtistidError(f"artists has a name twice, or one of more than {LONGEST_ARTIST_NAME} characters")
        check_bound("batch_size", self.batch_size)
        if self.precision not in PRECISIONS:
            names = ", ".join(dict.fromkeys(map(str, PRECISIONS)))
            raise ArtistidError(f"precision={shown(self.precision)}: expected one of {names}")
        for part, settings in (("features", self.features), ("clip", self.clip), ("open_set", self.open_set or {})):
            for name, value in settings.items():
                if f"{part}.{name}" in BOUNDS and value is not None:
                    check_bound(f"{part}.{name}", value)
        for name, value in _within(self.features):
            _, most = BOUNDS.get(f"features.{name}", (0, math.inf))
            if isinstance(value, int | float) and value > most:  # samples in rows of one are an encoder's input
                raise ArtistidError(f"features has {name}={shown(value)} within it: expected at most {most:g}")
        features, clip_spec = self.build_features(), self.clip_spec()
        self.open_set_threshold()
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
            if name in self.features:
                _check_whole(self.features[name], f"features.{name}")
        # Encoded features know their width only once their network is loaded, which a file must not cause.
        dense = features.base is features and (
            features.width * features.sample_rate > MOST_VALUES_PER_S * features.hop_length
        )
        if dense:
            raise ArtistidError(f"features has more than {MOST_VALUES_PER_S} values for a second of sound")
        _check_whole(clip_spec.frames, "clip.frames")  # None for whole songs, which networks do not take
        if not isinstance(clip_spec.name, str) or {type(clip_spec.keep_last), type(clip_spec.pad_short)} != {bool}:
            raise ArtistidError("clip needs a name that is text, and keep_last and pad_short that are true or false")
        self._check_split()
        self._check_origin()
        self.trained_on(), self.pretraining_recordings()

    def _check_split(self) -> None:
        if not self.split:  # unknown
            return
        if self.split.keys() != {"rule", "seed", "subsets"} or not isinstance(self.split["subsets"], dict):
            raise ArtistidError("split needs a rule, a seed and subsets")
        if others := [subset for subset in self.split["subsets"].values() if subset not in ALL_SUBSETS]:
            raise ArtistidError(f"split has a subset {shown(others[0])}, expected one of {', '.join(ALL_SUBSETS)}")

    def _check_origin(self) -> None:
        if self.pretrained_from is None:
            return
        for name in ("artists", "recordings"):
            _check_texts(self.pretrained_from.get(name), f"pretrained_from.{name}")

    def trained_on(self) -> Recordings:
        """The recordings trained on."""
        return Recordings(self.recordings, self.fingerprints, self.build_features())

    def pretraining_recordings(self) -> Recordings:
        """The recordings trained on before fine-tuning, under any labels; the features were the same."""
        before = self.pretrained_from or NOTHING_BEFORE
        return Recordings(before["recordings"], before.get("fingerprints"), self.build_features())

    def heard(self) -> dict[str, Any]:
        """All recordings that the weights were trained on: their SHA-1, and the stored fingerprints."""
        before = self.pretrained_from or NOTHING_BEFORE
        return {
            "recordings": sorted({*self.recordings, *before["recordings"]}),
            "fingerprints": {**(before.get("fingerprints") or {}), **(self.fingerprints or {})},
        }

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    def build_features(self) -> Features:
        """The network's input features."""
        return build_features(self.features)

    def clip_spec(self) -> ClipSpec:
        return ClipSpec(**self.clip)

    def open_set_threshold(self) -> OpenSetThreshold | None:
        return OpenSetThreshold(**self.open_set) if self.open_set is not None else None

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        network: nn.Module = instantiate(self.network, n_artists=len(self.artists))
        return network


def _within(description: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings, by name, of all descriptions nested in a description."""
    for nested in description.values():
        if isinstance(nested, Mapping):
            yield from nested.items()
            yield from _within(nested)


def _check_texts(value: Any, name: str) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) and _is_unicode(each) for each in value):
        raise ArtistidError(f"{name} is not a list of text")


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded: half a surrogate pair can't."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_whole(value: Any, name: str) -> None:
    if type(value) is not int:
        raise ArtistidError(f"{name}={shown(value)} is not a whole number")


def _with_todays_names(plain: Any) -> Any:
    """A specification with this version's names where an earlier version wrote it; else unchanged."""
    if not isinstance(plain, Mapping):
        return plain
    plain = renamed(plain, old_names.CHECKPOINT)
    if isinstance(features := plain.get("features"), Mapping):
        plain["features"] = {**old_names.FEATURES, **features}
    if isinstance(network := plain.get("network"), Mapping):
        plain["network"] = renamed(network, old_names.NETWORKS.get(str(network.get("_target_")), {}))
    if isinstance(split := plain.get("split"), Mapping):
        plain["split"] = renamed(split, old_names.SPLIT)
    return plain


def with_width(network: Mapping[str, Any], features: Features) -> dict[str, Any]:
    """A network's configuration, with the features' width as ``n_features`` if its constructor has that argument."""
    try:
        takes = inspect.signature(get_object(str(network.get("_target_")))).parameters
    except (ImportError, ValueError, TypeError, InstantiationException):  # reported where it is built
        return dict(network)
    return {"n_features": features.width, **network} if "n_features" in takes else dict(network)


def check_targets(network: Any, features: Any, data: Any, trust: Trust) -> None:
    """Raises ArtistidError where the configuration of network, features or data would call untrusted code.

    Args:
        network: Hydra configuration.
        features: description; nested in it are features again, or a published or trusted encoder.
        data: see :mod:`artistid.data.sources.base`.
        trust: packages whose networks and sources may be called, besides this one.
    """
    targets = list(targets_of(network))
    if not isinstance(network, Mapping) or "_target_" not in network:
        raise ArtistidError(f"network is {shown(network)}, which names no class under _target_")
    if special := {"_partial_", "_args_"} & network.keys():  # these build no network, or one without its artists
        raise ArtistidError(f"network has the setting {min(special)}, which is not for a network")
    for target in targets:
        if not issubclass(find_class(target, ("artistid.models",), trust, "network"), nn.Module):
            raise ArtistidError(f"it would call {target!r}, which is not part of artistid, or not a network")
    _check_features(features, trust)
    check_description(data, trust)


def _check_features(features: Any, trust: Trust) -> None:
    if not isinstance(features, Mapping):
        raise ArtistidError(f"features is {shown(features)}, expected a description of features")
    check_features_class(features.get("_target_"), trust)
    for target in targets_of(list(features.values())):
        # Nested are features, an encoder or a separator. This package's have their published size; others could be as
        # large as a file says, so they must be from a trusted package.
        trusted = isinstance(target, str) and is_within(target, trust)
        check_features_class(target, trust, (Features, nn.Module) if trusted else (Features, Published))


def check_features_class(target: Any, trust: Trust, kinds: tuple[type, ...] = (Features,)) -> None:
    """Raises ArtistidError unless a name is that of a feature class of this or a trusted package."""
    homes = (*FEATURES_HOMES, PUBLISHED_HOME)
    if not issubclass(find_class(target, homes, trust, "class of features"), kinds):
        raise ArtistidError(f"it would call {target!r}, which is not a part of artistid that makes features")


def targets_of(config: Any) -> Iterator[Any]:
    """Everything that a Hydra configuration would call, nested parts included."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from targets_of(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from targets_of(value)


def load_checkpoint(path: str | Path, trust: Trust = ()) -> tuple[Specification, dict[str, torch.Tensor]]:
    """Read a checkpoint that ``train`` wrote, or a folder of ``Identifier.save_pretrained``.

    No code in the file is run: a checkpoint's pickle may rebuild tensors and plain types only.

    Args:
        path: the file or folder.
        trust: packages whose networks, sources and optimizers it may name, besides this one.

    Returns:
        specification: its specification.
        weights: of the network, by parameter name; memory-mapped from a checkpoint file.

    Raises:
        ArtistidError: no such file, or one that is not a checkpoint of this package.
    """
    path = expanded(path)
    where = named(path)
    if path.is_dir():
        plain, weights = _read_folder(path, where)
    elif path.is_file():
        plain, weights = _read_file(path, where, trust)
    else:
        raise ArtistidError(f"{where} does not exist (seen from {Path.cwd()})")
    check_weights(weights, where)
    return Specification.from_plain(plain, where, trust), weights


def named(path: Path) -> str:
    """A checkpoint's name in messages."""
    return f"checkpoint={printable(path)}"


def load_network(path: str | Path, trust: Trust = ()) -> tuple[Specification, nn.Module]:
    """A trained network, in evaluation mode, and its specification.

    Args:
        path, trust: see :func:`load_checkpoint`.

    Raises:
        ArtistidError: see :func:`load_checkpoint`; or weights and specification don't fit together.
    """
    specification, weights = load_checkpoint(path, trust)
    return specification, network_of(specification, weights, named(expanded(path)), trust)


def network_of(
    specification: Specification, weights: Mapping[str, torch.Tensor], where: str, trust: Trust = ()
) -> nn.Module:
    """The network of a checkpoint that has been read, in evaluation mode.

    Args:
        specification, weights: of the checkpoint, see :func:`load_checkpoint`.
        where: its name, for errors.
        trust: see :func:`load_checkpoint`.

    Raises:
        ArtistidError: weights and specification don't fit together.
    """
    try:
        if fault := misfit(specification.network, len(specification.artists), weights, trust):
            raise ArtistidError(f"{where}: its weights don't fit its network: {fault}")
        network = specification.build()
        network.load_state_dict(weights)
    except (InstantiationException, RuntimeError) as error:
        raise ArtistidError(f"{where}: its weights don't fit its network: {shown(_first_line(error))}") from error
    if not all(value.isfinite().all() for value in network.state_dict().values()):  # finite in the file's wider type
        raise ArtistidError(f"{where} is not safe to use: its weights are too large for the network's precision")
    return network.eval()


def misfit(network: Mapping[str, Any], n_artists: int, weights: Mapping[str, torch.Tensor], trust: Trust = ()) -> str:
    """How a network's weights do not fit its configuration; empty where they do.

    The network is built without memory for this, on torch's device ``meta``, so that a configuration that asks for more
    than the weights' size costs nothing. A trusted package's network that cannot be built on it is not checked.

    Raises:
        InstantiationException: a configuration that the network's class refuses.
    """
    try:
        with torch.device("meta"):
            built: Any = instantiate(network, n_artists=n_artists)
    except InstantiationException as error:
        if trust and isinstance(error.__cause__, NotImplementedError):
            return ""
        raise
    if not isinstance(built, nn.Module):
        return f"{shown(network.get('_target_'))} returns no network"
    expected = built.state_dict(keep_vars=True)
    if missing := sorted(expected.keys() ^ weights.keys()):
        whose = "the weights" if missing[0] in expected else "the network"
        return f"{len(missing)} names are in one of them only, such as {shown(missing[0])}, which {whose} lack"
    for name, tensor in expected.items():
        found = weights[name]
        if found.shape != tensor.shape or found.is_floating_point() != tensor.is_floating_point():
            kinds = (f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}" for each in (tensor, found))
            return f"{shown(name)} is {{}} in the network, {{}} in the weights".format(*kinds)
    needed = {id(tensor): tensor.nbytes for tensor in (*built.parameters(), *built.buffers())}
    there = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in weights.values()}
    if (asked := sum(needed.values())) > sum(there.values()) + MOST_BESIDE_WEIGHTS:
        return f"it takes {counted(asked, 'byte')}, but the weights have {sum(there.values()):,}"
    return ""


def _first_line(error: Exception) -> str:
    """An error's message, without the details that Hydra and torch append."""
    return str(error.__cause__ or error).partition("\n")[0]


def check_weights(weights: Mapping[str, Any], where: str) -> None:
    """Raises ArtistidError unless these are dense tensors of finite numbers, by name, complete in the file."""
    for name, value in weights.items():
        if fault := _fault_of(value):
            raise ArtistidError(f"{where} is not safe to use: the weight {shown(name)} {fault}")


def _fault_of(value: Any) -> str:
    """What is wrong with a weight; empty if nothing is."""
    if not isinstance(value, torch.Tensor):
        return f"is {shown(value)}, expected a tensor"
    if type(value) not in (torch.Tensor, nn.Parameter) or value.layout != torch.strided or value.dtype not in DTYPES:
        return f"has a layout or type that no network is trained in: {value.layout}, {value.dtype}"
    if value.device.type != "cpu" or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"has the shape {tuple(value.shape)}, for which the file has too few bytes"
    if not value.isfinite().all():
        return "has values that are not finite (NaN or infinite)"
    return ""


def _read_file(path: Path, where: str, trust: Trust) -> tuple[Any, dict[str, Any]]:
    """The specification and the network's weights of a checkpoint of ``train``, both unchecked."""
    checkpoint = load_archive(path, where, trust)
    if not isinstance(checkpoint, Mapping) or CHECKPOINT_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise ArtistidError(f"{where} was not written by artistid: it has no entry {CHECKPOINT_KEY!r}")
    state = checkpoint["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ArtistidError(f"{where} cannot be read: its state_dict is {shown(state)}, expected tensors by name")
    prefix = "network."
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return checkpoint[CHECKPOINT_KEY], weights


def save_folder(folder: Path, specification: Specification, network: nn.Module) -> None:
    """Write a network as Hugging Face's libraries do: ``model.safetensors`` and ``config.json``.

    Raises:
        ArtistidError: a folder that can't be written.
    """
    from safetensors.torch import save  # here, since checkpoints do not need it

    config = {VERSION_KEY: __version__, **specification.plain()}
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / WEIGHTS_FILE, "wb") as file:
            file.write(save(weights, metadata={"format": "pt"}))
        write_text(folder / CONFIG_FILE, json.dumps(config, indent=1) + "\n")
    except OSError as error:
        raise ArtistidError(f"the network cannot be written to {folder}: {error}") from error


def _read_folder(folder: Path, where: str) -> tuple[Any, dict[str, Any]]:
    """The specification and the network's weights from a folder of :func:`save_folder`, both unchecked."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if lacking := [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]:
        raise ArtistidError(f"{where} is a folder without {' and '.join(lacking)}: expected a saved network")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        weights: dict[str, Any] = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, RecursionError, KeyError, SafetensorError) as error:
        raise ArtistidError(f"{where} cannot be read: {shown(_first_line(error))}") from error
    if not isinstance(config, dict) or config.pop(VERSION_KEY, None) is None:
        raise ArtistidError(f"{where} was not written by artistid: its {CONFIG_FILE} has no entry {VERSION_KEY!r}")
    return config, weights
