"""The types of the verbs' settings, and how typed input becomes their values.

A setting of a class has the type of the class's own hint (``data.root``, ``trainer.max_epochs``); any other has the
type of its default in ``conf/``, or is declared in :data:`DECLARED`. The types are used twice. Before Hydra composes,
input for a text, a path or a list of them is quoted, since Hydra's grammar would read names such as 311 as numbers and
paths with a comma as sweeps: :func:`quoted`. After it has composed, every setting is checked: :func:`check`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse as parse_interpolation

from artistid.errors import ArtistidError
from artistid.hints import (
    Count,
    Range,
    Whole,
    fits,
    in_words,
    is_place,
    is_text,
    members,
    parameters,
    text_items,
    union,
)
from artistid.trust import BOUNDS

Place = str | Path
Above = Annotated[float, Range(0)]

# Settings of no class whose default does not determine the type; those whose default is null may be null, too.
DECLARED: Mapping[str, Any] = {
    "cache_dir": Place,
    "workers": Whole,
    "checkpoint": Place,
    "collection": Place,
    "audio": Place | list[Place],
    "track": str | list[str],
    "artist": str,
    "album": str,
    "remove": str,
    "rename": str,
    "into": str,
    "claims": Place,
    "false_alarms": Annotated[float, Range(0, 1)],
    "min_seconds": Above,
    "out": Place,
    "table": Place | list[Place],
    "runs": Place | list[Place],
    "run_dir": Place,
    "init_from": Place,
    "genres": Place,
    "sweep": Place,
    "peers": Place,
    "compare": list[list[Place]],
    "maps": Place | list[Place] | None,
    "only": str | list[str],
    "vote": str,
    "name": str,
    "weights": Literal["validation", "equal"] | list[Above],
    "metrics": list[str],
    "format": str,
    "shard": Whole,
    "shards": Count,
    "verify": bool | str,
    "unknown_artists": Whole | list[str],
    "names": list[str],
    "proxies": list[str],
    "trust": list[str],
    "top": Count,
    "nearest": Count,
    "min_songs": Count,
    "draws": Count,
    "port": Annotated[int, Range(0, 2**16 - 1)],
    "max_upload_mb": Above,
    "max_minutes": Above,
    "plant": Annotated[float, Range(0, 0.5)],
    "review": Place,
    "temperature": Literal["validation"] | None,
    "seed": Annotated[int, Range(0, 2**32 - 1)],
    "early_stopping.patience": Count,
    "fine_tuning.thaw": Whole | dict,
    **{f"logger.{name}.save_dir": Place | None for name in ("csv", "tensorboard", "wandb")},  # None: set by the run
    "features.stem": str,
    "features.separator": str | dict,
    "fine_tuning.lr_factor": Above,
    "trainer.precision": str | Literal[16, 32, 64],
    "model.most_clips_per_song": Count,
}

# Sections that are the arguments of a class without naming it.
TYPED_SECTIONS: Mapping[str, str] = {"trainer": "lightning.pytorch.Trainer", "limits": "artistid.data.song.Limits"}

# Packages whose classes are inspected for the types of their settings: those that are imported anyway.
LOOKED_AT = ("artistid", "lightning", "torch", "sklearn")

# Groups that may be missing, whatever their default.
DISPENSABLE = ("logger", "hydra")

OPENING = re.compile(r"(?<!\\)(?:\\\\)*\$\{\s*([^{}\s]*)")
SWEEPS = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag)\(.*\)", re.DOTALL)
NULL = re.compile(r"(?<![^,(\s])null(?![^,)\s])")  # among the choices of a sweep, or alone
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
BRACKETS = {"[": "]", "{": "}", "(": ")"}


class Known(NamedTuple):
    """One definition of a setting in ``conf/``.

    Attributes:
        default: its value there.
        hint: of its class, if it has one that is inspected; else None.
    """

    default: Any
    hint: Any


class Settings:
    """The settings of a verb, over all choices of its groups.

    Args:
        verb: of the package.
        folders: of configurations, ours and the user's own.
    """

    def __init__(self, verb: str, folders: Sequence[Path]) -> None:
        self.verb = verb
        self.folders = folders
        self._documents: dict[str, list[dict[str, Any]]] = {}

    @cached_property
    def roots(self) -> list[dict[str, Any]]:
        """The contents of the verb's own file and of those that it extends, its own first."""
        return [document for name in self.files(self.verb) for document in self._read(f"{name}.yaml")]

    def files(self, name: str) -> list[str]:
        """A file, such as ``train`` or ``data/fma``, and those that it extends, by name, itself first."""
        group = name.rpartition("/")[0]
        names = [name]
        for each in names:
            for document in self._read(f"{each}.yaml"):
                defaults = document.get("defaults", [])
                own = [one for one in defaults if isinstance(one, str) and one != "_self_"]
                names += [one.lstrip("/") if one.startswith("/") else str(Path(group, one)) for one in own]
        return names

    @cached_property
    def groups(self) -> dict[str, Any]:
        """The default choice of each group, by its name; None: none."""
        return {name: value for name, value in self._choices.items() if " " not in name}

    @cached_property
    def choosable(self) -> dict[str, Any]:
        """Like :attr:`groups`, including those that have a default for some data only, such as ``schedule``."""
        names = {name: name.removeprefix("optional ") for name in self._choices}
        return {names[name]: value for name, value in self._choices.items() if " " not in names[name]}

    @cached_property
    def _choices(self) -> dict[str, Any]:
        """The choices in the lists of defaults, as written: ``override`` or ``optional`` may precede a name."""
        chosen: dict[str, Any] = {}
        for document in reversed(self.roots):
            for default in document.get("defaults", []):
                chosen |= default if isinstance(default, dict) else {}
        return chosen

    def takes(self, name: str) -> bool:
        """Whether a setting on the command line can begin with this name: a group, a setting, or Hydra's own."""
        return name == "hydra" or name in self.choosable or any(name in document for document in self.roots)

    @cached_property
    def required(self) -> list[str]:
        """The names of the settings that must not be missing."""
        own = [name for document in reversed(self.roots) for name in document if name not in ("defaults", *DISPENSABLE)]
        groups = [name for name, choice in self.groups.items() if choice is not None and name not in DISPENSABLE]
        return list(dict.fromkeys([*own, *groups]))

    def _read(self, pattern: str) -> list[dict[str, Any]]:
        if pattern not in self._documents:
            paths = [path for folder in self.folders for path in sorted(folder.glob(pattern))]
            self._documents[pattern] = [document for path in paths if isinstance(document := _document(path), dict)]
        return self._documents[pattern]

    @property
    def names(self) -> list[str]:
        """All dotted names of settings, in any choice of the groups."""
        documents = [("", root) for root in self.roots]
        documents += [(f"{group}.", document) for group in self.choosable for document in self._read(f"{group}/*.yaml")]
        return [name for above, document in documents for name in _names(document, above)]

    def choices(self, group: str) -> list[str]:
        """The choices of a group."""
        return sorted({path.stem for folder in self.folders for path in folder.glob(f"{group}/*.yaml")})

    def documents(self, name: str) -> list[dict[str, Any]]:
        """The contents of the files of this name, such as ``data/fma``, in all folders."""
        return self._read(f"{name}.yaml")

    def set_by(self, group: str, choice: str) -> list[str]:
        """The names of the settings and groups that a choice sets for a run, except Hydra's own."""
        documents = self._read(f"{group}/{choice}.yaml")
        groups = [name for each in documents for default in each.get("defaults", []) for name in _groups(default)]
        own = [{name: value for name, value in each.items() if name not in ("defaults", "hydra")} for each in documents]
        names = [name for each in own for name in _names(each, "", leaves_only=True)]
        return [*(name for name in groups if not name.startswith("hydra/")), *names]

    def is_group(self, name: str) -> bool:
        """Whether a name is that of a group, a choice among files."""
        return "/" in name or any((folder / name).is_dir() for folder in self.folders)

    def known(self, name: str) -> list[Known]:
        """All definitions of a setting, in any choice of its group."""
        first, *rest = name.split(".")
        values = [known for document in self.roots if (known := _at(document, [first, *rest]))]
        if rest and self.is_group(first):
            values += [known for document in self._read(f"{first}/*.yaml") if (known := _at(document, rest))]
        return values

    def hint(self, name: str, config: Mapping[str, Any] | None = None) -> Any:
        """The type of a setting; None: unknown.

        Args:
            name: dotted.
            config: composed, as plain values; without it, every class that may have the setting counts.
        """
        known = self.known(name)
        by_default_null = any(entry.default is None for entry in known)
        if name in DECLARED:
            return DECLARED[name] | None if by_default_null else DECLARED[name]
        if (section := name.partition(".")[0]) in TYPED_SECTIONS:
            return _bounded(name, parameters(TYPED_SECTIONS[section]).get(name.partition(".")[2]))
        if config is not None and (hint := _hint_in(config, name.split("."))) is not None:
            return _bounded(name, hint)
        hints = [entry.hint if entry.hint is not None else _type_of(entry.default) for entry in known]
        hints = [hint for hint in hints if hint is not None]
        if not hints:
            return None
        return _bounded(name, union([*hints, None] if by_default_null else hints))

    def sections(self, name: str) -> list[str]:
        """The names of the settings below a setting, if it has any."""
        return list(
            dict.fromkeys(key for entry in self.known(name) if isinstance(entry.default, dict) for key in entry.default)
        )


