"""The ``--help`` of a verb: its settings, its own first, described by the comments in ``conf/``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from artistid.config import config_dir
from artistid.printing import COLUMNS
from artistid.settings import Settings, shown

# A line of a settings file: its indentation, a name with its value, a comment.
LINE = re.compile(r"(?P<indent> *)(?:(?P<name>[\w/]+):(?: .*?)?)?\s*(?:# (?P<says>.*))?")

NAMES = 24  # columns for names; a longer one gets a line of its own
PARTS_OWN = re.compile("_.*|name|system")  # keys that say how a part is built and named


def overview(verbs: Iterable[str]) -> str:
    """All verbs, a line each."""
    lines = [
        "artistid VERB [setting=value …], or python -m artistid.VERB: who made this?",
        "",
        *(line for verb in verbs for line in _entry(verb, purpose(verb), 10)),
        "",
        *_filled("artistid VERB --help lists what a verb takes, artistid --version prints the version."),
        *_filled('eval "$(artistid -sc install=bash)" makes the shell complete verbs, settings and their choices.'),
    ]
    return "\n".join(lines)


def purpose(verb: str) -> str:
    """What a verb is for: the beginning of its help."""
    header: str = Settings(verb, [config_dir()]).roots[0]["hydra"]["help"]["header"]
    return header.partition("\n")[0].partition(": ")[2].removesuffix(".")


def manual(settings: Settings, config: DictConfig) -> str:
    """The help of a verb.

    Args:
        settings: of the verb.
        config: composed, with Hydra's own part.
    """
    written: Any = OmegaConf.to_container(config, resolve=False)
    chosen: dict[str, Any] = OmegaConf.to_container(config.hydra.runtime.choices)  # type: ignore[assignment]
    words = _words(settings, chosen)
    first, *examples = config.hydra.help.header.strip().split("\n")
    lines = [*_filled(first), *examples, ""]
    if settings.choosable:
        lines += ["GROUP=CHOICE, the current choice first:"]
        for group in settings.choosable:
            lines += _entry(group, " | ".join(_choices(settings, group, chosen.get(group))))
        lines += [""]
    lines += ["SETTING=VALUE:"]
    own = dict.fromkeys(name for root in settings.roots for name in root)
    for name in own:
        if name in written and name not in settings.choosable and name != "hydra":
            lines += _leaves(name, written[name], words)
    for group in settings.choosable:
        if isinstance(written.get(group), Mapping):
            lines += ["", f"of {group}={_typed(chosen.get(group))}:", *_leaves(group, written[group], words)]
    closing = "--cfg job prints all of it as YAML, --hydra-help Hydra's own options: -m for a sweep, --config-dir, …"
    return "\n".join([*lines, "", *_filled(closing)])


def _choices(settings: Settings, group: str, chosen: Any) -> list[str]:
    """The choices of a group, the current one first; null first if none is made, as for data without a schedule."""
    choices = settings.choices(group)
    made = [choice for choice in (chosen if isinstance(chosen, list) else [chosen]) if choice in choices] or ["null"]
    return [*made, *(choice for choice in choices if choice not in made)]


def _typed(choice: Any) -> str:
    return "null" if choice is None else f"[{','.join(choice)}]" if isinstance(choice, list) else str(choice)


def _leaves(name: str, value: Any, words: Mapping[str, str]) -> Iterator[str]:
    """The lines of a setting, or of all below it."""
    if isinstance(value, Mapping) and value:
        for below, each in value.items():
            if not PARTS_OWN.fullmatch(str(below)):
                yield from _leaves(f"{name}.{below}", each, words)
    else:
        text = value if isinstance(value, str) else shown(value)
        yield from _entry(f"{name}={text}", words.get(name, ""))


def _entry(name: str, says: str, width: int = NAMES) -> list[str]:
    """A name in a column of this width, and its description in a second column."""
    lines = _filled(says, COLUMNS - width - 2)
    *parts, name = _filled(name, COLUMNS - 4)
    if parts:
        name = f"  {name}"
    if len(name) >= width:
        lines = ["", *lines]
    first, *others = lines or [""]
    return [
        *(f"  {'  ' if number else ''}{part}" for number, part in enumerate(parts)),
        f"  {name:{width}}{first}".rstrip(),
        *(" " * (width + 2) + line for line in others),
    ]


def _filled(text: str, width: int = COLUMNS) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _words(settings: Settings, chosen: Mapping[str, Any]) -> dict[str, str]:
    """The description of each setting in the comments of ``conf/``, by its dotted name."""
    made = {
        f"{group}/{choice}": f"{group}."
        for group in settings.choosable
        for choice in (chosen[group] if isinstance(chosen.get(group), list) else [chosen.get(group)])
    }
    return {
        f"{above}{name}": says
        for root, above in {**made, settings.verb: ""}.items()
        for file in reversed(settings.files(root))
        for folder in settings.folders
        for name, says in comments(folder / f"{file}.yaml").items()
    }


def comments(path: Path) -> dict[str, str]:
    """A file's comments on its settings: after each and in the lines below, or else in the line above."""
    said: dict[str, str] = {}
    name, above, parents = "", "", [(-1, "")]
    for match in map(LINE.fullmatch, path.read_text(encoding="utf-8").splitlines() if path.exists() else ()):
        if match is None:
            continue
        indent, says = len(match["indent"]), match["says"] or ""
        if match["name"]:
            parents = [parent for parent in parents if parent[0] < indent]
            name = f"{parents[-1][1]}{match['name']}"
            parents.append((indent, f"{name}."))
            said[name], above = says or above, ""
        elif indent and name:
            said[name] += f" {says}"
        else:
            above = says if said else ""  # the heading of a file describes none of its settings
    return said
