"""Definitions of wandb's sweeps: what is wrong with one is said by file and key, before anybody is asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from artistid.config import config_dir
from artistid.sweep_definition import SweepDefinition
from tests.verbs import run_verb

OURS: dict[str, Any] = yaml.safe_load((config_dir() / "wandb_sweep.yaml").read_text(encoding="utf-8"))
GONE = object()


def changed(**keys: Any) -> str:
    """Our own definition with other keys, or without those that are GONE."""
    return yaml.safe_dump({name: value for name, value in {**OURS, **keys}.items() if value is not GONE})


def searched(space: Any) -> str:
    return changed(parameters={"optimizer.lr": space})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, ["expected a definition", "nothing (seen from"]),
        ("{program: [", ["YAML", "line 1"]),
        ("[a, b]", ["program, command, method", "a list: a, b"]),
        ("just words", ["'just words'"]),
        ("", ["found nothing"]),
        (changed(program="train.py"), ["program: expected artistid.train", "'train.py'"]),
        (changed(program=GONE), ["program: expected artistid.train", "nothing"]),
        (changed(command=GONE), ["command: expected a list", "nothing"]),
        (changed(command=["${env}", "python", "${program}", "${args_no_hyphens}"]), ['"-m" before']),
        (changed(command=[*OURS["command"][:-1], "${args}"]), ["args_no_hyphens", "found ${args}"]),
        (changed(command=OURS["command"][:-1]), ["args_no_hyphens", "found none"]),
        (changed(method="bayesian"), ["method: expected one of bayes, grid, random", "'bayesian'"]),
        (changed(method=GONE), ["method:", "nothing"]),
        (changed(metric=GONE), ["metric: expected the keys name and goal", "nothing"]),
        (changed(metric="val/loss"), ["metric:", "'val/loss'"]),
        (changed(metric={"goal": "maximize"}), ["metric: name: expected val/", "nothing"]),
        (changed(metric={"name": "test/f1", "goal": "maximize"}), ["metric: name: expected val/", "'test/f1'"]),
        (changed(metric={"name": "val/loss", "goal": "maximize"}), ["goal: expected minimize of val/loss"]),
        (
            changed(metric={"name": "val/no_such", "goal": "maximize"}, parameters={"seed": {"values": [0, 1]}}),
            ["monitor=val/no_such"],
        ),
        (changed(parameters=GONE), ["parameters: expected settings", "nothing"]),
        (changed(parameters={}), ["parameters:", "key without entries"]),
        (changed(parameters=["batch_size"]), ["parameters:", "a list: batch_size"]),
        (changed(parameters={"batchsize": {"values": [8]}}), ["batchsize is not a setting"]),
        (changed(parameters={"clip": {"values": ["3s", "3min"]}}), ["clip=3min"]),
        (changed(parameters={"optimizer": {"lr": {"value": 1e-3}}}), ["parameters: optimizer:", "dotted"]),
        (searched(0.1), ["parameters: optimizer.lr: expected value, values, or min and max", "0.1"]),
        (searched({"values": "0.1"}), ["optimizer.lr: values: expected a list", "'0.1'"]),
        (searched({"values": []}), ["values: expected a list"]),
        (searched({"min": 0.1}), ["optimizer.lr: max: expected a number", "nothing"]),
        (searched({"min": "1e-5", "max": 0.1}), ["min: expected a number", "'1e-5'", "1.0e-5"]),
        (searched({"min": 0.1, "max": 0.01}), ["min: expected less than max=0.01"]),
        (searched({"min": 0, "max": 1, "distribution": "log"}), ["distribution: expected one of uniform", "'log'"]),
        (searched({"min": -1.0, "max": 0.1}), ["optimizer.lr=-1.0 is broken"]),
    ],
)
def test_what_is_wrong_is_said(
    written: str | None, told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    if written is not None:
        path.write_text(written, encoding="utf-8")
    with pytest.raises(SystemExit):
        run_verb("doctor", f"sweep={path}", f"cache_dir={tmp_path}", module="tests.test_sweep_definition")
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(words in line for words in told), line
    assert str(path) in line or "=" in told[-1] or "is not a setting" in told[0]
    assert "Error:" not in line


def doctor(config: Any) -> None:
    """The verb without the chapters that look at the machine."""
    from artistid.doctor import show, wandb_sweep

    show(list(wandb_sweep(config.sweep)))


@pytest.mark.parametrize(
    ("space", "values"),
    [
        ({"value": 8}, [8]),
        ({"values": [8, 16, 32]}, [8, 16, 32]),
        ({"min": 0.1, "max": 0.5}, [0.1, 0.5]),
        ({"min": 1, "max": 5, "distribution": "int_uniform"}, [1, 5]),
        ({"min": -7, "max": 0, "distribution": "q_log_uniform"}, [math.exp(-7), 1]),
        ({"min": 0, "max": 7, "distribution": "inv_log_uniform"}, [math.exp(-7), 1]),
        ({"mu": 0.5, "sigma": 9, "distribution": "normal"}, [0.5]),
        ({"distribution": "log_normal"}, [1]),
        ({"a": 2, "b": 2, "distribution": "q_beta"}, [0, 1]),
    ],
)
def test_values_that_agents_may_draw(space: dict[str, Any], values: list[float], tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(searched(space), encoding="utf-8")
    assert SweepDefinition.read(path).spaces == {"optimizer.lr": pytest.approx(values)}


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(changed(method="best", metric=GONE, parameters=GONE), encoding="utf-8")
    with pytest.raises(SystemExit):
        run_verb("doctor", f"sweep={path}", f"cache_dir={tmp_path}", module="tests.test_sweep_definition")
    assert [line.partition(f"{path}: ")[2].partition(":")[0] for line in capsys.readouterr().err.splitlines()[1:]] == [
        "method",
        "parameters",
    ]


def test_a_grid_needs_no_metric_and_settings_may_be_added(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    command = [*OURS["command"][:-1], "${args_override_hydra}"]
    path.write_text(changed(method="grid", metric=GONE, command=command, parameters={"seed": {"values": [0, 1]}}))
    sweep = SweepDefinition.read(path)
    assert (sweep.metric, list(sweep.choices)) == ("", [["++seed=0"], ["++seed=1"]])