def _document(path: Path) -> Any:
    """The contents of a settings file; None if it cannot be read, which Hydra will report."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, yaml.YAMLError):
        return None


@cache
def _parsed(path: Path, mtime_ns: int) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=get_yaml_loader())


def _names(document: Mapping[str, Any], above: str, leaves_only: bool = False) -> Iterator[str]:
    for name, value in document.items():
        if not leaves_only or not isinstance(value, Mapping):
            yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.", leaves_only)


def _groups(default: Any) -> list[str]:
    """The groups that an entry of a list of defaults chooses from; null removes a choice, and makes none."""
    entries = default.items() if isinstance(default, Mapping) else ()
    return [name.split()[-1].lstrip("/") for name, choice in entries if choice is not None]


def _at(document: Any, path: list[str]) -> Known | None:
    """The definition of a setting in a file."""
    hint, inside = None, document
    for name in path:
        if not isinstance(inside, dict) or name not in inside:
            return None
        hint = _parameter(inside.get("_target_"), name)
        inside = inside[name]
    return Known(inside, hint)


def _hint_in(config: Any, path: list[str]) -> Any:
    """The hint of the class that a composed configuration names there; None: no class."""
    *parents, name = path
    for parent in parents:
        config = config.get(parent) if isinstance(config, Mapping) else None
    return _parameter(config.get("_target_"), name) if isinstance(config, Mapping) else None


def _parameter(target: Any, name: str) -> Any:
    if not isinstance(target, str) or target.partition(".")[0] not in LOOKED_AT:
        return None
    return parameters(target).get(name)


def _type_of(default: Any) -> Any:
    """The type implied by a default; None: none is."""
    if isinstance(default, str):
        whole_interpolation = default.startswith("${") and default.endswith("}") and default.count("${") == 1
        return None if whole_interpolation and ":" not in default else str
    if isinstance(default, bool | int):
        return type(default)
    if isinstance(default, float):
        return float
    if isinstance(default, list):
        kinds = {_type_of(value) for value in default} - {None}
        if kinds <= {int, float} and kinds:
            return list[float]
        return list[kinds.pop()] if len(kinds) == 1 else list  # type: ignore[misc]
    return None


def _bounded(name: str, hint: Any) -> Any:
    """A hint with the bounds of the numbers of this name."""
    if name not in BOUNDS or hint is None:
        return hint
    span = Range(*BOUNDS[name])
    return union([Annotated[member, span] if member in (int, float) else member for member in members(hint)])


# -- before Hydra composes ---------------------------------------------------------------------------------------------


def typed(arguments: Sequence[str], settings: Settings) -> list[str]:
    """The arguments of a command line, quoted for Hydra."""
    sweeping = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [each for argument in arguments if (each := quoted(argument, settings, sweeping)) or not argument]


def quoted(argument: str, settings: Settings, sweeping: bool = False) -> str:
    """A setting as typed, quoted for Hydra if it takes text or a path, so that it is taken literally.

    The path of an existing file or folder is quoted whole, whatever its name. Otherwise the items of a list and, in a
    sweep, the values between commas are quoted one by one, unless they are quoted already. ``${…}`` refers to another
    setting if there is one of that name.

    Args:
        argument: of the command line.
        settings: of the verb.
        sweeping: whether commas separate the values of a sweep.
    """
    name, equals, value = argument.partition("=")
    plain_name = name.lstrip("+")
    if not equals or not value or argument.startswith("~"):
        return argument
    if settings.is_group(plain_name):
        return _chosen(name, value, settings)
    hint = settings.hint(plain_name)
    if hint is None or not (is_text(hint) or text_items(hint) is not None):
        return argument
    return f"{name}={_Quoting(settings, sweeping)(value, hint)}"


def _chosen(group: str, choice: str, settings: Settings) -> str:
    """A choice of a group: a file's name, even if it looks like a number; null, also in a sweep, chooses none."""
    if group in settings.choosable:
        choice = NULL.sub("[]", choice)  # an empty list: Hydra itself takes no null
    number = isinstance(_read(choice), int | float)
    return f"{group}='{choice}'" if number else f"{group}={choice}"


