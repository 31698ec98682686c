"""The parts of the benchmark: each measures its figures on what users run."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import soundfile
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from artistid.benchmarking.material import ARTISTS, random_clips, random_collection
from artistid.benchmarking.measuring import Figure, in_turn, memory_mb, seconds_of
from artistid.benchmarking.peers import run_peer
from artistid.benchmarking.search import measure_search
from artistid.benchmarking.variants import measure_variants
from artistid.data.audio import decode
from artistid.data.catalog import Catalog, Track
from artistid.data.datamodule import Batch, ClipData
from artistid.data.features import Features, features_of
from artistid.data.sources.base import provide
from artistid.data.splits import Split
from artistid.data.store import fill_store
from artistid.errors import ArtistidError
from artistid.inference.identifier import Identifier
from artistid.learning.loggers import open_loggers
from artistid.learning.networks import NetworkSystem

ABOUT_THE_DATA = ("data", "clip", "features")  # settings that a run on the same store needs, too
CD_RATE = 44100  # Hz
QUERIES = 20  # for songs and artists like them, in a round
SHORT_SONG = 4.0  # s: its answer is worthless, but takes as long
WARM_UP_STEPS = 5  # steps before the clock starts
Part = Callable[[DictConfig, Path], list[Figure]]


def measure_features(config: DictConfig, folder: Path) -> list[Figure]:
    """Songs to features, in one process; compared with librosa."""
    features: Features = features_of(config)
    tracks = list(_long_songs(config, folder, features.sample_rate))
    number = itertools.count()

    def ours() -> float:
        start = time.perf_counter()
        made, _ = fill_store(Catalog(tracks), features, folder / str(next(number)), workers=0)
        return sum(track.duration_s or 0 for track in made) / (time.perf_counter() - start)

    ours()  # what is loaded on first use does not count
    paths = [str(track.path.absolute()) for track in tracks]
    return _beside(config, "times_real_time", ours, "librosa_log_mel", "features", str(features.sample_rate), *paths)


def measure_store(config: DictConfig, folder: Path) -> list[Figure]:
    """Opening the store of a collection, and reading random clips of another with the loader alone."""
    features: Features = features_of(config)
    catalog = collection(config)
    fill_store(catalog, features, folder / "songs")
    data, _ = random_clips(config, folder)
    wanted = config.size.steps * config.batch_size

    def opened() -> float:
        return len(catalog) / seconds_of(lambda: fill_store(catalog, features, folder / "songs"))

    def read() -> float:
        batches = itertools.islice(data.train_dataloader(), config.size.steps)
        return wanted / seconds_of(lambda: [batch["label"] for batch in batches])

    read()
    songs, clips = in_turn(config.size.rounds, opened, read)
    return [Figure("songs_opened_per_s", tuple(songs)), Figure("clips_read_per_s", tuple(clips))]


def measure_data(config: DictConfig, folder: Path) -> list[Figure]:
    """Training on a store of artist20's size, compared with training on one fixed batch."""
    data, split = random_clips(config, folder)
    fixed = FixedBatch(data)
    real, same = in_turn(
        config.size.rounds,
        lambda: training_rate(config, data, split, folder),
        lambda: training_rate(config, fixed, split, folder),
    )
    figures = [Figure("clips_per_s", tuple(real), "one fixed batch", tuple(same))]
    if memory := memory_mb():
        figures.append(Figure("own_memory_mb", (memory,)))
    return figures


def measure_train(config: DictConfig, folder: Path) -> list[Figure]:
    """Training steps as in ``train``; compared with Keras."""
    data, split = random_clips(config, folder)
    return _beside(config, "clips_per_s", lambda: training_rate(config, data, split, folder), *_keras(config, "train"))


def measure_predict(config: DictConfig, folder: Path) -> list[Figure]:
    """Probabilities of clips as in ``evaluate``, compared with Keras; and a song from MP3 to answer."""
    data, split = random_clips(config, folder)
    network = NetworkSystem(config, data, split)
    per_song = len(data.clips["test"]) / len(data.subsets["test"])
    some = Catalog(itertools.islice(data.subsets["test"], max(1, round(config.size.clips / per_song))))
    clips = ClipData({"test": some}, data.store, data.artists, data.clip_spec, config.batch_size)

    def ours() -> float:
        return len(clips.clips["test"]) / seconds_of(lambda: network.predict(clips, "test"))

    ours()
    identifier = Identifier(network.specification, network.classifier.network)
    song = stereo_song(config, folder / "song.mp3", config.size.song_seconds)
    identifier.predict(song)
    (answered,) = in_turn(config.size.rounds, partial(seconds_of, lambda: identifier.predict(song)))
    return [*_beside(config, "clips_per_s", ours, *_keras(config, "predict")), Figure("song_s", tuple(answered))]


def measure_startup(config: DictConfig, folder: Path) -> list[Figure]:
    """From the command to its answer, and to the end of the first training step on a prepared store."""
    same = [setting for setting in HydraConfig.get().overrides.task if setting.startswith(ABOUT_THE_DATA)]
    same.append(f"cache_dir={config.cache_dir}")
    small = OmegaConf.merge(config, {"size": {"songs": 6 * ARTISTS, "frames": 2 * config.clip.frames}})
    assert isinstance(small, DictConfig)
    network = NetworkSystem(small, *random_clips(small, folder))
    Identifier(network.specification, network.classifier.network).save_pretrained(folder / "network")
    song = stereo_song(config, folder / "song.mp3", SHORT_SONG)
    train, predict = ("artistid.train",), ("artistid.predict", f"checkpoint={folder / 'network'}", f"audio={song}")
    commands = {
        "help_s": (*train, "--help"),
        "cfg_job_s": (*train, "--cfg", "job"),
        "first_step_s": ("artistid.benchmarking.first_step", *same, f"run_dir={folder / 'run'}"),
        "predict_short_song_s": predict,
    }
    run_module("artistid.prepare", *same)
    measurements = [partial(seconds_of, partial(run_module, *command)) for command in commands.values()]
    taken = in_turn(config.size.rounds, *measurements)
    return [Figure(name, tuple(seconds)) for name, seconds in zip(commands, taken, strict=True)]


