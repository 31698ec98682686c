"""Features computed from others by a trained network: a frozen encoder's vectors."""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from artistid.data.features import Features, build_features
from artistid.errors import ArtistidError, counted
from artistid.models.published.base import Published
from artistid.places import expanded
from artistid.settings import first_line

VALUES_AT_ONCE = 2**20  # input values of a batch of windows: a minute of samples
LONGEST_S = 3600.0  # of a window
# Values in a window of a published encoder, which untrusted files may name: 1 to 4 minutes of samples.
LARGEST_WINDOW = 2**22
LOADED = 2  # encoders that stay in memory


class Frozen(NamedTuple):
    """A frozen network on its device, and the shape of its output for a window.

    Attributes:
        network: from windows ``(batch, width, time)`` of the base's rows to vectors ``(batch, d)`` or sequences of them
            ``(batch, vectors, d)``.
        sha256: of its weights.
        vectors: number per window.
        width: of a vector.
    """

    network: nn.Module
    sha256: str
    vectors: int
    width: int


class Encoded(Features):
    """Rows that a frozen network computes from windows of other features, its base.

    Decoder processes make the base's rows, one process per core; this process encodes them on its device, since a GPU
    should have one user, and the memory limit of a file does not apply here. The settings include the weights' SHA-256:
    a store is of one encoder, and a checkpoint records which.

    A row stands for one hop. Windows that are longer than that overlap, and each stands for its middle; the first
    begins before the track, which is padded there, as at its end, with the base's pad value. If a window gives several
    vectors, each of those in its middle is a row. The last row is one that the track fills by half or more.
    """

    hop: float | None  # seconds from window to window; None: they are contiguous
    device: str
    sha256: str | None  # of the weights, where they are known

    @property
    @abstractmethod
    def window_s(self) -> float:
        """Seconds of a window."""

    @property
    def window_rows(self) -> int:
        """Rows of the base in a window."""
        return self._rows(self.window_s)

    @property
    def hop_rows(self) -> int:
        """Rows of the base from window to window."""
        return self.window_rows if self.hop is None else min(self.window_rows, self._rows(self.hop))

    def _rows(self, seconds: float) -> int:
        return max(1, round(seconds * self.base.sample_rate / self.base.hop_length))

    @abstractmethod
    def load(self) -> Frozen:
        """The network; called when it is first needed."""

    @cached_property
    def frozen(self) -> Frozen:
        """The network.

        Raises:
            ArtistidError: it has other weights than ``sha256`` says.
        """
        frozen = self.load()
        if self.sha256 not in (None, frozen.sha256):
            raise ArtistidError(
                f"features={self.name}: expected the weights that were trained with (SHA-256 "
                f"{str(self.sha256)[:12]}…), found others ({frozen.sha256[:12]}…)"
            )
        return frozen

    @property
    def sample_rate(self) -> int:
        return self.base.sample_rate

    @property
    def rows_of_window(self) -> int:
        """Rows that a window gives."""
        return max(1, round(self.frozen.vectors * self.hop_rows / self.window_rows))

    @property
    def hop_length(self) -> float:
        return self.base.hop_length * self.hop_rows / self.rows_of_window

    @property
    def width(self) -> int:
        return self.frozen.width

    @property
    def f_max(self) -> float:
        return self.base.f_max

    def on(self, device: str) -> Self:
        return replace(self, device=device)  # type: ignore[type-var]  # each of them is a dataclass

    def get_ready(self) -> None:
        """Load the network, before any song is decoded for it."""
        _ = self.frozen
        super().get_ready()

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        return self.encode(*self.base.stored(blocks))

    def encode(self, rows: npt.NDArray[np.float16], pad_value: float) -> tuple[npt.NDArray[np.float16], float]:
        """See :meth:`artistid.data.features.Features.encode`; the pad value is 0.

        Raises:
            ArtistidError: vectors that are not finite in the store's precision, or an encoder that fails.
        """
        n_rows = self._filled(len(rows))
        n_windows = -(-n_rows // self.rows_of_window)
        before = (self.window_rows - self.hop_rows) // 2
        after = (n_windows - 1) * self.hop_rows + self.window_rows - before - len(rows)
        padded = np.pad(rows, ((before, max(0, after)), (0, 0)), constant_values=pad_value)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window_rows, axis=0)[:: self.hop_rows]
        vectors = np.concatenate(list(self._vectors(windows[:n_windows])))  # (windows, vectors, d)
        first = (vectors.shape[1] - self.rows_of_window) // 2
        middle = vectors[:, first : first + self.rows_of_window]
        with np.errstate(over="ignore"):  # see below
            encoded = middle.reshape(-1, self.width)[:n_rows].astype(np.float16)
        if not np.isfinite(encoded).all():
            raise ArtistidError(f"features={self.name}: the encoder gives vectors that are not finite in float16")
        return encoded, 0.0

    def _filled(self, n: int) -> int:
        """The rows, of n of the base, that a track fills by half or more: others would describe mostly padding."""
        return max(1, int(n * self.rows_of_window / self.hop_rows + 0.5))

    def _vectors(self, windows: npt.NDArray[np.float16]) -> Iterator[npt.NDArray[np.float32]]:
        """``(batch, vectors, d)`` of windows ``(n, width, time)``, some at a time."""
        at_once = max(1, VALUES_AT_ONCE // (windows.shape[1] * windows.shape[2]))
        for start in range(0, len(windows), at_once):
            batch = windows[start : start + at_once].astype(np.float32)
            yield vectors_of(self.frozen.network, batch, self.device, self.name)


def unencoded(base: Features, name: str) -> Features:
    """The base of features; raises ArtistidError for one that is itself encoded."""
    if isinstance(base, Encoded):
        raise ArtistidError(f"features={name}: expected a base that no network makes, found features={base.name}")
    return base


def check_seconds(setting: str, value: Any, most: float = LONGEST_S) -> None:
    """Raises ArtistidError for a value that is not a number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise ArtistidError(f"features.{setting}={value} is out of range: expected seconds above 0, at most {most:g}")


def freeze(network: nn.Module, window: tuple[int, int], device: str, name: str) -> Frozen:
    """Freeze a network.

    Args:
        network: see :class:`Frozen`.
        window: ``(width, time)`` of its input.
        device: to compute on, see :func:`torch_device`.
        name: of the features, for errors.
    """
    network = network.eval().requires_grad_(False).to(torch_device(device))
    seen = vectors_of(network, np.zeros((1, *window), np.float32), device, name)
    return Frozen(network, digest_of(network), *seen.shape[1:])


def digest_of(network: nn.Module) -> str:
    """The SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    for key, weights in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(weights.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def vectors_of(network: nn.Module, windows: npt.NDArray[np.float32], device: str, name: str) -> npt.NDArray[np.float32]:
    """``(batch, vectors, d)`` of windows ``(batch, width, time)``; raises ArtistidError if there are none."""
    try:
        with torch.inference_mode():
            found = network(torch.from_numpy(windows).to(torch_device(device)))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ArtistidError(
            f"features={name}: {type(network).__name__} cannot encode windows {windows.shape} (batch, width, time): "
            f"{first_line(error)}"
        ) from error
    if not isinstance(found, torch.Tensor) or found.ndim not in (2, 3) or len(found) != len(windows):
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ArtistidError(
            f"features={name}: {type(network).__name__} gives {shape} for {counted(len(windows), 'window')}: expected "
            "vectors (batch, d) or (batch, vectors, d)"
        )
    vectors: npt.NDArray[np.float32] = (found if found.ndim == 3 else found.unsqueeze(1)).float().cpu().numpy()
    return vectors


def torch_device(name: str) -> torch.device:
    """A device by its torch name; ``auto``: a GPU where there is one.

    Raises:
        ArtistidError: it can't be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ArtistidError(f"device={name!r} cannot be used here: {error}") from error
    return device


@dataclass(frozen=True, kw_only=True)
class Encoder(Encoded):
    """The vectors of any torch module, of this package or not.

    Args:
        encoder: its ``_target_``, a dotted name, and its arguments. It maps windows ``(batch, width, time)`` of the
            input to vectors ``(batch, d)`` or ``(batch, vectors, d)``; with samples as input the width is 1. It loads
            its weights itself; random ones are drawn with seed 0. One of :mod:`artistid.models.published` takes the
            ``path`` of its weights.
        input: description of its input features, see :func:`artistid.data.features.build_features`.
        window: seconds of audio in a window.
        hop: seconds from window to window; None: they are contiguous.
        device: that it runs on: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ….
        sha256: of its weights, where they are known; others are refused.
        preset: its name in the names of runs.

    Raises:
        ArtistidError: a setting out of its range.
    """

    encoder: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(
        default_factory=lambda: {"_target_": "artistid.data.raw_samples.RawSamples", "hop_length": 1}
    )
    window: float = 1.0
    hop: float | None = None
    device: str = "auto"
    sha256: str | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, Mapping) or not self.encoder.get("_target_"):
            raise ArtistidError(
                "features.encoder._target_=mymodule.MyEncoder is missing: a torch module that encodes; or "
                "encoder=NAME for a published one"
            )
        if isinstance(path := self.encoder.get("path"), str):  # saved settings are used from other folders, too
            object.__setattr__(self, "encoder", {**self.encoder, "path": str(expanded(path).absolute())})
        check_seconds("window", self.window)
        if self.hop is not None:
            check_seconds("hop", self.hop, self.window)

    @property
    def name(self) -> str:
        return "encoder"

    @cached_property
    def base(self) -> Features:
        return unencoded(build_features(self.input), self.name)

    @property
    def window_s(self) -> float:
        return self.window

    def plain(self) -> dict[str, Any]:
        return {
            "encoder": dict(self.encoder),
            "input": self.base.description(),
            "window": float(self.window),
            "hop": self.hop if self.hop is None else float(self.hop),
            "sha256": self.sha256 or self.frozen.sha256,
        }

    def load(self) -> Frozen:
        window = self.base.width, self.window_rows
        return _built(json.dumps(dict(self.encoder)), window, self.device, self.name)


@lru_cache(maxsize=LOADED)
def _built(encoder: str, window: tuple[int, int], device: str, name: str) -> Frozen:
    """The encoder by its settings as JSON."""
    network = build_network(json.loads(encoder), "features.encoder")
    if isinstance(network, Published) and math.prod(window) > LARGEST_WINDOW:
        raise ArtistidError(
            f"features.window: expected at most {LARGEST_WINDOW:,} values for a published encoder, found "
            f"{math.prod(window):,}"
        )
    return freeze(network, window, device, name)


def build_network(settings: Mapping[str, Any], name: str) -> nn.Module:
    """A network with its weights, to be frozen; the global random state is left alone.

    Args:
        settings: its ``_target_`` and its arguments.
        name: of the setting that they come from, for errors.

    Raises:
        ArtistidError: it cannot be built, or is not a torch module.
    """
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network: Any = instantiate(settings)
    except InstantiationException as error:
        raise ArtistidError(f"{name}: {first_line(error.__cause__ or error)}") from error
    if not isinstance(network, nn.Module):
        raise ArtistidError(f"{name}._target_={settings['_target_']} is not a torch module")
    if isinstance(network, Published):
        network.load()
    return network
