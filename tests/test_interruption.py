"""Ctrl-C and SIGTERM, to every verb as a shell starts it."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest

import artistid
from artistid.interruption import Interrupted, interruptible
from artistid.learning.kept_verifier import keep_verifier
from tests.corpus import make_corpus
from tests.inference.networks import random_verifier, save_checkpoint
from tests.verbs import run_verb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which signals are caught")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LONG = ("trainer.max_epochs=1000", "early_stopping.patience=1000", "clip=1s", "workers=0")
VERBS = {
    "train": ("data=folder", "data.root=music", *LONG),
    "prepare": ("data=folder", "data.root=music", "workers=0"),
    "evaluate": ("checkpoint=best.ckpt", "data=folder", "data.root=music", "workers=0"),
    "audit": ("data=folder", "data.root=music", "model=probe", "clip=1s", "workers=0"),
    "embed": ("checkpoint=best.ckpt", "audio=music", "out=songs.parquet"),
    "predict": ("checkpoint=best.ckpt", "audio=music"),
    "enrol": ("checkpoint=unseen.ckpt", "collection=artists.parquet", "audio=music", "min_seconds=1"),
    "verify": ("checkpoint=unseen.ckpt", "collection=made.parquet", "audio=music", "artist=artist1"),
    "similar": ("checkpoint=best.ckpt", "collection=songs.parquet", "audio=music"),
    "export": ("checkpoint=best.ckpt", "out=model.onnx"),
    "report": ("runs=.",),
    "fuse": ("runs=[a,b]", "run_dir=c"),
    "benchmark": ("size=tiny", "only=train"),
    "doctor": (),
    "app": ("checkpoint=best.ckpt", "port=0"),
    "choose": ("table=music",),
    "networks": (),
}


def start(verb: str, *overrides: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(artistid.__file__).parent.parent),
        "ARTISTID_CACHE": str(cwd / "cache"),
    }
    # As in a shell's foreground, wherever the tests run.
    foreground = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    foreground += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return subprocess.Popen(
        [sys.executable, "-c", foreground, "-m", f"artistid.{verb}", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


# What was asked to end work, and what was asked to end a page that it served already.
KEPT = "interrupted: .*; run the same command to continue"
LAST_LINE = f"^(?:{KEPT}|stopped: .*; the same command serves the page again)$"


def assert_told(code: int, err: str, number: int) -> None:
    assert code == 128 + number, err
    assert re.findall(LAST_LINE, err, re.MULTILINE) == err.strip().splitlines()[-1:]
    assert len(re.findall("^(?:interrupted|stopped): ", err, re.MULTILINE)) == 1
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    make_corpus(folder / "music", artists=2, endings=("wav",))
    save_checkpoint(folder / "best.ckpt")
    keep_verifier(save_checkpoint(folder / "unseen.ckpt"), random_verifier())
    run_verb(
        "embed", f"checkpoint={folder / 'best.ckpt'}", f"audio={folder / 'music'}", f"out={folder / 'made.parquet'}"
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "number"), list(zip(VERBS, cycle(SIGNALS), strict=False)))
def test_every_verb_ends_with_one_line(verb: str, number: int, folder: Path) -> None:
    seconds = random.Random(f"{verb} {number}").uniform(0, 6)
    with start(verb, *VERBS[verb], cwd=folder) as process:
        try:
            until_guarded(process)
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            assert "Traceback" not in out
            if process.returncode == -number:  # all was done, and Python was at its own end
                assert (out, err) == run_to_its_end(verb, folder)
            elif process.returncode not in (0, 1):  # or it was just at its end
                assert_told(process.returncode, err, number)
        assert "Traceback" not in err


def run_to_its_end(verb: str, folder: Path) -> tuple[str, str]:
    with start(verb, *VERBS[verb], cwd=folder) as process:
        return process.communicate(timeout=60)


@pytest.mark.parametrize("number", SIGNALS)
def test_training_is_interrupted_without_scores_and_goes_on(number: int, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = (*VERBS["train"], f"run_dir={run}", "trainer.enable_progress_bar=false")
    with start("train", *overrides, cwd=folder) as process:
        until_logged(run / "run.log", "epoch 2:", process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert_told(process.returncode, err, number)
    assert "the completed epochs" in err
    assert not (run / "scores.json").exists()
    assert f"interrupted by {signal.Signals(number).name}" in (run / "run.log").read_text()
    with start("train", *overrides, cwd=folder) as process:
        until_logged(run / "run.log", "going on with epoch", process)
        process.send_signal(number)
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_stops_and_no_job_counts_as_failed(launcher: str, number: int, folder: Path, tmp_path: Path) -> None:
    sweep = ("-m", f"hydra/launcher={launcher}", *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []))
    folders = (f"run_dir={tmp_path}/runs/${{seed}}", f"hydra.sweep.dir={tmp_path}/sweep")
    with start("train", *sweep, *VERBS["train"], *folders, "seed=0,1", cwd=folder) as process:
        until_logged(tmp_path / "runs" / "0" / "run.log", "epoch 2:", process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert_told(process.returncode, err, number)
    assert not list(tmp_path.rglob("scores.json"))
    assert not any('"failed"' in path.read_text() for path in (tmp_path / "sweep" / "jobs").glob("*.json"))
    if launcher == "basic":
        assert not (tmp_path / "runs" / "1").exists()


def until_guarded(process: subprocess.Popen[str]) -> None:
    """Wait until SIGTERM is caught: some hundredths of a second Python starts, and has run no line of ours."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


