"""What works here, and what to install for what does not: ``python -m artistid.doctor``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("doctor")

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hydra import compose
from hydra.errors import HydraException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.filesize import decimal as size_in_words
from rich.table import Table
from rich.text import Text

from artistid import __version__
from artistid.config import config_dir
from artistid.errors import ArtistidError, counted
from artistid.packages import extras, module_of, required
from artistid.places import expanded
from artistid.settings import Settings, check, composing, typed
from artistid.sweep_definition import SweepDefinition
from artistid.terminal import Console

# What an extra is for.
PURPOSES = {
    "app": "python -m artistid.app",
    "docs": "the documentation as a site: mkdocs serve",
    "encoders": "features=encoder with a network in an ONNX file",
    "export": "python -m artistid.export",
    "hub": "push_to_hub, and from_pretrained of the Hugging Face Hub",
    "launchers": "hydra/launcher=joblib or submitit_slurm",
    "notebook": "the notebooks",
    "optuna": "hydra/sweeper=optuna",
    "tensorboard": "logger=tensorboard",
}

# Formats that soundfile can write, and that can thus be tested: file extension, subtype, and container if needed.
AUDIO_FORMATS = (
    ("mp3", "MPEG_LAYER_III", None),
    ("flac", "PCM_16", None),
    ("ogg", "VORBIS", None),
    ("opus", "OPUS", "OGG"),
    ("wav", "PCM_16", None),
    ("aiff", "PCM_16", None),
)
TONE_RATE, TONE_SECONDS = 48000, 1  # Hz, s: of the tone that is written and decoded again
FEATURES_RATE = 16000  # Hz


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        about: the section.
        name: of what was checked.
        state: ``works``, ``missing`` (something optional), ``broken`` (something needed), or ``note``.
        found: in words.
        remedy: what to do about it; empty if nothing needs doing.
    """

    about: str
    name: str
    state: str
    found: str
    remedy: str = ""


def doctor(config: DictConfig) -> None:
    """Check everything, and print the findings and remedies.

    Raises:
        ArtistidError: something needed is broken.
    """
    show(diagnose(config))


def diagnose(config: DictConfig) -> list[Finding]:
    """Check everything; a check that fails becomes a finding, whatever it raises.

    Args:
        config: ``cache_dir``, ``data`` to check a collection, and ``sweep`` to check a definition.
    """
    chapters: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("packages", packages),
        ("decoders", decoders),
        ("device", device),
        ("cache", lambda: cache_findings(expanded(config.cache_dir))),
        ("data", lambda: data_sources(config.get("data"))),
        ("sweep", lambda: wandb_sweep(config.get("sweep"))),
    )
    findings: list[Finding] = []
    for name, look in chapters:
        try:
            findings += look()
        except ArtistidError as error:
            findings.append(Finding(name, name, "broken", str(error)))
        except Exception as error:  # a broken installation may fail in any way
            findings.append(Finding(name, name, "broken", _words(error), "python -m pip install -e . again"))
    return findings


def show(findings: list[Finding]) -> None:
    """Print the findings as tables, then the remedies.

    Raises:
        ArtistidError: something needed is broken.
    """
    console = Console()
    for about in dict.fromkeys(finding.about for finding in findings):
        table = Table(title=about, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=True)
        for finding in findings:
            if finding.about == about:
                colour = {"works": "green", "missing": "yellow", "broken": "red"}.get(finding.state, "default")
                state = Text("" if finding.state == "note" else finding.state, style=colour)
                table.add_row(finding.name, state, finding.found)
        console.print(table, soft_wrap=True)
    advice = [f"{finding.name}: {finding.remedy}" for finding in findings if finding.remedy]
    if advice:
        console.print(Text("what to do, if you need it", style="bold"))
        for line in advice:
            console.print(f"  {line}", soft_wrap=True, highlight=False)
    if broken := [finding for finding in findings if finding.state == "broken"]:
        raise ArtistidError(
            "\n".join(f"{finding.about}: {finding.name} is broken: {finding.found}" for finding in broken)
        )


