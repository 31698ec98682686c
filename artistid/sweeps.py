"""Sweeps (Hydra's multiruns): how jobs are distinguished, what is recorded of each, and the summary at the end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError
from artistid.places import expanded
from artistid.printing import printable, say
from artistid.settings import Settings
from artistid.writing import write_text

# The outcomes of a job, in words for the summary.
OUTCOMES = {
    "trained": "trained",
    "resumed": "resumed",
    "skipped": "skipped, finished already",
    "failed": "failed",
}


def in_sweep() -> bool:
    """Whether this is a job of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def jobs_at_once() -> int:
    """How many jobs of a sweep run on this machine at once: 1 where there is none, or one after the other."""
    return OmegaConf.select(HydraConfig.get().launcher, "n_jobs", default=1) if in_sweep() else 1


def require_sweep() -> None:
    """Raises ArtistidError if an experiment is a sweep, but the command is for a single run."""
    hydra = HydraConfig.get()
    swept = OmegaConf.select(hydra.sweeper, "params") or {}
    if hydra.mode == RunMode.MULTIRUN or not swept:
        return
    experiment = hydra.runtime.choices.get("experiment")
    listed = " ".join(f"{name}={values}" for name, values in swept.items())
    raise ArtistidError(
        f"experiment={experiment} is a sweep of {listed}: expected -m, which makes a run of each combination; "
        "hydra.sweeper.params=null makes one run without them"
    )


def task_overrides() -> list[str]:
    """The settings that the command line, or the sweep, gave the current job, as they were written."""
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return list(overrides)


def prepared(arguments: Sequence[str], settings: Settings) -> list[str]:
    """The arguments of a sweep, adapted so that its jobs can be composed and their collections have distinct names.

    Args:
        arguments: of the command line, quoted for Hydra.
        settings: of the verb.
    """
    if {"-m", "--multirun"}.isdisjoint(arguments):
        return list(arguments)
    given = {argument.partition("=")[0]: override for argument in arguments if (override := _override(argument))}
    swept = {name for name, override in given.items() if override.is_sweep_override() and settings.is_group(name)}
    return [*(_added(argument, swept, settings) for argument in arguments), *_collection_names(given)]


def _added(argument: str, swept: AbstractSet[str], settings: Settings) -> str:
    """A setting of a swept group: added, since Hydra first composes the group's default, which may not have it."""
    name = argument.partition("=")[0]
    return f"++{argument}" if name.partition(".")[0] in swept - {name} and settings.known(name) else argument


def _collection_names(given: Mapping[str, Override]) -> Iterator[str]:
    """A name for each collection of a sweep, if several would otherwise have the same.

    A collection is named after the last part of its path. In a sweep over several paths it is named after as many parts
    as distinguish them, and in one over several sources (``data=folder,library``) after the source as well.

    Args:
        given: by the names of the settings.
    """
    sources = _values(given.get("data"))
    place = "data.csv" if sources == ["csv"] else "data.root"
    if place not in given or "data.name" in given:
        return
    parts = _telling_parts(_values(given[place]))
    if parts > 1 or len(sources) > 1:
        name = f"${{{'stem' if place == 'data.csv' else 'basename'}:${{{place}}},{parts}}}"
        yield f"++data.name='{name}{'-${hydra:runtime.choices.data}' if len(sources) > 1 else ''}'"


def _override(argument: str) -> Override | None:
    """An argument as Hydra reads it; None if it is no setting, or an invalid one, which Hydra will report."""
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _values(override: Override | None) -> list[Any]:
    """The values of a setting in the jobs of a sweep; none if a search picks them."""
    if override is None:
        return []
    if not override.is_sweep_override():
        return [override.value()]
    values = override.sweep_iterator() if override.is_choice_sweep() else ()
    return [value.text if isinstance(value, QuotedString) else value for value in values]


