"""For mkdocs: the pages that are made when the site is built, so that they say what the code says.

The verbs and their settings come from ``conf/`` and its comments, tables of file formats from their JSON Schemas, and
the project's pages from the files at the top of the repository.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from artistid.cli import VERBS  # noqa: E402
from artistid.config import config_dir  # noqa: E402
from artistid.manual import PARTS_OWN, comments, purpose  # noqa: E402
from artistid.settings import Settings, shown  # noqa: E402

SCHEMAS = (*ROOT.glob("artistid/schemas/*.schema.json"), *ROOT.glob("artistid/inference/*.schema.json"))
PROJECT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "security": "SECURITY.md"}
SPECIAL = re.compile(r"([\\`*_\[\]|#])")
TABLE = re.compile(r"<!-- schema: (\S+) -->")  # in a page: the table of a schema goes here
GENERATED = ("reference/verbs/", "reference/settings/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation: a page per verb and per group, and under Guides what lies in ``docs/`` unlisted."""
    listed = set(_pages(config.nav))
    found = sorted(path.name for path in Path(config.docs_dir).glob("*.md"))
    for section in config.nav or ():
        if "Guides" in section:
            section["Guides"] += [name for name in found if name not in listed]
        if "Reference" in section:
            entries = {"reference/verbs/": _verb_pages(), "reference/settings/": _group_pages()}
            for entry in section["Reference"]:
                for title, value in entry.items() if isinstance(entry, dict) else ():
                    if value in GENERATED:
                        entry[title] = [f"{value}index.md", *(f"{value}{name}.md" for name in entries[value])]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the schemas as they are."""
    made: dict[str, str | bytes] = {
        "reference/verbs/index.md": "\n".join(_verb_index()),
        "reference/settings/index.md": "\n".join(_group_index()),
        **{f"reference/verbs/{verb}.md": "\n".join(_verb_page(verb)) for verb in _verb_pages()},
        **{f"reference/settings/{group}.md": "\n".join(_group_page(group)) for group in _group_pages()},
        **{f"project/{name}.md": _of_site((ROOT / file).read_text("utf-8")) for name, file in PROJECT.items()},
        **{f"reference/schemas/{path.name}": path.read_bytes() for path in SCHEMAS},
    }
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table of a schema where a page asks for it."""
    schemas = {path.name.removesuffix(".schema.json"): path for path in SCHEMAS}
    return TABLE.sub(lambda match: "\n".join(_schema_table(json.loads(schemas[match[1]].read_text("utf-8")))), markdown)


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, Mapping) else nav or ():
            yield from _pages(entry)


def _of_site(markdown: str) -> str:
    """A file of the repository's top as a page of ``project/``: links to pages stay links, others become their text."""
    names = {file: f"{name}.md" for name, file in PROJECT.items()}

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        if target.startswith("docs/"):
            return f"[{text}](../{target.removeprefix('docs/')})"
        if target in names:
            return f"[{text}]({names[target]})"
        return match[0] if re.match(r"https?://|#", target) else text

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", link, markdown)


# -- verbs and settings ------------------------------------------------------------------------------------------------


def _verb_pages() -> list[str]:
    return list(VERBS)


def _group_pages() -> list[str]:
    """The groups that any verb chooses from."""
    groups = dict.fromkeys(group for verb in VERBS for group in _settings(verb).choosable if "/" not in group)
    return list(groups)


def _settings(verb: str) -> Settings:
    return Settings(verb, [config_dir()])


def _verb_index() -> Iterator[str]:
    yield "# Verbs\n"
    yield "`artistid VERB setting=value …` is short for `python -m artistid.VERB setting=value …`;"
    yield "`artistid VERB --help` says the same as these pages. They are made from `conf/` and its comments.\n"
    yield "| verb | what it does |\n|---|---|"
    yield from (f"| [`{verb}`]({verb}.md) | {_safe(purpose(verb))} |" for verb in VERBS)


def _verb_page(verb: str) -> Iterator[str]:
    settings = _settings(verb)
    header: str = settings.roots[0]["hydra"]["help"]["header"]
    examples = [line.strip() for line in header.strip().split("\n")[1:]]
    says = purpose(verb)
    yield f"# {verb}\n\n{_safe(says[:1].upper() + says[1:])}.\n"
    if examples:
        yield "```sh\n" + "\n".join(examples) + "\n```\n"
    own: dict[str, Any] = {}
    words: dict[str, str] = {}
    for file in reversed(settings.files(verb)):
        words |= comments(config_dir() / f"{file}.yaml")
    for document in (*settings.roots[:1], *settings.roots[1:]):
        for name, value in document.items():
            if name not in ("defaults", "hydra", *settings.choosable):
                own |= {key: default for key, default in _leaves(name, value) if key not in own}
    yield "## Settings\n"
    yield from _table(own, words)
    if settings.choosable:
        yield "\n## Groups\n\nEach names a file of `conf/`; the default is the first column's.\n"
        yield "| group | default | choices |\n|---|---|---|"
        for group, default in settings.choosable.items():
            choices = ", ".join(f"`{choice}`" for choice in settings.choices(group))
            target = f"[`{group}=`](../settings/{group}.md)" if "/" not in group else f"`{group}=`"
            yield f"| {target} | {_code(default)} | {choices} |"
    yield "\nHydra's own, such as `-m` for a sweep or `--cfg job` to print the composed settings: `--hydra-help`.\n"


