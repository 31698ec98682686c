"""Output to a terminal or a log, without control characters.

Names come from other people's files, and may contain what a terminal takes for commands: colours, cursor movements,
right-to-left overrides. So everything is printed through here, or through :mod:`artistid.terminal` if it has colours
and columns; formats for other programs, JSON and CSV, keep names as they are.
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

COLUMNS = 80  # of a terminal that does not report its width

REPLACEMENT = "\ufffd"
# C0 and C1 except tab and newline, line separators, bidirectional controls, surrogates.
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
    """Text of several lines, with all other control characters replaced."""
    return COMMANDS.sub(REPLACEMENT, text)


def say(*lines: str, to: TextIO | None = None) -> None:
    """Print lines, by default on standard output, at once."""
    stream = sys.stdout if to is None else to
    print(*(fitted(shown(line), stream) for line in lines), sep="\n", file=stream, flush=True)


def fitted(text: str, stream: TextIO) -> str:
    """Text wrapped between words to the width of a terminal.

    Elsewhere, in a file or a pipe, lines are not wrapped.
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
    """Python's own wording of a warning, cleaned, since it may repeat a name: for ``warnings.formatwarning``."""
    return fitted(shown(_as_python_does(message, category, filename, lineno, line)), sys.stderr)


class Formatter(logging.Formatter):
    """For the console, and for logs, which are also read in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def show_any_text() -> None:
    """Print ``?`` for characters that the encoding of a terminal or file lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