class _Quoting:
    """Quotes the input for settings that take text."""

    def __init__(self, settings: Settings, sweeping: bool) -> None:
        self._settings = settings
        self._sweeping = sweeping

    def __call__(self, value: str, hint: Any) -> str:
        if is_place(hint) and is_text(hint) and _is_there(value):
            return self._text(value)
        if self._sweeping:
            if SWEEPS.fullmatch(value):
                return value
            return ",".join(self._one(part, hint) for part in split_at_commas(value))
        return self._one(value, hint)

    def _one(self, value: str, hint: Any) -> str:
        """A value that is not swept."""
        if is_place(hint) and is_text(hint) and _is_there(value):
            return self._text(value)
        if QUOTED.fullmatch(value) or (value == "null" and NoneType in members(hint)):
            return value
        items = text_items(hint)
        if items is not None and (inside := _inside_brackets(value)) is not None:
            return (
                f"[{','.join(self._one(part, items) for part in split_at_commas(inside))}]" if inside.strip() else "[]"
            )
        if is_text(hint) or items is None:
            return self._text(value)
        if any(member in (str, Path) for member in members(hint)) or fits(_read(value), hint):
            return value
        return self._text(value)  # the setting takes a list, and the error will quote the input

    def _text(self, text: str) -> str:
        """Text for Hydra, quoted unless Hydra reads it unchanged."""
        if "${" in text and not self._interpolates(text):
            text = literal(text)
        elif _read(text) == text:
            return text
        escaped = re.sub(r"(\\*)('|$)", lambda match: 2 * match[1] + ("\\'" if match[2] else ""), text)
        return f"'{escaped}'"

    def _interpolates(self, text: str) -> bool:
        """Whether every ``${…}`` refers to another setting or to a resolver."""
        setup_globals()  # Hydra's own resolvers
        try:
            parse_interpolation(text)
        except OmegaConfBaseException:
            return False
        return all(
            OmegaConf.has_resolver(word.partition(":")[0]) if ":" in word else bool(self._settings.known(word))
            for word in OPENING.findall(text)
            if not word.startswith(".")
        )