def _group_index() -> Iterator[str]:
    yield "# Groups of settings\n"
    yield "A group is a folder of `conf/`, a choice a file in it. `data=folder` makes a choice, `data.root=PATH` sets"
    yield "one of its settings. A file of yours joins a group with `--config-dir=.`: [Extending](../../extending.md).\n"
    yield "| group | chosen by | choices |\n|---|---|---|"
    for group in _group_pages():
        verbs = [verb for verb in VERBS if group in _settings(verb).choosable]
        named = ", ".join(f"[`{verb}`](../verbs/{verb}.md)" for verb in verbs)
        choices = ", ".join(f"`{choice}`" for choice in _settings(verbs[0]).choices(group))
        yield f"| [`{group}=`]({group}.md) | {named} | {choices} |"


def _group_page(group: str) -> Iterator[str]:
    settings = next(settings for settings in map(_settings, VERBS) if group in settings.choosable)
    yield f"# {group}=\n"
    for choice in settings.choices(group):
        yield f"## {group}={choice}\n\n{_safe(_heading(config_dir() / group / f'{choice}.yaml'))}\n"
        leaves: dict[str, Any] = {}
        words: dict[str, str] = {}
        for file in reversed(settings.files(f"{group}/{choice}")):
            path = config_dir() / f"{file}.yaml"
            at = _package(path, group)
            words |= {f"{at}{name}": says for name, says in comments(path).items()}
            for document in settings.documents(file):
                for name, value in document.items():
                    if name == "defaults":
                        leaves |= _chosen(value)
                    elif name != "hydra":
                        leaves |= {f"{at}{key}": default for key, default in _leaves(name, value)}
        yield from _table(leaves, words)
        yield ""


def _package(path: Path, group: str) -> str:
    """Where the settings of a file go: below its group, unless it says another place."""
    named = re.search(r"^# @package (\S+)", path.read_text("utf-8"), re.MULTILINE)
    return "" if named and named[1] == "_global_" else f"{named[1] if named else group}."


def _chosen(defaults: list[Any]) -> dict[str, Any]:
    """What a list of defaults chooses of other groups."""
    chosen = [each for each in defaults if isinstance(each, Mapping)]
    return {name.split()[-1].lstrip("/"): choice for each in chosen for name, choice in each.items()}


def _heading(path: Path) -> str:
    """The comment that a file begins with."""
    lines = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for below, each in value.items():
            yield from _leaves(f"{name}.{below}", each)
    elif not any(PARTS_OWN.fullmatch(part) for part in name.split(".")[-1:]):
        yield name, value


def _table(leaves: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    if not leaves:
        yield "It has no settings."
        return
    yield "| setting | default | what it is |\n|---|---|---|"
    for name, value in leaves.items():
        yield f"| `{name}=` | {_code(value)} | {_safe(words.get(name, ''))} |"


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else shown(value)
    return f"<code>{_entities(text)}</code>" if text else ""


def _entities(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;").replace("{", "&#123;").replace("}", "&#125;")


def _safe(text: str) -> str:
    """Words of a comment as Markdown that says them as they are."""
    escaped = SPECIAL.sub(lambda match: f"&#{ord(match[1])};", html.escape(text, quote=False).replace("&", "\0"))
    return escaped.replace("\0", "&").replace("{", "&#123;").replace("}", "&#125;")


# -- file formats ------------------------------------------------------------------------------------------------------


def _schema_table(schema: Mapping[str, Any]) -> Iterator[str]:
    """A table of the properties of a JSON Schema, nested ones by their dotted names."""
    yield "| name | type | what it is |\n|---|---|---|"
    for name, each, required in _properties(schema, schema, ""):
        optional = "" if required else " May be missing."
        words = f"{each.get('description', '')}{optional}".strip()
        yield f"| <code>{_entities(name)}</code> | {_kind(each)} | {_safe(words)} |"


def _properties(
    node: Mapping[str, Any], whole: Mapping[str, Any], at: str
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    required = node.get("required", ())
    for name, value in node.get("properties", {}).items():
        each = _resolved(value, whole)
        yield f"{at}{name}", each, name in required
        yield from _properties(each, whole, f"{at}{name}.")
        if isinstance(each.get("items"), Mapping):
            yield from _properties(_resolved(each["items"], whole), whole, f"{at}{name}[].")
    for pattern, value in node.get("patternProperties", {}).items():
        yield f"{at}{pattern.strip('^$').replace('.+', '<artist>')}", _resolved(value, whole), True


def _resolved(value: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in value:
        found = whole
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return {**found, **{key: each for key, each in value.items() if key != "$ref"}}
    return dict(value)


def _kind(each: Mapping[str, Any]) -> str:
    if "enum" in each:
        return " or ".join(f"`{value}`" for value in each["enum"])
    if "anyOf" in each:
        return " or ".join(dict.fromkeys(_kind(one) if "$ref" not in one else "number" for one in each["anyOf"]))
    kinds = each.get("type", "any")
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)
