from __future__ import annotations

import itertools
import mmap
from pathlib import Path

import numpy as np
import pytest

from artistid.benchmarking.measuring import Figure, in_turn, memory_mb, spread


def test_ratios_are_taken_round_by_round() -> None:
    # A machine that is slowed to a third in its second round slows both: the ratio stays.
    figure = Figure("clips_per_s", (30.0, 10.0, 33.0), "a peer", (10.0, 3.0, 10.0))
    assert figure.ratios == pytest.approx((3, 10 / 3, 3.3))
    assert figure.plain() == {
        "clips_per_s": 30,
        "clips_per_s_range": [10, 33],
        "clips_per_s_peer": {
            "name": "a peer",
            "median": 10,
            "range": [3, 10],
            "ratio": 3.3,
            "ratio_range": [3, 3.333],
        },
    }


def test_measurements_are_taken_in_turn() -> None:
    order = itertools.count()
    assert in_turn(3, lambda: next(order), lambda: next(order)) == [[0, 2, 4], [1, 3, 5]]


def test_a_spread_in_words() -> None:
    assert spread([0.12345, 0.1, 0.2]) == "0.123 (0.1 to 0.2)"
    assert spread([12345.6]) == "12346"


@pytest.mark.skipif(memory_mb() is None, reason="this system does not tell")
def test_memory_of_this_process_is_its_own(tmp_path: Path) -> None:
    megabytes = 200
    before = memory_mb()
    own = mmap.mmap(-1, megabytes * 1_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with (tmp_path / "mapped").open("wb") as file:
        for _ in range(megabytes):
            own.write(bytes(1_000_000))
            file.write(bytes(1_000_000))
    read = np.memmap(tmp_path / "mapped", np.uint8, "r").sum()  # of the page cache: not its own
    after = memory_mb()
    own.close()
    assert read == 0
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(megabytes, abs=60)