def packages() -> Iterator[Finding]:
    """This package, its required and its optional packages; each is actually imported."""
    yield Finding("packages", "artistid", "works", f"{__version__}, Python {platform.python_version()}")
    for name in required():
        if problem := _import_problem(name):
            yield Finding("packages", name, "broken", problem, f"pip install --force-reinstall {name}")
        else:
            yield Finding("packages", name, "works", _version(name))
    for extra in extras():
        purpose = PURPOSES.get(extra, f"the extra {extra}")
        for name in required(extra):
            if problem := _import_problem(name):
                remedy = f"pip install 'artistid[{extra}]' ({purpose})"
                yield Finding("packages", name, "missing", f"{purpose}: {problem}", remedy)
            else:
                yield Finding("packages", name, "works", f"{_version(name)}, {purpose}")


def decoders() -> Iterator[Finding]:
    """Each format, by writing a tone and decoding it as a collection's file would be."""
    import soundfile

    from artistid.data.audio import decode

    yield Finding("decoders", "libsndfile", "note", soundfile.__libsndfile_version__)
    time = np.arange(TONE_RATE * TONE_SECONDS) / TONE_RATE
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for ending, subtype, container in AUDIO_FORMATS:
            path = Path(folder, f"tone.{ending}")
            try:
                soundfile.write(path, tone, TONE_RATE, subtype, format=container)
                seconds = len(decode(path, FEATURES_RATE)) / FEATURES_RATE
            except Exception as error:
                remedy = "pip install --force-reinstall av soundfile: their wheels include this format"
                yield Finding("decoders", ending, "broken", _words(error), remedy)
            else:
                yield Finding("decoders", ending, "works", f"{seconds:g} s at {TONE_RATE} Hz, resampled")
        yield _ffmpeg(Path(folder, "tone.m4a"), tone)


