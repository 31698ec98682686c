"""A module that numba compiles something of."""

from __future__ import annotations

import os
from pathlib import Path

import numba

from artistid.compilation import numba_cache

with numba_cache(__name__):

    @numba.njit(cache=True)
    def twice(number: int) -> int:
        return number + number


def rehearse() -> None:
    twice(1)
    twice(1.0)
    with Path(os.environ["REHEARSALS"]).open("a") as file:
        file.write("compiled\n")
