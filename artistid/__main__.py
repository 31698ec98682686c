"""``artistid VERB …``, short for ``python -m artistid.VERB …``; without a verb, it lists the verbs."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO

from artistid import __version__
from artistid.cli import VERBS, command, settings_of
from artistid.manual import overview
from artistid.printing import say
from artistid.settings import closest

SHELLS_QUESTIONS = ("-sc", "--shell-completion")


def main() -> None:
    """Run as the console script."""
    asked, *rest = sys.argv[1:] or ["--help"]
    if asked in ("--help", "-h"):
        say(overview(VERBS))
    elif asked == "--version":
        say(f"artistid {__version__}")
    elif asked in SHELLS_QUESTIONS:
        complete(rest)
    elif asked in VERBS:
        sys.argv[1:] = rest
        runpy.run_module(f"artistid.{asked}", run_name="__main__", alter_sys=True)
    else:
        say(f"error: {asked}: expected one of {', '.join(VERBS)}{closest(asked, list(VERBS))}", to=sys.stderr)
        sys.exit(1)


def complete(arguments: Sequence[str]) -> None:
    """Complete a shell's command line with Hydra's completion, which knows settings but not the verb before them.

    Args:
        arguments: of Hydra: ``install=bash``, ``uninstall=bash``, or ``query=bash`` with the line in ``COMP_LINE``.
    """
    sys.argv = ["artistid", SHELLS_QUESTIONS[0], *arguments]
    if not any(argument.startswith("query=") for argument in arguments):
        command(next(iter(VERBS)))
        return
    _, _, line = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
    verb, blank, rest = line.lstrip().partition(" ")
    if not blank:
        say(*(name for name in VERBS if name.startswith(verb)))
    elif verb in VERBS:
        say(*_suggestions(verb, rest))


def _suggestions(verb: str, line: str) -> list[str]:
    """Hydra's suggestions for the last word of a verb's settings, without other verbs' groups."""
    os.environ["COMP_LINE"] = f"artistid {line}"
    answer = StringIO()
    with redirect_stdout(answer), redirect_stderr(StringIO()), suppress(SystemExit):
        command(verb)
    settings = settings_of(verb)
    return [word for word in answer.getvalue().split() if settings.takes(re.split("[=./]", word.lstrip("+~"))[0])]


if __name__ == "__main__":
    main()
