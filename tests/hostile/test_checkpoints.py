"""What strangers' checkpoints do to whoever opens them, in every verb that opens one: nothing but one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.corpus import make_corpus
from tests.hostile.checkpoints import DESCRIBED, HOSTILE, TRACE
from tests.inference.collections import random_songs, write_collection
from tests.inference.networks import save_checkpoint
from tests.thorough import THOROUGH, some

# What one file may cost in memory, the bombs among them: its own bytes, its archive's directory, and what any error
# costs. The largest honest file here has 2 MB.
MOST_BYTES = 300 * 2**20
QUIET = ("workers=0", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu")
OF_DATA = ("evaluate", "embed")  # verbs that use what a checkpoint says of its data
# What follows the sentence of a song where that song is what could not be answered.
COUNTED = re.compile(r"^error: 1 of 1 song could not be answered, see above$", re.MULTILINE)
SLOW = ("export", "init_from")  # that go on for long where a file is good


class Place:
    """A machine with a user's files, a stranger's, and nothing else.

    Attributes:
        mine: what the user's commands may write to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mine, self.home, self.here = (root / name for name in ("mine", "home", "here"))
        for folder in (self.mine / "tmp", self.home, self.here / "strangers"):
            folder.mkdir(parents=True)
        (self.home / ".bashrc").write_text("mine")
        make_corpus(self.here / "shipped", artists=2, albums=2)
        soundfile.write(self.here / "song.wav", np.sin(np.arange(48_000) / 10), 16_000)
        write_collection(self.here / "songs.parquet", random_songs(4), ["a", "b", "a", "b"])
        save_checkpoint(self.here / "good.ckpt")

    def command(self, verb: str, checkpoint: str, number: int) -> tuple[str, list[str]]:
        """A verb and its settings, all that it writes below ``mine``."""
        cache = f"cache_dir={self.mine / 'cache'}"
        settings = {
            "evaluate": [f"run_dir={self.mine / f'run{number}'}", cache, *QUIET],
            "predict": ["audio=song.wav"],
            "embed": [f"out={self.mine / f'{number}.parquet'}", cache, "workers=0"],
            "similar": ["collection=songs.parquet", "audio=song.wav"],
            "export": [f"out={self.mine / f'{number}.onnx'}"],
            "init_from": ["data=folder", "data.root=shipped", f"run_dir={self.mine / f'run{number}'}", cache, *QUIET],
        }
        if verb == "init_from":
            return "train", [f"init_from={checkpoint}", *settings[verb]]
        return verb, [f"checkpoint={checkpoint}", *settings[verb]]

    def tree(self) -> dict[str, str]:
        """Every file that is not in ``mine``, by its content."""
        files = (path for path in self.root.rglob("*") if not path.is_relative_to(self.mine))
        return {
            str(path.relative_to(self.root)): hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in files
        }

    def run(self, verb: str, commands: Sequence[tuple[str, list[str]]]) -> list[dict[str, Any]]:
        """What each command of a verb did, all in one process that is watched."""
        warming = [self.command("predict", "good.ckpt", 0), self.command(verb, "none.ckpt", 0)]
        results = self.mine / "results.jsonl"
        repository = Path(__file__).parents[2]
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "TMPDIR": str(self.mine / "tmp"),
            "MPLCONFIGDIR": str(self.mine / "tmp"),
            "PYTHONPATH": str(repository),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        subprocess.run(
            [sys.executable, "-m", "tests.hostile.watched", str(results), str(self.mine)],
            input=json.dumps([warming, commands]),
            text=True,
            cwd=self.here,
            env=environment,
            check=True,
            timeout=1200,
        )
        return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("machine").resolve())
    for number, make in enumerate(HOSTILE.values()):
        make(place.here / "strangers" / f"{number}")
    return place


def faults(name: str, verb: str, result: Mapping[str, Any]) -> list[str]:
    """What a run did that it should not have."""
    err = COUNTED.sub("", result["err"])
    found = [f"did: {each}" for each in result["seen"]]
    if "Traceback" in err or result["code"] not in (0, 1):
        found.append(f"no sentence: code {result['code']}, {err[-600:]}")
    if result["code"] == 1 and err.count("error: ") != 1:
        found.append(f"{err.count('error: ')} sentences: {err}")
    refused_at_once = name not in DESCRIBED
    if refused_at_once and (result["code"] != 1 or len(err.strip().splitlines()) != 1):
        found.append(f"not refused in one line: code {result['code']}, {err[-600:]}")
    if any(ord(letter) < 32 and letter not in "\n\t\r" for letter in result["out"] + err):
        found.append(f"raw control bytes: {result['out'] + err!r}")
    if result["bytes"] > MOST_BYTES and result["code"] != 0:  # what an honest answer costs is not a file's doing
        found.append(f"took {result['bytes'] / 2**20:.0f} MB")
    return found


def try_all(place: Place, verb: str, names: Sequence[str]) -> None:
    """Give files to a verb; raises AssertionError with all that any of them did."""
    before = place.tree()
    numbers = {name: number for number, name in enumerate(HOSTILE)}
    results = place.run(verb, [place.command(verb, f"strangers/{numbers[name]}", numbers[name]) for name in names])
    bad = {name: found for name, result in zip(names, results, strict=True) if (found := faults(name, verb, result))}
    after = place.tree()
    changed = sorted({path for path in before.keys() | after.keys() if before.get(path) != after.get(path)})
    outside = len(changed) + sum("did:" in each for found in bad.values() for each in found)
    largest = max(results, key=lambda result: result["bytes"])["bytes"] / 2**20
    print(
        f"\n{verb}: hostile checkpoints tried: {len(names)}, writes outside: {outside}, most memory: {largest:.0f} MB"
    )
    assert not bad, json.dumps(bad, indent=1)
    assert not changed
    assert not (place.here / TRACE).exists()


VERBS = ("evaluate", "predict", "embed", "similar", "export", "init_from")


def for_verb(verb: str) -> list[str]:
    """The files that a verb is given: a twelfth, another one for each verb; or all.

    Of those that only lie about their data, verbs that would do much with a good network are given one.
    """
    share = 1 if THOROUGH else 2 * len(VERBS)
    described = some(sorted(DESCRIBED), len(DESCRIBED) // 2)
    if verb not in OF_DATA and (verb in SLOW or not THOROUGH):
        described = described[:1]
    return [*[name for name in HOSTILE if name not in DESCRIBED][VERBS.index(verb) % share :: share], *described]


def test_there_are_enough() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_hostile_checkpoints(place: Place, verb: str) -> None:
    try_all(place, verb, for_verb(verb))


def test_some_of_them(place: Place) -> None:
    """Every twentieth, for whoever runs the quick tests."""
    try_all(place, "evaluate", list(HOSTILE)[::20])
