"""Runs a command of the documentation as it stands there, but quickly: ``python -m tests.documented VERB SETTING …``.

What the command does not set itself is set to a size at which scores mean nothing.
"""

from __future__ import annotations

import re
import runpy
import sys

QUIET = {"workers": "0"}
OF_DATA = ("prepare", "train", "evaluate", "embed", "report")
TRAINING = {
    "data": "synthetic_tiny",
    "clip": "1s",
    "figures": "false",
    "trainer.max_epochs": "1",
    "trainer.enable_progress_bar": "false",
}
# What chooses its own clips, and what knows no epochs.
CHOOSES_CLIPS = re.compile(r"model=(mandel|song|statistics|ivector)|experiment=|switch=")
WITHOUT_EPOCHS = re.compile(r"model=(mandel|whitman|ellis|statistics|ivector|probe|majority|random)")


def quickly(verb: str, settings: list[str]) -> list[str]:
    """The settings of a verb, and those that make it quick."""
    if any(setting.startswith("--") and not setting.startswith("--config-dir") for setting in settings):
        return settings  # it asks for help, or what it composes
    given = {setting.lstrip("+~").partition("=")[0] for setting in settings}
    added = dict(QUIET) if verb in OF_DATA else {}
    if verb == "train":
        added |= TRAINING
        if any(CHOOSES_CLIPS.match(setting) for setting in settings):
            del added["clip"]
        if any(WITHOUT_EPOCHS.match(setting) for setting in settings):
            del added["trainer.max_epochs"]
        if "unknown_artists" in given:
            added["data.n_artists"] = "4"
        if "experiment=smoke" in settings:
            added = {}
        if "trainer.fast_dev_run" in given:
            del added["trainer.max_epochs"]
    if verb == "evaluate":
        added |= {"trainer.enable_progress_bar": "false"}
    if verb == "report":
        added |= {"draws": "10"}
    return [*settings, *(f"{name}={value}" for name, value in added.items() if name not in given)]


if __name__ == "__main__":
    verb, *settings = sys.argv[1:]
    sys.argv[1:] = quickly(verb, settings)
    runpy.run_module(f"artistid.{verb}", run_name="__main__", alter_sys=True)
