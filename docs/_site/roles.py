"""For mkdocstrings: docstrings as it reads them. Roles of Sphinx become code, and an example is one of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|attr|data|mod):`~?([^`]+)`")
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)  # griffe knows the plural


class Roles(griffe.Extension):
    """Rewrites the docstring of every object that is collected."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            said = ROLE.sub(lambda match: f"`{match[1].removeprefix('artistid.')}`", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", said)
