"""The ways out to a terminal or a log, and what may pass them.

Names come from strangers' files, and what a terminal takes for a command may be in them: colours, a cursor that moves,
letters that run backwards. So nothing is printed but through here, or through :mod:`artistid.terminal` where it has
colours and columns; formats for other programs, JSON and CSV, keep names as they are.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import textwrap
import warnings
from io import TextIOWrapper
from typing import TextIO

from artistid.data.catalog import nfc

_as_python_does = warnings.formatwarning

COLUMNS = 80  # of a terminal that does not say how many it has

REPLACEMENT = "\ufffd"
# C0 and C1 but for tab and newline, separators of lines, what changes the direction of writing, halves of characters.
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: object) -> str:
    r"""A name in one line, as any terminal can show it: what is not text becomes U+FFFD.

    Example:
        >>> printable("Sigur\nRós\x1b[2J")
        'Sigur\ufffdRós\ufffd[2J'
    """
    text = nfc(os.fspath(name) if isinstance(name, os.PathLike) else str(name))
    return shown(text).replace("\n", REPLACEMENT).replace("\t", REPLACEMENT)


def shown(text: str) -> str:
    """Text of several lines, without anything else that a terminal would not simply show."""
    return COMMANDS.sub(REPLACEMENT, text)


def say(*lines: str, to: TextIO | None = None) -> None:
    """Print lines, by default on standard output, at once."""
    stream = sys.stdout if to is None else to
    print(*(fitted(shown(line), stream) for line in lines), sep="\n", file=stream, flush=True)


def fitted(text: str, stream: TextIO) -> str:
    """Text as a terminal shows it in whole words: its lines end before one that does not fit.

    Elsewhere, in a file or on the way to another program, a line stays one.
    """
    if not stream.isatty():
        return text
    columns, _ = shutil.get_terminal_size((COLUMNS, 0))
    return "\n".join(line if len(line) <= columns else _filled(line, columns) for line in text.split("\n"))


def _filled(line: str, columns: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, columns, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """As Python words a warning, which may repeat a name: for ``warnings.formatwarning``."""
    return fitted(shown(_as_python_does(message, category, filename, lineno, line)), sys.stderr)


class Formatter(logging.Formatter):
    """For the console and for logs, which are read in a terminal, too."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def show_any_text() -> None:
    """Let a terminal or a file in an encoding that lacks letters get ``?`` for them, and no command end for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