def _read(text: str) -> Any:
    """A value as Hydra reads it; None if it cannot, or would sweep it."""
    try:
        override = OverridesParser.create().parse_override(f"x={text}")
    except (HydraException, ValueError):
        return None
    return None if override.is_sweep_override() else override.value()


def _is_there(path: str) -> bool:
    """Whether there is a file or folder of exactly this name."""
    try:
        return os.path.lexists(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False


def _inside_brackets(value: str) -> str | None:
    """The inside of a list, as typed; None for what is not a list, such as ``[1999] Band/[12]*.mp3``."""
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    depth = 0
    for position, letter in _outside_quotes(text):
        depth += (letter == "[") - (letter == "]")
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 else None
    return None


def split_at_commas(text: str) -> list[str]:
    """The parts of a text between commas outside quotes and brackets, without surrounding blanks.

    Example:
        >>> split_at_commas("[a,b], 'c,d',${when:e,f}")
        ['[a,b]', "'c,d'", '${when:e,f}']
    """
    ends, parts, first = [], [], 0
    for position, letter in _outside_quotes(text):
        if letter in BRACKETS and BRACKETS[letter] in text[position:]:
            ends.append(BRACKETS[letter])
        elif ends and letter == ends[-1]:
            ends.pop()
        elif letter == "," and not ends:
            parts.append(text[first:position].strip())
            first = position + 1
    return [*parts, text[first:].strip()]


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """The positions and characters of a text outside quoted items; an apostrophe within a word opens no quote."""
    position = 0
    while position < len(text):
        begins = position == 0 or text[:position].rstrip()[-1:] in (",", "[", "(", "")
        if (
            begins
            and (match := QUOTED.match(text, position))
            and text[match.end() :].lstrip()[:1] in (",", "]", ")", "")
        ):
            position = match.end()
            continue
        yield position, text[position]
        position += 1


def literal(value: Any) -> Any:
    """Plain values, escaped for OmegaConf, which would read ``${…}`` in a text as a reference to a setting."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", value)
    if isinstance(value, Mapping):
        return {name: literal(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]
    return value


# -- after it has ------------------------------------------------------------------------------------------------------


def check(config: DictConfig, settings: Settings) -> None:
    """Check that every setting is of its type; a file's whole numbers become text where text is expected.

    Args:
        config: composed; changed in place.
        settings: of the verb.

    Raises:
        ArtistidError: for the first that is not, or is missing.
    """
    for name in settings.required:
        if name not in config:
            raise ArtistidError(f"{name} is missing: {_wanted(settings, name)}")
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ArtistidError(f"{_culprit(config, error)}: {first_line(error)}") from error
    for name, value in _leaves(plain, settings, plain):
        hint = settings.hint(name, plain)
        converted = _as_text(value, hint)
        if not fits(converted, hint):
            remedy = f"; write {name}=[{value}]" if isinstance(value, str) and fits([value], hint) else ""
            raise ArtistidError(f"{name}={shown(value)}: expected {in_words(hint)}{remedy}")
        if converted != value:
            OmegaConf.update(config, name, literal(converted))


def _leaves(part: Mapping[str, Any], settings: Settings, plain: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings whose types are known, and their values; raises ArtistidError for a value in place of settings."""
    for key, value in part.items():
        name = f"{above}{key}"
        hint = settings.hint(name, plain)
        if hint is not None:
            yield name, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, settings, plain, f"{name}.")
        elif below := settings.sections(name):
            raise ArtistidError(f"{name}={shown(value)}: expected settings of its own: {', '.join(below)}")