def until_logged(log: Path, text: str, process: subprocess.Popen[str], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not (log.exists() and text in log.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, with Python's handlers, wherever the tests run."""
    code = f"import os, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    environment = {**os.environ, "PYTHONPATH": str(Path(artistid.__file__).parent.parent)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_starts_it_answers_too(number: int) -> None:
    begin = "sys.orig_argv[1:] = ['-m', 'artistid.train']; import artistid"  # as runpy does before all else
    done = run_python(f"{begin}; os.kill(os.getpid(), {int(number)}); time.sleep(60)")
    assert (done.returncode, done.stderr) == (
        128 + number,
        "interrupted: nothing was started; run the same command to continue\n",
    )


def test_who_imports_the_package_keeps_their_handlers() -> None:
    done = run_python("import artistid; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler")
    assert done.returncode == 0, done.stderr


def test_handlers_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))  # as submitit sets one
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_second_signal_ends_the_process_at_once() -> None:
    done = run_python(
        "from artistid.interruption import Interrupted, interruptible\n"
        "try:\n"
        "    with interruptible(): os.kill(os.getpid(), signal.SIGINT)\n"
        "except Interrupted: print('first', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "first\n", "")


PROGRAM = """
import weakref
from artistid.interruption import Interrupted, interruptible
from artistid.learning.kept_verifier import keep_verifier
class Thing: pass
try:
    with interruptible():
        {block}
    print("it went on")
except Interrupted as interrupted:
    print(interrupted.exit_code)
"""


@pytest.mark.parametrize(
    "block",
    [
        # What no exception leaves: it comes again a moment later.
        "thing = Thing(); it = weakref.ref(thing, lambda _: os.kill(os.getpid(), 15)); del thing; time.sleep(60)",
        # Another exception in its place, and none.
        "\n        try: os.kill(os.getpid(), 15); time.sleep(60)\n        finally: raise ValueError",
        "\n        try: os.kill(os.getpid(), 15); time.sleep(60)\n        except BaseException: pass",
        # In the block of a job, within that of its command.
        "\n        with interruptible():\n         try: os.kill(os.getpid(), 15)\n         finally: raise ValueError",
    ],
)
def test_an_interruption_is_not_lost_on_its_way(block: str) -> None:
    done = run_python(PROGRAM.format(block=block))
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "")


def test_handlers_are_as_before_where_nothing_came() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        with interruptible():  # a job in the process of its sweep
            pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_interruption_crosses_processes() -> None:
    """A job of joblib's is interrupted in a process of its own, and hands that to the one that started it."""
    import pickle

    told = pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM)))
    assert (told.number, told.exit_code) == (15, 143)
