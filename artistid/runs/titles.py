"""Readable titles of data sets, for headings and captions; files keep the exact names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from artistid.errors import counted

SYNTHETIC = re.compile(
    r"synthetic-(?P<artists>\d+)x(?P<albums>\d+)x(?P<songs>\d+)x(?P<seconds>[\d.]+)s"
    r"-style(?P<style>[\d.]+)-producer(?P<producer>[\d.]+)-seed(?P<seed>\d+)"
)
# Default settings of synthetic music, which its title leaves out.
USUAL = {"seconds": "20", "style": "1", "producer": "1", "seed": "0"}
COLLECTIONS = {
    "mtg_jamendo": "MTG-Jamendo",
    "jamendo20": "MTG-Jamendo's 20 artists",
    "jamendo200": "MTG-Jamendo's 200 artists",
    "fma_small": "FMA small",
    "fma_medium": "FMA medium",
    "fma_large": "FMA large",
    "fma_full": "FMA full",
}


def data_title(name: str) -> str:
    """The readable title of a data set; data sets of different names have different titles.

    Example:
        >>> data_title("synthetic-8x6x4x20s-style1-producer2-seed0")
        'synthetic music (8 artists × 6 albums × 4 songs, producer 2)'
    """
    if not (made := SYNTHETIC.fullmatch(name)):
        return COLLECTIONS.get(name, name)
    return _title_of_composed(made.groupdict())


def _title_of_composed(made: Mapping[str, str]) -> str:
    words = [" × ".join(counted(int(made[f"{noun}s"]), noun) for noun in ("artist", "album", "song"))]
    unusual = {setting: made[setting] for setting, usual in USUAL.items() if made[setting] != usual}
    words += [f"{value} s" if setting == "seconds" else f"{setting} {value}" for setting, value in unusual.items()]
    return f"synthetic music ({', '.join(words)})"


class Producers(NamedTuple):
    """How far apart the productions of composed music lie.

    Attributes:
        of: the title of the music, as if its producers and seed were the usual ones.
        strength: 0 for productions that are alike.
    """

    of: str
    strength: float


def producers_of(name: str) -> Producers | None:
    """The producers of a data set; None where they are not known, since it is not composed.

    Example:
        >>> producers_of("synthetic-8x6x4x20s-style0-producer2-seed3")
        Producers(of='synthetic music (8 artists × 6 albums × 4 songs, style 0)', strength=2.0)
    """
    if not (made := SYNTHETIC.fullmatch(name)):
        return None
    usual = {setting: USUAL[setting] for setting in ("producer", "seed")}
    return Producers(_title_of_composed({**made.groupdict(), **usual}), float(made["producer"]))