def _culprit(config: DictConfig, error: OmegaConfBaseException) -> str:
    """The setting that cannot be resolved, as written: the one with the interpolation that leads nowhere."""
    wanted = re.search(r"key '([^']+)' not found", str(error))
    written: Any = OmegaConf.to_container(config, resolve=False)
    texts = [(name, value) for name, value in _flat(written) if isinstance(value, str)]
    marks = ["${" + wanted[1]] if wanted else []
    for name, text in texts:
        if any(mark in text for mark in marks) or text == "???":
            return f"{name}={text}"
    return error.full_key or "the settings"


def _flat(part: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from _flat(value, f"{above}.{key}" if above else str(key))
    elif isinstance(part, list):
        for value in part:
            yield from _flat(value, above)
    else:
        yield above, part


def _as_text(value: Any, hint: Any) -> Any:
    """Whole numbers as text where only text is expected."""
    if type(value) is int and is_text(hint):
        return str(value)
    if isinstance(value, list) and (items := text_items(hint)) is not None:
        return [_as_text(item, items) for item in value]
    return value


def _wanted(settings: Settings, name: str) -> str:
    if below := settings.sections(name):
        return f"it has settings of its own ({', '.join(below)})"
    if settings.is_group(name):
        return f"expected {name}=NAME, such as {settings.groups.get(name)}"
    hint = settings.hint(name)
    return f"expected {in_words(hint)}" if hint is not None else "expected a value"


def shown(value: Any) -> str:
    """A value as it might be typed, cut if long."""
    plain: Any = OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
    if plain is None or isinstance(plain, bool):
        text = str(plain).lower().replace("none", "null")
    elif isinstance(plain, list):
        text = f"[{', '.join(map(shown, plain))}]"
    elif isinstance(plain, dict):
        text = f"{{{', '.join(f'{name}: {shown(each)}' for name, each in plain.items())}}}"
    else:
        text = repr(plain)
    return text if len(text) <= 100 else f"{text[:100]}…"


def first_line(error: BaseException) -> str:
    """The first line of a library's error, without those that it adds for programmers."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def closest(name: str, names: Sequence[str]) -> str:
    """A suggestion of what may have been meant; empty if no name is similar."""
    alike = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {alike[0]}?" if alike else ""


# The extras that install plugins of Hydra.
PLUGINS = {
    "hydra/sweeper/optuna": "optuna",
    **{f"hydra/launcher/{name}": "launchers" for name in ("joblib", "submitit_local", "submitit_slurm")},
}

# Hydra's messages about a setting or choice that it does not know.
UNKNOWN_SETTING = re.compile(r"Could not (?:override|append to) '([^']+)'")
NO_CHOICE = re.compile(r"Could not find '([^']+)'")
AMBIGUOUS = re.compile(r"Ambiguous value for argument '([^=']+=.*?)'\n", re.DOTALL)


def composing(error: Exception, settings: Settings) -> str:
    """Why Hydra could not compose the configuration, in a sentence."""
    message = str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: expected setting=value, with inner quotes around text that has "
            "special characters, as in '+notes=\"…\"'"
        )
    if match := AMBIGUOUS.search(message):
        return f"{match[1]}: expected one value; -m runs each of several in turn"
    if match := UNKNOWN_SETTING.search(message):
        alike = closest(match[1], settings.names)
        return f"{match[1]} is not a setting of {settings.verb}{alike}; +{match[1]}=… would add it"
    if match := NO_CHOICE.search(message):
        group, _, choice = match[1].rpartition("/")
        if extra := PLUGINS.get(match[1]):
            return f"{group}={choice} needs a Hydra plugin: pip install 'artistid[{extra}]'"
        return f"{group}={choice}: expected one of {', '.join(settings.choices(group)) or 'the files in conf/'}"
    return re.sub(r"\s*\n\s*", "; ", message.strip())
