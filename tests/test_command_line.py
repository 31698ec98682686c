"""One program for all verbs: its help, the shell's completion, and what a run says of itself, in a terminal or not."""

from __future__ import annotations

import io
import os
import re
import resource
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import artistid
from artistid.__main__ import main
from artistid.cli import VERBS, command
from artistid.config import config_dir
from artistid.interruption import started_module
from artistid.naming import introduction
from artistid.printing import fitted
from artistid.settings import Settings
from tests.terminal import COLOUR, COLUMNS, in_terminal, lines
from tests.verbs import read_scores, run_verb

ROOT = Path(artistid.__file__).parent.parent


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the console script says, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["artistid", *arguments])
        main()
    return capsys.readouterr().out


def helped(capsys: pytest.CaptureFixture[str], verb: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        run_verb(verb, *arguments, "--help")
    assert exit_.value.code == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script, as pip writes it for what ``pyproject.toml`` names."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]["artistid"]
    module, _, function = entry.partition(":")
    path = tmp_path_factory.mktemp("bin") / "artistid"
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    path.chmod(0o755)
    return path


def test_without_a_verb_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    told = called(capsys)
    assert re.findall(r"^  (\w+) +\w", told, re.MULTILINE) == list(VERBS)
    assert told == called(capsys, "--help")
    assert max(map(len, told.splitlines())) <= COLUMNS


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("train", "--version")
    assert capsys.readouterr().out == called(capsys, "--version") == f"artistid {artistid.__version__}\n"


@pytest.mark.parametrize("settings", [(), ("data.seconds=5",), ("-m", "split=album,song")])
def test_hydras_own_options_are_shown_beside_any_settings(
    capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run_verb("train", "--hydra-help", *settings)
    assert exit_.value.code == 0
    assert "--multirun,-m" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-m", "--cfg", "job"), "--multirun, --cfg"),
        (("--resolve",), "--resolve"),
        (("--shell-completion",), "install"),
        (("--experimental-rerun", "/nowhere"), "/nowhere"),
    ],
)
def test_options_that_hydra_refuses(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *options])
    with pytest.raises(SystemExit) as exit_:
        command("train")
    assert exit_.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert told in lines[0]


def test_a_verb_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        called(capsys, "trainn", "seed=0")
    assert exit_.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: trainn: ")
    assert "did you mean train?" in told


def test_the_script_is_the_verb(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [script, "train", "model=nothing"], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: model=nothing: expected one of")


@pytest.mark.parametrize(
    ("started", "module"),
    [
        ("python -m artistid.train seed=0", "artistid.train"),
        ("python -X utf8 -m artistid.train", "artistid.train"),
        ("python -m artistid train -m seed=0,1", "artistid.train"),
        ("python /usr/bin/artistid train -m seed=0,1", "artistid.train"),
        ("python -m artistid", "artistid."),
        ("python -m pytest artistid", "pytest"),
        ("python script.py artistid", ""),
        ("python", ""),
    ],
)
def test_what_a_process_was_started_for(started: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", started.split())
    assert started_module() == module


def check_help(told: str, verb: str) -> None:
    """That it fits a terminal, and lists all that the verb takes, and nothing else."""
    assert max(map(len, told.splitlines())) <= COLUMNS
    settings = Settings(verb, [config_dir()])
    groups, _, rest = told.partition("SETTING=VALUE:")
    _, _, groups = groups.partition("GROUP=CHOICE")
    assert re.findall(r"^  (\w+) ", groups, re.MULTILINE) == list(settings.choosable)
    listed = re.findall(r"^  ([\w.]+)=", rest, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert all(settings.takes(name.partition(".")[0]) for name in listed)
    own = [name for name in settings.roots[0] if name not in ("defaults", "hydra", *settings.choosable)]
    first = list(dict.fromkeys(name.partition(".")[0] for name in listed))
    assert first[: len(own)] == own


@pytest.mark.parametrize("verb", ["predict", "train"])
def test_help_is_of_what_a_verb_takes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, verb)
    check_help(told, verb)
    assert ("model" in Settings(verb, [config_dir()]).choosable) == (verb == "train")
    assert re.search(r"^  top=5 +how many artists to list$", told, re.MULTILINE) or verb != "predict"


def test_help_is_of_the_choices_that_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, "train", "data=folder", "model=mandel_svm", "seed=7")
    assert "of data=folder:" in told
    assert "data.prefer=[]" in told
    assert "data.n_artists" not in told
    assert re.search(r"^  features +descriptors \| ", told, re.MULTILINE)
    assert re.search(r"^  seed=7 +draws the split", told, re.MULTILINE)
    assert re.search(r"^  scheduler +null \| ", told, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_help(helped(capsys, verb), verb)


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("artistid pre", {"prepare", "predict"}, {"train"}),
        ("artistid predict ", {"audio=", "checkpoint=", "top="}, {"model=", "clip=", "experiment="}),
        ("artistid train data=folder model=cr", {"model=crnn"}, {"model=majority"}),
    ],
)
def test_bash_completes(typed: str, offered: set[str], not_offered: set[str], script: Path) -> None:
    """As an interactive bash does it: by the function that is registered for the program."""
    words = typed.split(" ")
    line = " ".join(f"'{word}'" for word in words)
    asked = f"""
        eval "$(artistid -sc install=bash)"
        COMP_LINE='{typed}' COMP_POINT={len(typed)} COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}
        $(complete -p artistid | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False, env=environment)
    found = set(done.stdout.split())
    assert found >= offered, done.stderr
    assert not found & not_offered


def composed(*overrides: str) -> object:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(overrides))


def test_a_run_introduces_itself_before_it_imports_torch() -> None:
    code = """
        import io, os, sys
        class FirstLine(io.StringIO):
            def write(self, text):
                print(text, file=sys.stderr, flush=True)
                os._exit(3 if "torch" in sys.modules else 0)
        sys.argv, sys.stdout = ["train", "seed=3", "run_dir=here"], FirstLine()
        from artistid.cli import command
        command("train")
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0
    for part in ("data=synthetic-8x6x4x20s", "split=album", "clip=3s", "model=crnn", "seed=3", "folder=here"):
        assert part in done.stderr


