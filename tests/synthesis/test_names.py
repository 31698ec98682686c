from __future__ import annotations

import numpy as np

from artistid.synthesis.discography import FIRST, SECOND, nth_name


def test_names_differ_and_do_not_depend_on_how_many_there_are() -> None:
    everything = len(FIRST) * len(SECOND)
    names = [nth_name(np.random.default_rng(0), n) for n in (*range(300), everything - 1, everything)]
    assert len(set(names)) == len(names)
    assert names[300 + 1] == names[0] + "_2"


def test_another_seed_finds_other_names() -> None:
    assert nth_name(np.random.default_rng(0), 0) != nth_name(np.random.default_rng(1), 0)
