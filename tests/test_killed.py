"""Commands that are killed at any of their file operations: the same command then completes, and nothing differs.

By default an operation of some commands is drawn; ``ARTISTID_THOROUGH=1`` takes all commands, and with
``ARTISTID_KILLS=100 pytest -m slow -s tests/test_killed.py``
draws a hundred of each, ``ARTISTID_KILLS=all`` kills at every single one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from mutagen.wave import WAVE
from omegaconf import OmegaConf

from tests.corpus import make_corpus
from tests.operations import Commands, Ended
from tests.thorough import some

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands are forked from a server"),
]

KILLS = os.environ.get("ARTISTID_KILLS", "1")  # at each command
CRNN = ("trainer.max_epochs=2", "run_dir=crnn")
BASELINE = ("model=majority", "run_dir=majority")
COLLECTION = ("checkpoint=crnn/checkpoints/best.ckpt", "out=songs.parquet")
SWEEP = ("-m", BASELINE[0], "seed=0,1", "run_dir=sweep/${seed}", "hydra.sweep.dir=sweep")
# What a command says that finds everything done: it was killed after its last file was in place.
DONE = ("holds a finished run", "out=songs.parquet exists")
AT_EACH_SONG = {"artistid.inference.collection_writer.SECONDS_AT_ONCE": 0.0}


@dataclass(frozen=True)
class Command:
    """A command, and those that come before it.

    Attributes:
        verb: of the package.
        overrides: its settings.
        before: commands that make what it finds.
        stopped: of ``before``, the last one is killed when it is about to write this for the last time.
    """

    verb: str
    overrides: tuple[str, ...]
    before: tuple[Command, ...] = ()
    stopped: str = ""


FOLDER = ("data=folder", "data.root=../music", "workers=0", "clip=1s", "trainer.enable_progress_bar=false")
TRAINED = Command("train", (*FOLDER, *CRNN))
FITTED = Command("train", (*FOLDER, *BASELINE))
DESCRIBED = Command("prepare", (*FOLDER[:3], "features=descriptors"))
FIRST_SONGS = Command("embed", (*COLLECTION, "audio=../music/artist1", "workers=0"))
COMMANDS = {
    "prepare": Command(
        "prepare",
        ("data.n_artists=2", "data.n_albums=1", "data.n_songs=1", "data.seconds=5", "data.workers=0", "workers=0"),
    ),
    "prepare, on_error=skip, tags": Command(
        "prepare", ("data=library", "data.root=../with a bad file", "data.csv=table.csv", "on_error=skip", "workers=0")
    ),
    "train": TRAINED,
    "train, resumed": Command("train", TRAINED.overrides, (TRAINED,), stopped="checkpoints/.last.ckpt"),
    "train, a baseline": Command("train", FITTED.overrides, (DESCRIBED,)),
    "train, overwrite=true": Command(
        "train", (*FOLDER, BASELINE[0], "run_dir=crnn", "overwrite=true"), (FITTED, TRAINED)
    ),
    "train, a sweep": Command("train", (*SWEEP, *FOLDER), (FITTED,)),
    "evaluate": Command("evaluate", ("checkpoint=crnn/checkpoints/best.ckpt", "workers=0", FOLDER[-1]), (TRAINED,)),
    "embed": Command("embed", (*COLLECTION, "audio=../music"), (TRAINED,)),
    "embed, update=true": Command("embed", (*COLLECTION, "audio=../music", "update=true"), (TRAINED, FIRST_SONGS)),
    "report": Command("report", ("runs=.", "draws=20", "maps=best"), (TRAINED, FITTED)),
    "report, again": Command(
        "report", ("runs=.", "draws=20", "maps=null"), (FITTED, Command("report", ("runs=.", "draws=20", "maps=null")))
    ),
}
INTERRUPTED = ("prepare", "train", "train, a sweep", "evaluate", "embed", "report")


class Workplace:
    """A folder that commands work in, beside the music; it can be put back to what it was."""

    def __init__(self, root: Path, commands: Commands) -> None:
        self.folder = root / "work"
        self._states = root / "states"
        self._commands = commands
        self._made: dict[tuple[Command, ...], Path] = {}

    def run(self, command: Command, end_at: int = -1, **how: Any) -> Ended:
        return self._commands.run(
            command.verb, *command.overrides, watch=self.folder, end_at=end_at, constants=AT_EACH_SONG, **how
        )

    def complete(self, command: Command) -> Ended:
        """Run it to its end, without a disturbance."""
        ended = self.run(command)
        assert ended.code == 0, ended.err
        return ended

    def begin(self, command: Command) -> None:
        """Put there what the command finds, and nothing else; it is made once."""
        before = command.before
        key = (*before, command) if command.stopped else before
        if key not in self._made:
            self._put(None)
            for number, each in enumerate(before):
                if command.stopped and number == len(before) - 1:
                    operations = self.complete(each).operations
                    last = max(place for place, operation in enumerate(operations) if command.stopped in operation)
                    self.begin(each)
                    assert self.run(each, last).code == -signal.SIGKILL
                else:
                    self.complete(each)
            self._made[key] = self._states / str(len(self._made))
            shutil.copytree(self.folder, self._made[key])
        self._put(self._made[key])

    def _put(self, state: Path | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if state:
            shutil.copytree(state, self.folder)
        else:
            self.folder.mkdir(parents=True)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """With two artists' three albums of a song of 2 s each, tagged; in a copy of them, a file is not music."""
    root = tmp_path_factory.mktemp("killed")
    make_corpus(root / "music", artists=2, albums=3, songs=1, seconds=2.0, endings=("wav",))
    tagged(root / "music")
    shutil.copytree(root / "music", root / "with a bad file")
    shutil.copy(__file__, root / "with a bad file" / "artist1" / "album1" / "bad.wav")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTISTID_CACHE", "cache")
        (root / "between").mkdir()
        with Commands(root / "between") as commands:
            yield Workplace(root, commands)