def test_settings_that_are_not_in_order_are_left_to_their_check() -> None:
    assert introduction(composed("~split")) is None
    assert introduction(composed("run_by=nothing")) is None
    assert introduction(composed("split=jackknife", "split.fold=2")).count("fold=2") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_in_a_terminal_end_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "decoding 192 tracks into /a/very/long/path/without-any-blank and more\n  short"
    wrapped = "decoding 192 tracks\n  into\n  /a/very/long/path/without-any-blank\n  and more\n  short"
    assert fitted(text, Terminal()) == wrapped
    assert fitted(text, io.StringIO()) == text


def seconds_of(work: Callable[[], object]) -> float:
    """What the processes that are started and ended meanwhile compute, on all cores together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.slow
def test_smoke_in_a_terminal(tmp_path: Path) -> None:
    """One tiny run through everything: of 20 s of two cores that have nothing else to do."""
    command = [sys.executable, "-m", "artistid", "train", "experiment=smoke"]
    environment = {"PYTHONPATH": str(ROOT), "ARTISTID_CACHE": str(tmp_path / "cache"), "NO_COLOR": "1", "TERM": "xterm"}
    told: list[str] = []

    def smoke() -> None:
        code, shown = in_terminal(command, tmp_path, environment)
        assert code == 0, shown
        told.append(shown)

    assert seconds_of(smoke) < 2 * 20
    [shown] = told
    assert not COLOUR.search(shown)
    said = lines(shown)
    assert all(len(line) <= COLUMNS or len(line.split()) == 1 for line in said), "but for a path that is longer"
    assert said[0].startswith("data=synthetic-2x3x2x5s")
    for bar in ("Epoch 1/2", "Epoch 2/2", "validation part", "test part"):
        assert any(line.startswith(bar) for line in said), bar
    assert not any(line.startswith(("Epoch 0", "Testing")) for line in said)
    assert "cut off" not in shown
    assert read_scores(tmp_path / "runs" / "smoke")["training"]["epochs"] == 2


def test_without_a_terminal_an_epoch_is_a_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = ("trainer.enable_progress_bar=true", "trainer.max_epochs=2")
    run = ("data=folder", f"data.root={corpus}", f"run_dir={tmp_path / 'run'}", "clip=1s", "workers=0", "figures=false")
    run_verb("train", *run, *bars)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told if "poch" in line][:2] == ["epoch 1", "epoch 2"]
    assert not any("━" in line for line in told)


@pytest.mark.parametrize(
    ("overrides", "scheduler", "rate", "epochs", "crop"),
    [
        ((), "OneCycleLR", 1e-3, 10, "random"),
        (("schedule=paper",), None, 1e-4, 200, None),
        (("experiment=reference",), None, 1e-3, 10, None),
        (("experiment=paper",), None, 1e-3, 10, None),
        (("experiment=producer_effect",), None, 1e-3, 10, None),
        (("experiment=paper", "data=artist20"), None, 1e-4, 200, None),
        (("data=folder",), None, 1e-4, 200, None),
        (("scheduler=cosine",), "CosineAnnealingLR", 1e-3, 10, "random"),
        (("switch=overlap",), "OneCycleLR", 1e-3, 10, None),
        (("clip.crop=null",), "OneCycleLR", 1e-3, 10, None),
        (("model=song_mean",), "OneCycleLR", 1e-3, 10, "random"),
        (("model=mandel_svm", "clip=song"), "OneCycleLR", 1e-3, 10, None),  # which has no epochs
        (("experiment=best",), "OneCycleLR", 1e-3, 10, None),
    ],
)
def test_the_default_music_has_a_schedule_of_its_own(
    overrides: tuple[str, ...], scheduler: str | None, rate: float, epochs: int, crop: str | None
) -> None:
    config = composed(*overrides)
    target = (config.get("scheduler") or {}).get("_target_", "")
    assert target.rpartition(".")[2] == (scheduler or "")
    assert (config.optimizer.lr, config.trainer.max_epochs, config.clip.crop) == (rate, epochs, crop)
