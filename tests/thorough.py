"""How much is tried of what can be tried by the thousand: a sample, or all of it with ``ARTISTID_THOROUGH=1``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

Case = TypeVar("Case")

THOROUGH = os.environ.get("ARTISTID_THOROUGH") == "1"


def some(cases: Iterable[Case], number: int) -> list[Case]:
    """So many of the cases, from all over them; all where it is to be thorough."""
    listed = list(cases)
    if THOROUGH or number >= len(listed):
        return listed
    return [listed[place * len(listed) // number] for place in range(number)]
