"""Run folders as training leaves them, with predictions drawn at random instead of learned."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from artistid.config import config_dir
from artistid.data.catalog import Catalog, Track
from artistid.data.splits import Split
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import LEVELS, score_levels
from artistid.naming import condition_of
from artistid.old_names import BASELINE_SYSTEM
from artistid.runs.folder import RunFolder

BASELINES = tuple(
    path.stem for path in (config_dir() / "model").glob("*.yaml") if BASELINE_SYSTEM in path.read_text(encoding="utf-8")
)
SKILL = {"song": 2.0, "album": 1.2, "jackknife": 1.2}


def make_run(
    path: Path,
    split: str = "album",
    clip: str = "3s",
    seed: int = 0,
    fold: int | None = None,
    *,
    data: str = "music",
    model: str = "crnn",
    n_artists: int = 4,
    songs: int = 3,
    song_seconds: float = 20.0,
    skill: float | None = None,
    drop: int = 0,
    finished: bool = True,
    epochs: int = 6,
    settings: dict[str, object] | None = None,
    threads: int | None = None,
) -> Path:
    """A run that tested ``songs`` songs of each artist, the same ones for all runs of a split, seed and fold.

    Args:
        path: the run folder.
        split: of the condition, as are ``clip``, ``seed``, ``fold``, ``data`` and ``model``.
        n_artists: that it knows.
        songs: tested of each artist.
        song_seconds: length of every song.
        skill: how far the true artist's logit lies above the others', in standard deviations of theirs.
        drop: songs that it does not test, as an implementation may drop short ones.
        finished: whether there are scores.
        epochs: with a line of metrics; 0 for a model that is not trained by epochs.
        settings: dotted names of further settings.
        threads: of the processor it was trained on; None: as in runs of before, which did not say.
    """
    config = composed(split, clip, model if model in BASELINES else "crnn").copy()
    levels = ("song",) if clip == "song" else LEVELS
    changes = {"seed": seed, "data.name": data, "model.name": model, "run_dir": str(path), **(settings or {})}
    if fold is not None:
        changes["split.fold"] = fold
    for name, value in changes.items():
        OmegaConf.update(config, name, value)
    drawn = f"{split}-{seed}" + ("" if fold is None else f"-{fold}")
    artists = [f"artist_{number:02}" for number in range(n_artists)]
    subsets = ("train", "val", "test")
    tracks = [
        Track(f"{artist}/{subset}/{drawn}-{song}", artist, subset, str(song), Path("song.wav"))
        for artist in artists
        for subset in subsets
        for song in range(songs)
    ]
    folder = RunFolder(path)
    with folder.begin(overwrite=False):
        folder.write_setup(
            config, Catalog(tracks), Split({track.track_id: track.album for track in tracks}, split, seed)
        )
        if not finished:
            return path
        of_fold = [] if fold is None else [fold + 1]
        generator = np.random.default_rng([seed, len(clip), int(_seconds(clip, 0)), len(model), *of_fold])
        level = SKILL[split] if skill is None else skill
        tested = {
            subset: draw_predictions(
                [track for track in tracks if track.album == subset][drop:],
                artists,
                song_seconds,
                clip,
                level,
                generator,
            )
            for subset in ("val", "test")
        }
        scores = {subset: score_levels(clips, config.vote, levels) for subset, clips in tested.items()}
        if epochs:
            csv_metrics(epochs).to_csv(folder.metrics, index=False)
        folder.write_results(tested, config.vote, scores)
        folder.finish(
            {
                **scores,
                "condition": condition_of(config),
                "artists": artists,
                "command": f"python -m artistid.train split={split} clip={clip} seed={seed}",
                "revision": "0123456789abcdef0123456789abcdef01234567",
                "device": "a made-up device" if threads is None else f"a made-up device, {threads} threads",
                **({} if threads is None else {"threads": {"torch": threads}}),
                "seconds": {"prepare": 1.5, "fit": 60.0, "test": 2.5},
            }
        )
    return path


def draw_predictions(
    tracks: list[Track], artists: list[str], seconds: float, clip: str, skill: float, generator: np.random.Generator
) -> Predictions:
    """Clips of songs that are recognised as often as ``skill`` says; those of one song err alike."""
    n_clips = max(1, int(seconds / _seconds(clip, seconds)))
    label = np.array([artists.index(track.artist) for track in tracks])
    logits = skill * np.eye(len(artists))[label] + 0.7 * generator.normal(size=(len(tracks), len(artists)))
    clips = logits.repeat(n_clips, axis=0) + generator.normal(size=(len(tracks) * n_clips, len(artists)))
    return Predictions(
        artists=tuple(artists),
        track_id=np.repeat([track.track_id for track in tracks], n_clips),
        clip=np.tile(np.arange(n_clips), len(tracks)),
        artist=np.repeat([track.artist for track in tracks], n_clips),
        probability=np.exp(clips) / np.exp(clips).sum(axis=1, keepdims=True),
    )


def csv_metrics(epochs: int) -> pd.DataFrame:
    """Metrics of a training that is best at two thirds, as Lightning's CSVLogger writes them."""
    epoch = np.arange(epochs)
    best = 2 * epochs // 3
    validation = pd.DataFrame(
        {
            "epoch": epoch,
            "step": epoch * 10 + 9,
            "val/loss": 1 + (epoch - best) ** 2 / epochs**2,
            "val/frame/f1_weighted": 0.6 * (1 - 0.8**epoch),
            "val/song/f1_weighted": 0.9 * (1 - 0.8**epoch),
        }
    )
    training = pd.DataFrame({"epoch": epoch, "step": epoch * 10 + 9, "train/loss": 2 * 0.9**epoch})
    return pd.concat([validation, training]).sort_values("epoch", kind="stable")


def _seconds(clip: str, song_seconds: float) -> float:
    return song_seconds if clip == "song" else float(clip[:-1])


@cache
def composed(split: str, clip: str, model: str) -> DictConfig:
    """The configuration of ``python -m artistid.train split=… clip=… model=…``."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [f"split={split}", f"clip={clip}", f"model={model}"])
