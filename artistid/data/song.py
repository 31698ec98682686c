"""The features of one song, made from a file in a separate process, so that a bad file costs no more than itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from artistid.data.audio import DecodingError, decode_blocks
from artistid.data.features import Features
from artistid.data.promised import lacks_its_last_page
from artistid.errors import ArtistidError
from artistid.processes import Allowance, Call, Worker, WorkerDiedError, Workers

if TYPE_CHECKING:  # decoders do not need it, and its library is slow to import
    from artistid.data.tags import Tags

ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # torch reads it when it is imported

# Relative to a full scale of 1. Clipped and then encoded audio may reach 2. 32-bit integers that were never scaled
# reach 2e9; what is beyond is not audio, and its square overflows.
LOUDEST, LARGEST = 4.0, 1e10
SILENCE = 10 ** (-70 / 20)  # of a full scale of 1: the noise of 16 bits lies at -96 dB
CUT_OGG = "its last page is missing: it was cut short, or recorded from a station"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What decoding a file may take; beyond that, it counts as undecodable.

    Attributes:
        hours: of audio.
        minutes: of work.
        memory_gb: of the decoder process, beyond what it has when it begins.

    Raises:
        ArtistidError: a limit that is not a number above 0.
    """

    hours: float = 12.0
    minutes: float = 10.0
    memory_gb: float = 1.5

    def __post_init__(self) -> None:
        for setting in ("hours", "minutes", "memory_gb"):
            value = getattr(self, setting)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise ArtistidError(f"limits.{setting}={value}: expected a number above 0")

    @property
    def allowance(self) -> Allowance:
        """For a call that decodes a file."""
        return Allowance(seconds=60 * self.minutes, memory=round(self.memory_gb * 2**30))


@dataclass(frozen=True, eq=False)
class SongFeatures:
    """One song, ready to be cut into clips.

    Attributes:
        name: the file's path, or ``samples``.
        array: ``(rows, width)`` float16, as a store keeps it; of log-mel in dB.
        pad_value: pads a short song.
        duration_s: seconds of audio.
        sha1: of the decoded samples, as in a catalog; empty where they are not available.
        silent: whether there is nothing to hear.
        remarks: what is odd about it, in sentences.
    """

    name: str
    array: npt.NDArray[np.float16]
    pad_value: float
    duration_s: float
    sha1: str = ""
    silent: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    def of_blocks(cls, name: str, blocks: Iterable[npt.NDArray[np.float32]], features: Features) -> Self:
        """The song whose samples come in blocks ``(n,)``, mono, at the rate of the features.

        Raises:
            ArtistidError: samples so large that they are not sound, or features that are not finite.
        """
        n_samples, peak, sha1 = 0, 0.0, hashlib.sha1()

        def measured() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal n_samples, peak
            for block in blocks:
                n_samples += len(block)
                peak = max(peak, float(block.max(initial=0)), -float(block.min(initial=0)))
                if LARGEST < peak < math.inf:  # infinite samples are counted by the decoder
                    raise ArtistidError(f"{name}: samples as large as {peak:.0e} are not sound: expected [-1, 1]")
                sha1.update(np.ascontiguousarray(block).data)
                yield block
            if not n_samples:
                raise ArtistidError(f"{name}: too short for one sample at {features.sample_rate} Hz")

        array, pad_value = features.stored(measured())
        if not np.isfinite(array).all():
            raise ArtistidError(f"{name}: its features are not finite (samples reach {peak:.3g})")
        remarks = []
        if peak > LOUDEST:
            remarks.append(f"its samples reach {peak:.3g}, not 1, as if on another scale: the features are shifted")
        seconds = n_samples / features.sample_rate
        return cls(name, array, pad_value, seconds, sha1.hexdigest(), silent=peak < SILENCE, remarks=tuple(remarks))

    def encoded(self, features: Features) -> Self:
        """The song with these features, made from their base's rows; in the process that uses the device.

        Raises:
            ArtistidError: rows that are not finite, or an encoder that fails.
        """
        if features.base is features:
            return self
        array, pad_value = features.encode(self.array, self.pad_value)
        return replace(self, array=array, pad_value=pad_value)


def read_song(path: Path, features: Features, limits: Limits) -> SongFeatures:
    """The features of a file, decoded here, not encoded yet: the task of a decoder process.

    Raises:
        DecodingError: see :func:`artistid.data.audio.decode_blocks`; any other failure is reported as this file's, too.
    """
    try:
        sound = SongFeatures.of_blocks(str(path), decode_blocks(path, features.sample_rate, limits.hours), features)
        return replace(sound, remarks=(CUT_OGG, *sound.remarks)) if lacks_its_last_page(path) else sound
    except DecodingError:
        raise
    except ArtistidError as error:
        raise DecodingError(str(error)) from error
    except MemoryError as error:
        raise DecodingError(f"{path}: needs more memory than limits.memory_gb={limits.memory_gb:g}") from error
    except Exception as error:
        raise DecodingError(f"{path}: its features cannot be made ({type(error).__name__}: {error})") from error


def start_decoders(number: int, limits: Limits, first: Call | None = None) -> Workers:
    """Decoder processes of one thread each, since there may be one per core.

    What they print is dropped: decoders write at length about broken files, and their errors say what matters.

    Args:
        number: of them; 0 is 1, since this process does not decode.
        limits: of each file.
        first: see :class:`artistid.processes.Worker`.
    """
    return Workers(max(1, number), limits.allowance, ONE_THREAD, first, quiet=True)


def crashed(path: Path, error: WorkerDiedError) -> DecodingError:
    """The error of a file whose decoder process died."""
    return DecodingError(f"{path}: cannot be decoded: its decoder {error}")


class SongReader:
    """Reads songs in a separate process, which starts while this one still loads.

    Args:
        limits: of each file.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._worker = Worker(ONE_THREAD, preload=("artistid.data.song",), quiet=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, path: Path, features: Features) -> SongFeatures:
        """The features of a file; may be called from several threads, which wait for one another.

        Raises:
            DecodingError: see :func:`read_song`; or the decoder died, or took too long.
        """
        try:
            sound = self._worker.call(self._limits.allowance, read_song, path, features.base, self._limits)
        except WorkerDiedError as error:
            raise crashed(path, error) from error
        return sound.encoded(features)

    def tags(self, path: Path) -> Tags:
        """The tags of a file, read in the same process: malicious ones may crash a reader."""
        from artistid.data.tags import Tags, read_tags

        try:
            return self._worker.call(self._limits.allowance, read_tags, path)
        except WorkerDiedError as error:
            return Tags(error=f"the process that read them {error}")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._worker.close()
