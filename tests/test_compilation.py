"""What numba compiles: once, whoever comes at the same time, and never to be poisoned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
Process = subprocess.Popen[str]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    here = {"NUMBA_CACHE_DIR": f"{tmp_path}/numba", "TMPDIR": f"{tmp_path}/tmp", "REHEARSALS": f"{tmp_path}/trace"}
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **here}


def start(environment: dict[str, str], code: str = "from tests import jitted; print(jitted.twice(2))") -> Process:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LOADS = """
from tests.jitted import twice
assert twice(2) == 4 and twice(2.5) == 5
print(len(twice.stats.cache_hits), len(twice.stats.cache_misses))
"""


def finished_caches(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "numba" / "artistid").glob("tests.jitted-*") if path.is_dir()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_of_four_that_come_at_once_one_compiles(environment: dict[str, str], tmp_path: Path) -> None:
    processes = [start(environment, LOADS) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in processes] == ["2 0"] * 4
    assert (tmp_path / "trace").read_text() == "compiled\n"
    [cache] = finished_caches(tmp_path)
    before = contents(cache)
    assert start(environment, LOADS).communicate()[0].strip() == "2 0"
    assert contents(cache) == before


def test_what_was_not_rehearsed_is_kept_out_of_it(environment: dict[str, str], tmp_path: Path) -> None:
    assert start(environment).communicate()[0].strip() == "4"
    [cache] = finished_caches(tmp_path)
    before = contents(cache)
    code = "from tests.jitted import twice; print(twice(2j)); print(len(twice.stats.cache_misses))"
    assert start(environment, code).communicate()[0].split() == ["4j", "1"]
    assert contents(cache) == before


def test_one_that_is_killed_while_it_compiles_leaves_nothing_to_load(
    environment: dict[str, str], tmp_path: Path
) -> None:
    hanging = {**environment, "REHEARSALS": str(tmp_path / "fifo")}
    os.mkfifo(tmp_path / "fifo")  # opening it waits for a reader
    process = start(hanging)
    while not list((tmp_path / "numba" / "artistid").glob(".tests.jitted-*.part/**/*.nbc")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert finished_caches(tmp_path) == []
    [draft] = (tmp_path / "numba" / "artistid").glob(".tests.jitted-*.part")
    for path in draft.rglob("*.nbc"):
        path.write_bytes(b"torn")
    assert start(environment, LOADS).communicate()[0].strip() == "2 0"


def test_copies_are_gone_with_their_processes(environment: dict[str, str], tmp_path: Path) -> None:
    def copies() -> int:
        return len(list((tmp_path / "tmp").glob("artistid-numba-*")))

    waiting = start(environment, "from tests import jitted; print('up', flush=True); import time; time.sleep(1000)")
    assert waiting.stdout
    waiting.stdout.readline()
    start(environment).communicate()
    assert copies() == 1
    waiting.kill()
    waiting.wait()
    assert copies() == 1
    start(environment).communicate()
    assert copies() == 0


BESIDE_LIBROSA = """
import librosa, numpy
librosa.feature.rms
from artistid.data.descriptors import Descriptors
Descriptors()(numpy.zeros(16000, numpy.float32))
"""


@pytest.mark.slow
def test_a_program_that_uses_librosa_too(environment: dict[str, str], tmp_path: Path) -> None:
    """What it imported itself is kept where numba keeps it; the beat tracker, which crashes from there, never is."""
    _, err = start(environment, BESIDE_LIBROSA).communicate()
    assert err == ""
    kept = {path.name.split("-")[0] for path in (tmp_path / "numba").glob("[!a]*/**/*.nbc")}
    assert not any(name.startswith("beat") for name in kept), kept
    assert list((tmp_path / "numba" / "artistid").glob("artistid.data.descriptors-*/**/beat.*.nbc"))


def test_nowhere_to_keep_it(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out, err = start({**environment, "NUMBA_CACHE_DIR": str(tmp_path / "file")}).communicate()
    assert out.strip() == "4"
    assert "compiled functions cannot be cached" in err


@pytest.mark.slow
def test_a_sweep_of_four_jobs_with_four_workers_on_a_fresh_machine(
    corpus: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Librosa's beat tracker and our own kernels, wanted by all at once; and nothing is broken for those who follow."""
    command = [sys.executable, "-m", "artistid.train", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=4"]
    command += ["model=statistics_svm,crnn", "data=folder", f"data.root={corpus}", f"cache_dir={tmp_path}/cache"]
    command += ["trainer.max_epochs=1", "trainer.enable_progress_bar=false", "workers=4"]
    for seeds in ("0,1", "2,3"):
        done = subprocess.run(
            [*command, f"seed={seeds}"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        caches = [path for path in (tmp_path / "numba" / "artistid").glob("artistid.*") if path.is_dir()]
        assert {path.name.rpartition("-")[0] for path in caches} == {
            "artistid.data.descriptors",
            "artistid.learning.kernels",
        }
    assert len(list((tmp_path / "runs").rglob("scores.json"))) == 8