def measure_similar(config: DictConfig, folder: Path) -> list[Figure]:
    """The songs and artists of a large collection that are nearest to a song, one query at a time."""
    collection = random_collection(config.size.collection)
    vectors = collection.vectors[:QUERIES] + 0.1
    nearest: dict[str, Callable[[Any], Any]] = {
        "songs": collection.nearest_songs,
        "artists": collection.nearest_artists,
    }

    def ms_of(find: Callable[[Any], Any]) -> float:
        return 1000 * statistics.median(seconds_of(partial(find, vector)) for vector in vectors)

    measurements = [partial(ms_of, find) for find in nearest.values()]
    for measure in measurements:  # what is built on first use does not count
        measure()
    taken = in_turn(config.size.rounds, *measurements)
    return [Figure(f"nearest_{name}_ms", tuple(ms)) for name, ms in zip(nearest, taken, strict=True)]


def collection(config: DictConfig) -> Catalog:
    """The tracks to measure on; their files are made if necessary."""
    source = instantiate(config.data)
    provide(source)
    catalog: Catalog = source.catalog()
    return catalog


def stereo_song(config: DictConfig, path: Path, seconds: float) -> Path:
    """Write a usual MP3, stereo at 44.1 kHz: the collection's first track, repeated."""
    first = collection(config)[0]
    samples = np.resize(decode(first.path, CD_RATE), round(seconds * CD_RATE))
    soundfile.write(path, np.stack([samples, np.roll(samples, 1)], axis=1), CD_RATE)
    return path


def _long_songs(config: DictConfig, folder: Path, rate: int) -> Iterator[Track]:
    """Songs of ``size.song_seconds``, as mono MP3 at a rate, as in artist20: each a track, repeated."""
    tracks = collection(config)[: config.size.files]
    for number, track in enumerate(tracks):
        path = folder / f"{number}.mp3"
        soundfile.write(path, np.resize(decode(track.path, rate), round(config.size.song_seconds * rate)), rate)
        yield replace(track, path=path)


def run_module(module: str, *arguments: str) -> None:
    """Run a command of this package in a process of its own."""
    ran = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ArtistidError(f"python -m {module} {' '.join(arguments)} failed: {ran.stderr or ran.stdout}")


class StepTimer(Callback):
    """Times training steps after the first few, from the end of one step to the end of another."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seconds = 0.0
        self._start = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == WARM_UP_STEPS:
            self._start = self._now()
        elif trainer.global_step == WARM_UP_STEPS + self.steps:
            self.seconds = self._now() - self._start

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


class FixedBatch(ClipData):
    """The first training batch, repeated as often as there are batches; everything else unchanged."""

    def __init__(self, data: ClipData) -> None:
        super().__init__(data.subsets, data.store, data.artists, data.clip_spec, data.batch_size)

    def train_dataloader(self) -> Any:
        dataset = self.datasets["train"]
        return Repeated(dataset.__getitems__(range(self.batch_size)), len(dataset) // self.batch_size)


@dataclass(frozen=True)
class Repeated:
    """One batch, repeated."""

    batch: Batch
    times: int

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Batch]:
        return itertools.repeat(self.batch, self.times)


def training_rate(config: DictConfig, data: ClipData, split: Split, folder: Path) -> float:
    """Training clips per second of a fresh network, with Lightning's loop, the data and the loggers."""
    timer = StepTimer(config.size.steps)
    with TemporaryDirectory(dir=folder) as run:
        one_epoch = {
            "max_epochs": 1,
            "limit_train_batches": WARM_UP_STEPS + timer.steps,
            "limit_val_batches": 1,
            "enable_progress_bar": False,
        }
        config = OmegaConf.merge(config, {"run_dir": run, "trainer": one_epoch})  # type: ignore[assignment]
        network = NetworkSystem(config, data, split)
        network.extra_callbacks = (timer,)
        with open_loggers(config) as loggers:
            network.fit(data, Path(run), loggers, resume=False)
    if not timer.seconds:
        raise ArtistidError(
            f"an epoch of size.songs={config.size.songs} has fewer batches than {WARM_UP_STEPS} + "
            f"size.steps={timer.steps}"
        )
    return timer.steps * config.batch_size / timer.seconds


def _beside(
    config: DictConfig, name: str, ours: Callable[[], float], script: str, key: str, *arguments: str
) -> list[Figure]:
    """A figure of ours, measured in turn with a peer's if there are peers."""
    if not config.peers:
        return [Figure(name, tuple(in_turn(config.size.rounds, ours)[0]))]
    values, peers = in_turn(config.size.rounds, ours, partial(run_peer, config.peers, script, *arguments))
    return [Figure(name, tuple(values), peers[0]["name"], tuple(peer[key] for peer in peers))]


def _keras(config: DictConfig, key: str) -> tuple[str, ...]:
    arguments = (config.batch_size, config.clip.frames, config.size.peer_seconds)
    return ("keras_crnn", key, *map(str, arguments))


PARTS: dict[str, Part] = {
    "features": measure_features,
    "store": measure_store,
    "data": measure_data,
    "train": measure_train,
    "predict": measure_predict,
    "startup": measure_startup,
    "similar": measure_similar,
    "search": measure_search,
    "variants": measure_variants,
}
LEFT_OUT = ("search", "variants")  # unless requested