def tagged(music: Path) -> None:
    """Give each file the tags that its folders say."""
    from mutagen.id3 import TALB, TIT2, TPE1

    for path in music.rglob("*.wav"):
        file = WAVE(path)
        file.add_tags()
        title, album, artist = path.stem, path.parent.name, path.parent.parent.name
        for frame, text in ((TPE1, artist), (TALB, album), (TIT2, f"{title} of {album}")):
            file.tags.add(frame(encoding=3, text=text))
        file.save()


def content(path: Path, folder: Path) -> Any:
    """What has to be equal of a file: all of it, but what says when it was made, in how long, and how often begun."""
    name = path.relative_to(folder).as_posix()
    if path.suffix == ".ckpt":
        return bits(without_times(torch.load(path, weights_only=True)))
    if path.name == "scores.json":
        scores = json.loads(path.read_text(encoding="utf-8"))
        scores.pop("seconds")  # that the stages took
        scores.get("training", {}).pop("resumed_at", None)  # epochs that a later process began with
        return scores
    if path.name == "run.log":  # lines with the time of day, also of what was interrupted
        return "a log"
    if path.parent.name == "jobs":  # whether it was trained, resumed or skipped
        return "what became of a job"
    if path.name == "multirun.yaml":  # Hydra's own record of the sweep
        return "Hydra's"
    if name.startswith("cache/synthetic") and path.name == "index.jsonl":
        # A song that was composed anew has another time of change.
        anew = {"mtime_ns": 0, "ctime_ns": 0}
        return [json.loads(line) | anew for line in path.read_text(encoding="utf-8").splitlines()]
    if path.name == "config.yaml":
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        return config
    return path.read_bytes()


def without_times(checkpoint: Any) -> Any:
    """A checkpoint without seconds, and epochs that a later process began with."""
    if isinstance(checkpoint, dict):
        return {key: without_times(value) for key, value in checkpoint.items() if key not in ("seconds", "resumed_at")}
    return checkpoint


def bits(value: Any) -> Any:
    """The same with the bytes of tensors, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(each) for key, each in value.items()}
    return [bits(each) for each in value] if isinstance(value, list | tuple) else value


def contents(folder: Path) -> dict[str, Any]:
    return {
        path.relative_to(folder).as_posix(): content(path, folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Names of files that are missing, too many, or not equal."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def drawn(n_places: int, seed: int = 0) -> list[int]:
    """Where to end a command: everywhere, or at some places."""
    places = range(n_places)
    return list(places) if KILLS == "all" else sorted(random.Random(seed).sample(places, min(int(KILLS), n_places)))


def faults(workplace: Workplace, command: Command, expected: dict[str, Any]) -> list[str]:
    """What is wrong when a command that was ended is given again."""
    again = workplace.run(command)
    if again.code and not any(done in again.err for done in DONE):
        return [again.err[-500:]]
    return differences(contents(workplace.folder), expected)


@pytest.mark.parametrize("name", some(COMMANDS, 5))
def test_killed_at_any_file_operation_it_is_completed(
    name: str, workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    workplace.begin(command)
    operations = workplace.complete(command).operations
    expected = contents(workplace.folder)
    chosen, lost = drawn(len(operations)), []
    for place in chosen:
        workplace.begin(command)
        assert workplace.run(command, place).code == -signal.SIGKILL, operations[place]
        if found := faults(workplace, command, expected):
            lost.append(f"before {operations[place]}: {found}")
    with capsys.disabled():
        print(f"\n{name}: file operations: {len(operations)}, kills: {len(chosen)}, lost: {len(lost)}")
    assert not lost, "\n".join(lost)


@pytest.mark.parametrize("name", some(INTERRUPTED, 2))
def test_interrupted_at_any_moment_it_tells_and_is_completed(
    name: str, workplace: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    workplace.begin(command)
    start = time.monotonic()
    n_operations = len(workplace.complete(command).operations)
    seconds = time.monotonic() - start
    expected = contents(workplace.folder)
    moments: list[dict[str, Any]] = [{"end_at": place} for place in drawn(n_operations, seed=1)]
    moments += [{"after_s": random.Random(place).uniform(0, seconds)} for place in range(len(moments))]
    lost, late = [], 0
    for moment, number in zip(moments, cycle((signal.SIGINT, signal.SIGTERM)), strict=False):
        workplace.begin(command)
        ended = workplace.run(command, with_signal=number, **moment)
        told = [line for line in ended.err.splitlines() if line.startswith("interrupted: ")]
        if ended.code == 0 and "after_s" in moment:
            late += 1  # it was faster this time
        elif (ended.code, len(told)) != (128 + number, 1) or "Traceback" in ended.out + ended.err:
            lost.append(f"{number.name} {moment}: {ended}")
        elif not told[0].endswith("; run the same command to continue"):
            lost.append(told[0])
        if found := faults(workplace, command, expected):
            lost.append(f"{number.name} {moment}: {found}")
    with capsys.disabled():
        print(f"\n{name}: interruptions: {len(moments) - late}, lost: {len(lost)}")
    assert not lost, "\n".join(lost)
