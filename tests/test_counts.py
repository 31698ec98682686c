"""A number beside a noun goes through ``counted``, in Python, pages and their scripts: no "1 songs", nowhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import artistid
from artistid.errors import counted

PACKAGE = Path(artistid.__file__).parent
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
PAGES = sorted(path for ending in ("js", "jinja") for path in PACKAGE.rglob(f"*.{ending}") if ".min." not in path.name)


def nouns() -> set[str]:
    """The plurals of whatever is counted anywhere in the package."""
    calls = (node for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(node, ast.Call))
    texts = (
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == counted.__name__
        and isinstance(call.args[1], ast.Constant)
    )
    return {f"{str(text).split()[0]}s" for text in texts}


# An adjective may come between, as in "3 test songs"; a verb or "of" may not.
PLURAL = rf" (?:(?!of |in |by )[a-z]+(?<!s) )?(?:{'|'.join(sorted(nouns()))})\b"


def uncounted(tree: ast.AST) -> Iterator[str]:
    """Where in a module a number stands before a plural; what is written in capitals is never 1."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for number, text in pairwise(node.values):
                if isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant):
                    written = ast.unparse(number.value)
                    if re.match(PLURAL, str(text.value)) and not re.fullmatch(r"(len\()?(\w+\.)?[A-Z_]+\)?", written):
                        yield f"{{{written}}}{text.value}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(rf"%d{PLURAL}", node.value):
            yield node.value


def test_programs_count_in_words() -> None:
    assert not {path.name: found for path, tree in SOURCES.items() if (found := list(uncounted(tree)))}


def test_pages_count_in_words() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    assert not {name: found for name, text in texts.items() if (found := re.findall(rf".*\}}{PLURAL}.*", text))}


def test_what_is_looked_for_is_found() -> None:
    assert {"songs", "tracks", "files", "artists", "albums", "clips", "runs"} < nouns()
    code = """f"{n} songs", f"{len(x)} test clips", f"{counted(n, 'song')} here", f"{MOST} songs", "%d of %d tracks" """
    assert list(uncounted(ast.parse(code))) == ["{n} songs", "{len(x)} test clips", "%d of %d tracks"]