def _telling_parts(places: Iterable[Any]) -> int:
    """How many of their last parts distinguish paths; several names of one place count as one."""
    parts = {tuple(reversed(expanded(str(place)).resolve().parts)) for place in places}
    return next((n for n in range(1, 100) if len({each[:n] for each in parts}) == len(parts)), 1)


def record(outcome: str, **details: Any) -> None:
    """Record the outcome of the current job, if it is one of a sweep.

    A job may run in another process or on another machine, so the record is a file in the sweep's folder.

    Args:
        outcome: one of :data:`OUTCOMES`.
        details: ``message`` of a failure; ``run``, ``condition`` and ``scores`` of a run.
    """
    if not in_sweep():
        return
    hydra = HydraConfig.get()
    folder = _folder(hydra)
    folder.mkdir(parents=True, exist_ok=True)
    job = {"settings": " ".join(task_overrides()), "outcome": outcome, **details}
    write_text(folder / f"{hydra.job.num:05d}.json", json.dumps(job, ensure_ascii=False, indent=1) + "\n")


def _folder(hydra: HydraConf) -> Path:
    return Path(hydra.runtime.cwd, hydra.sweep.dir, "jobs")


class SweepReport(Callback):
    """Summarises a sweep's jobs at its end; if some have failed, exits with code 1."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        direction = OmegaConf.select(config.hydra.sweeper, "direction")
        if getattr(direction, "name", direction) == "minimize":
            # Not raised: Hydra would turn it into a warning, and start.
            say(
                "error: hydra.sweeper.direction=minimize: expected maximize, since the search is by the validation's "
                "weighted F1",
                to=sys.stderr,
            )
            sys.exit(1)
        shutil.rmtree(_folder(config.hydra), ignore_errors=True)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        jobs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(_folder(config.hydra).glob("*.json"))]
        if runs := [job for job in jobs if "run" in job]:
            print_runs(runs)
        if jobs:
            count = Counter(job["outcome"] for job in jobs)
            became = (f"{count[outcome]} {words}" for outcome, words in OUTCOMES.items() if count[outcome])
            say(f"jobs of the sweep: {len(jobs)}: {', '.join(became)}")
        if runs:
            say(f"a report of them: python -m artistid.report {shlex.quote(f'runs={_common_folder(runs)}')}")
        if failures := [f"{job['settings']}: {job['message']}" for job in jobs if job["outcome"] == "failed"]:
            say(f"\njobs of the sweep that failed: {len(failures)}", *failures, to=sys.stderr)
            sys.exit(1)


def _common_folder(runs: Iterable[Mapping[str, Any]]) -> str:
    """The common parent folder of all runs, as one may type it here."""
    common = Path(os.path.commonpath([job["run"] for job in runs]))
    return str(common.relative_to(Path.cwd())) if common.is_relative_to(Path.cwd()) else str(common)


def print_runs(runs: Sequence[Mapping[str, Any]]) -> None:
    """Print the test scores of a sweep's runs, one row per condition, whose name is never cut.

    Args:
        runs: their records, with the scores of each level.
    """
    levels = list(dict.fromkeys(level for run in runs for level in run["scores"]))
    rows = [["runs", *levels, "condition"]]
    for condition in dict.fromkeys(run["condition"] for run in runs):
        alike = [run["scores"] for run in runs if run["condition"] == condition]
        means = (_mean([scores[level]["f1_weighted"] for scores in alike if level in scores]) for level in levels)
        rows.append([str(len(alike)), *means, printable(condition)])
    *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    say("\nweighted F1, test, mean ± standard deviation of a condition's runs")
    for *numbers, condition in rows:
        say("  ".join([*(f"{text:>{width}}" for text, width in zip(numbers, widths, strict=True)), condition]))


def _mean(values: Sequence[float]) -> str:
    """The mean of some scores, with the standard deviation if there are several; a dash if there are none."""
    from artistid.runs.studies import mean_and_sd  # here, so that --help need not wait for it

    if not values:
        return "–"
    mean, sd = mean_and_sd(values)
    return f"{mean:.3f} ± {sd:.3f}" if len(values) > 1 else f"{mean:.3f}"