def _ffmpeg(path: Path, tone: npt.NDArray[np.float32]) -> Finding:
    others = "m4a, aac, wma, webm, ape …"
    try:
        import av

        from artistid.data.audio import decode

        with av.open(path, "w") as file:
            stream = file.add_stream("aac", rate=TONE_RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = TONE_RATE
            file.mux([*stream.encode(frame), *stream.encode(None)])
        decode(path, FEATURES_RATE)
    except Exception as error:
        remedy = f"pip install --force-reinstall av: its wheels include an FFmpeg that reads {others}"
        return Finding("decoders", "FFmpeg", "broken", _words(error), remedy)
    return Finding("decoders", "FFmpeg", "works", f"PyAV {av.__version__}, reads {others}")


def device() -> Iterator[Finding]:
    """The devices to compute on, and the precision."""
    import torch

    from artistid.learning.acceleration import choose_precision, device_name

    yield Finding(
        "device", "processor", "note", f"{counted(os.cpu_count() or 1, 'core')}; workers=null decodes on all of them"
    )
    yield Finding("device", "trains on", "works", device_name())
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        yield Finding(
            "device", "GPU", "works", f"{torch.cuda.device_count()} of them, {size_in_words(memory)} on the first"
        )
    elif torch.version.cuda:
        yield Finding("device", "GPU", "note", f"torch {torch.__version__}, built for CUDA, sees none")
    else:
        yield Finding("device", "GPU", "note", f"torch {torch.__version__} is built without CUDA")
    yield Finding("device", "precision", "note", f"trainer.precision=auto is {choose_precision('auto', 'auto')}")


def cache_findings(folder: Path) -> Iterator[Finding]:
    """Where features are cached, what is stored, and how much space is left."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    yield Finding(
        "cache",
        "place",
        "works" if writable else "broken",
        f"{folder}, {'' if folder.exists() else 'created when needed, '}{size_in_words(free)} free"
        + ("" if writable else f"; {existing} cannot be written to"),
        "" if writable else "set another place by cache_dir=PATH or the environment variable ARTISTID_CACHE",
    )
    total = sum(_bytes_below(path) for path in folder.iterdir()) if folder.is_dir() else 0
    yield Finding("cache", "size", "note", size_in_words(total))
    for store in sorted({path.parent for path in folder.glob("*/*/settings.json")} | _sharded(folder)):
        shards = len(list(store.glob("shards/*/index.jsonl")))
        files = sum(path.read_bytes().count(b"\n") for path in store.rglob("index.jsonl"))
        split_up = f", {counted(shards, 'shard')}" if shards else ""
        name = str(store.relative_to(folder))
        yield Finding(
            "cache", name, "note", f"{counted(files, 'file')}, {size_in_words(_bytes_below(store))}{split_up}"
        )


def _sharded(folder: Path) -> set[Path]:
    return {path.parents[2] for path in folder.glob("*/*/shards/*/settings.json")}


def data_sources(data: Any) -> Iterator[Finding]:
    """The sources that ``data=`` may name, and the collection that it names, if any."""
    for path in sorted((config_dir() / "data").glob("*.yaml")):
        card = get_class(str(OmegaConf.load(path)["_target_"])).card  # type: ignore[index,attr-defined]
        yield Finding("data", f"data={path.stem}", "note", f"{card.title}: {card.how_to_get}")
    if data is None:
        return
    try:
        catalog = instantiate(data).catalog()
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, ArtistidError) else error
        yield Finding("data", f"{data.name}, here", "broken", _words(cause), "data.root=PATH of the collection")
        return
    albums = sum(map(len, catalog.albums.values()))
    found = ", ".join(
        (counted(len(catalog), "song"), counted(albums, "album"), counted(len(catalog.artists), "artist"))
    )
    yield Finding("data", f"{data.name}, here", "works", found)


def wandb_sweep(path: str | None) -> Iterator[Finding]:
    """Whether W&B's agents would be given valid commands, and a validation score to optimise.

    Commands are composed until each setting has taken each of its values, or its minimum and maximum. Works offline.
    """
    if path is None:
        return
    try:
        sweep = SweepDefinition.read(path)
    except ArtistidError as error:
        yield from (Finding("sweep", "definition", "broken", line) for line in str(error).splitlines())
        return
    yield Finding(
        "sweep", "metric", "works", f"{sweep.goal} {sweep.metric}" if sweep.metric else "none, and none is needed"
    )
    told: set[str] = set()  # a problem of all commands is reported once
    monitored = [f"monitor={sweep.metric}"] if sweep.metric else []
    for chosen in sweep.choices:
        problem = _composition_problem([*sweep.fixed, *chosen, *monitored])
        if problem not in told:
            yield Finding("sweep", " ".join(chosen), "broken" if problem else "works", problem or "composes")
        told |= {problem} - {""}


def _composition_problem(arguments: Sequence[str]) -> str:
    """Why the settings are not a valid training run; empty if they are."""
    from artistid.train import check_settings

    settings = Settings("train", [config_dir()])
    try:
        config = compose("train", typed([*arguments], settings))  # by the Hydra that runs this verb
        check(config, settings)
        check_settings(config)
    except (HydraException, OmegaConfBaseException) as error:
        return composing(error, settings)
    except ArtistidError as error:
        return str(error)
    return ""


def _import_problem(package: str) -> str:
    """Why a package cannot be imported; empty if it can."""
    module = module_of(package)
    if module is None:
        return "not installed"
    try:
        import_module(module)
    except Exception as error:  # a broken library raises OSError, RuntimeError …
        return "not installed" if isinstance(error, ModuleNotFoundError) else _words(error)
    return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def _words(error: BaseException) -> str:
    """An error in one line."""
    lines = re.split(r"\s*\n\s*", str(error).strip())
    return f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__


def _bytes_below(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
