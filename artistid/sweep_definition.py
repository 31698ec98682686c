"""W&B sweep definitions, which say what its agents are to run: read and checked without an account."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artistid.errors import ArtistidError
from artistid.places import expanded, no_file

PROGRAM = "artistid.train"
METHODS = ("bayes", "grid", "random")
GOALS = ("maximize", "minimize")
# An agent replaces these words of the command by each parameter: this prefix, its name and its value.
PREFIXES = {"${args_no_hyphens}": "", "${args_append_hydra}": "+", "${args_override_hydra}": "++"}

# How values are drawn: between bounds, between bounds that are exponents (of e, with this sign), around a mean, or from
# 0 to 1. All but ``int_uniform`` and the inverse ones have a variant whose values are rounded, ``q_…``.
EXPONENTS = {"log_uniform": 1, "inv_log_uniform": -1}
BETWEEN = ("uniform", "int_uniform", "log_uniform_values", "inv_log_uniform_values", *EXPONENTS)
AROUND = ("normal", "log_normal")
DISTRIBUTIONS = (*BETWEEN, *AROUND, "beta", "categorical", "constant")
FORMS = "expected value, values, or min and max"


@dataclass(frozen=True)
class SweepDefinition:
    """What W&B's agents would run.

    Attributes:
        metric: what they optimise; empty if it is missing and the method needs none.
        goal: ``maximize`` or ``minimize``.
        fixed: settings that every command has.
        spaces: the values of each parameter, or its minimum and maximum, by its name with the prefix.
    """

    metric: str
    goal: str
    fixed: Sequence[str]
    spaces: Mapping[str, Sequence[Any]]

    @classmethod
    def read(cls, path: str | Path) -> SweepDefinition:
        """Read a definition; raises ArtistidError with all its problems, one per line."""
        written = _read(expanded(path))
        if problems := list(_problems(written)):
            raise ArtistidError("\n".join(f"{path}: {problem}" for problem in problems))
        metric = written.get("metric", {})
        prefix = next(prefix for word, prefix in PREFIXES.items() if word in written["command"])
        return cls(
            metric.get("name", ""),
            metric.get("goal", ""),
            [argument for argument in written["command"] if "=" in argument],
            {f"{prefix}{name}": list(_values(space)) for name, space in written["parameters"].items()},
        )

    @property
    def choices(self) -> Iterator[list[str]]:
        """Settings as agents would type them, until each parameter has taken each of its values."""
        for number in range(max(map(len, self.spaces.values()))):
            yield [f"{name}={values[number % len(values)]}" for name, values in self.spaces.items()]


def _read(path: Path) -> dict[Any, Any]:
    """The file as wandb reads it, with PyYAML."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else no_file(path) or f"nothing (seen from {Path.cwd()})"
        raise ArtistidError(f"{path}: expected a definition of a sweep, in YAML, found {found}")
    try:
        written = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ArtistidError(f"{path}: expected a definition of a sweep, in YAML: {why}") from error
    if not isinstance(written, dict):
        expected = "program, command, method, metric and parameters"
        raise ArtistidError(f"{path}: expected the keys {expected}, found {_shown(written)}")
    return written


def _problems(written: Mapping[Any, Any]) -> Iterator[str]:
    if written.get("program") != PROGRAM:
        yield f"program: expected {PROGRAM}, found {_shown(written.get('program'))}"
    yield from _problems_of_command(written.get("command"))
    if written.get("method") not in METHODS:
        yield f"method: expected one of {', '.join(METHODS)}, found {_shown(written.get('method'))}"
    if written.get("method") == "bayes" or "metric" in written:
        yield from _problems_of_metric(written.get("metric"))
    parameters = written.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        yield f"parameters: expected settings and the values of each, found {_shown(parameters)}"
        return
    for name, space in parameters.items():
        yield from (f"parameters: {name}: {problem}" for problem in _problems_of_space(space))


def _problems_of_command(command: Any) -> Iterator[str]:
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        yield f"command: expected a list of words, as in conf/wandb_sweep.yaml, found {_shown(command)}"
        return
    if "-m ${program}" not in " ".join(command):
        yield 'command: expected "-m" before "${program}", which is a module'
    if sum(word in PREFIXES for word in command) != 1:
        hyphens = next((word for word in command if word.startswith("${args")), "none")
        yield f'command: expected "${{args_no_hyphens}}", since settings are typed without hyphens, found {hyphens}'


def _problems_of_metric(metric: Any) -> Iterator[str]:
    if not isinstance(metric, dict):
        yield f"metric: expected the keys name and goal, found {_shown(metric)}"
        return
    name, goal = metric.get("name"), metric.get("goal")
    if not isinstance(name, str) or not name.startswith("val/"):
        yield f"metric: name: expected val/…, since selection is by validation, found {_shown(name)}"
    elif goal != (expected := "minimize" if name.endswith("loss") else "maximize"):
        yield f"metric: goal: expected {expected} of {name}, found {_shown(goal)}"


def _problems_of_space(space: Any) -> Iterator[str]:
    if not isinstance(space, dict) or not space.keys() & {"value", "values", "min", "max", "distribution"}:
        nested = ", and nested settings by their dotted names" if isinstance(space, dict) and space else ""
        yield f"{FORMS}{nested}, found {_shown(space)}"
        return
    distribution = space.get("distribution")
    if distribution is not None and str(distribution).removeprefix("q_") not in DISTRIBUTIONS:
        yield f"distribution: expected one of {', '.join(DISTRIBUTIONS)}, found {_shown(distribution)}"
    elif "values" in space:
        if not isinstance(space["values"], list) or not space["values"]:
            yield f"values: expected a list, found {_shown(space['values'])}"
    elif "value" not in space and _kind(space) in BETWEEN:
        ends: list[Any] = [space.get(name) for name in ("min", "max")]
        for name, end in zip(("min", "max"), ends, strict=True):
            if not _is_number(end):
                how = " (YAML reads 1e-5 as text: write 1.0e-5)" if isinstance(end, str) else ""
                yield f"{name}: expected a number, found {_shown(end)}{how}"
        if all(map(_is_number, ends)) and not ends[0] < ends[1]:
            yield f"min: expected less than max={ends[1]}, found {ends[0]}"


def _values(space: Mapping[str, Any]) -> Iterator[Any]:
    """The values of a valid parameter: all, or the bounds."""
    kind = _kind(space)
    if "values" in space:
        yield from space["values"]
    elif "value" in space:
        yield space["value"]
    elif kind in EXPONENTS:
        yield from sorted(math.exp(EXPONENTS[kind] * space[end]) for end in ("min", "max"))
    elif kind in BETWEEN:
        yield from (space["min"], space["max"])
    elif kind in AROUND:
        middle = space.get("mu", 0)
        yield math.exp(middle) if kind == "log_normal" else middle
    else:
        yield from (0.0, 1.0)


def _kind(space: Mapping[str, Any]) -> str:
    return str(space.get("distribution", "uniform")).removeprefix("q_")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    """What was found, in one line."""
    if isinstance(value, dict | list):
        kind = "a list" if isinstance(value, list) else "keys"
        return f"{kind}: {', '.join(map(str, value))}" if value else f"{kind.removesuffix('s')} without entries"
    return "nothing" if value is None else repr(value)
