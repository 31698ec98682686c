"""Invented names for artists, albums and songs: they say nothing of what they name.

The n-th name of a seed does not depend on how many are asked for, and the first ``len(FIRST) * len(SECOND)`` all
differ.
"""

from __future__ import annotations

import numpy as np

# fmt: off
FIRST = (
    "amber", "brazen", "cobalt", "crooked", "distant", "electric", "faded", "feral", "gentle", "gilded", "hollow",
    "idle", "ivory", "jagged", "lunar", "marble", "mellow", "midnight", "narrow", "northern", "opal", "paper", "pale",
    "quiet", "restless", "rusty", "salted", "scarlet", "silver", "sleepless", "slow", "solar", "static", "sudden",
    "tangled", "velvet", "violet", "wandering", "wild", "winter",
)
SECOND = (
    "anchors", "antlers", "arcade", "avenue", "birds", "cartel", "causeway", "choir", "comets", "compass", "dialect",
    "embers", "engines", "ferries", "foxes", "garden", "harbour", "heirs", "hours", "islands", "kites", "ladder",
    "lanterns", "letters", "lighthouse", "meridian", "mirrors", "orchard", "parade", "pilots", "postcards", "quarry",
    "reverie", "rivers", "rooftops", "satellites", "sparrows", "theory", "thunder", "tides",
)
# fmt: on


def nth_name(rng: np.random.Generator, n: int) -> str:
    """Two words, lower case, joined by an underscore; ``rng`` must be fresh."""
    order = rng.permutation(len(FIRST) * len(SECOND))
    lap, place = divmod(n, len(order))
    first, second = divmod(int(order[place]), len(SECOND))
    name = f"{FIRST[first]}_{SECOND[second]}"
    return f"{name}_{lap + 1}" if lap else name
