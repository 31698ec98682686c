from __future__ import annotations

import pytest

from artistid.reporting import published

# The paper's Tables IV and V as they are printed: average and best by clip length.
PRINTED = {
    ("frame", "song"): ((0.729, 0.765, 0.770, 0.787, 0.768, 0.764), (0.733, 0.768, 0.779, 0.772, 0.792, 0.771)),
    ("frame", "album"): ((0.482, 0.513, 0.536, 0.538, 0.534, 0.603), (0.516, 0.527, 0.550, 0.560, 0.553, 0.612)),
    ("song", "song"): ((0.929, 0.937, 0.918, 0.902, 0.861, 0.846), (0.944, 0.966, 0.930, 0.915, 0.880, 0.851)),
    ("song", "album"): ((0.641, 0.651, 0.652, 0.630, 0.568, 0.674), (0.700, 0.653, 0.662, 0.683, 0.609, 0.691)),
}


@pytest.mark.parametrize(("level", "split"), PRINTED)
def test_trials_give_the_printed_tables_save_the_misprints(level: str, split: str) -> None:
    for seconds, average, best in zip(published.CLIPS, *PRINTED[level, split], strict=True):
        cell = published.cell(level, split, seconds)
        assert cell is not None
        assert cell.trials == 3
        assert cell.misprints.get("average", cell.average) == pytest.approx(average, abs=6e-4), seconds
        assert cell.misprints.get("best", cell.best) == pytest.approx(best, abs=6e-4), seconds
        for name, printed in cell.misprints.items():
            assert abs(getattr(cell, name) - printed) > 0.01


def test_corrected_values() -> None:
    swapped, wrong = published.cell("frame", "song", 10), published.cell("song", "album", 20.0)
    assert swapped is not None
    assert wrong is not None
    assert (round(swapped.average, 3), round(swapped.best, 3)) == (0.772, 0.787)
    assert (round(wrong.average, 3), wrong.misprints) == (0.586, {"average": 0.568})


def test_what_was_never_published() -> None:
    assert published.cell("frame", "song", 7) is None
    assert published.cell("frame", "file", 3) is None
