"""A song is as long as what is in it, whatever its header says; and what was cut is noticed."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from artistid.data.audio import DecodingError, NoAudioError, decode
from artistid.data.promised import lacks_its_last_page
from tests.data.lengths import Cell, table

RATE = 16000
FRAME_S = 1152 / 11025  # the longest of the encoders'
# An encoder begins and ends with silence that some formats cannot mark: three frames at most, of each part.
PADDING_S = 3 * FRAME_S


def heard(cell: Cell, folder: Path) -> str:
    """What is wrong; empty if the cell is right."""
    path = cell.write(folder)
    try:
        samples = decode(path, RATE)
    except NoAudioError as error:
        return "" if cell.cut else str(error)
    except DecodingError as error:
        return "" if cell.cut and ("cut short" in str(error) or "to its end" in str(error)) else str(error)
    if cell.cut:
        return "" if lacks_its_last_page(path) else f"cut, and not noticed: {len(samples) / RATE:.2f} s"
    seconds = len(samples) / RATE
    if not math.isnan(cell.seconds) and not cell.seconds - FRAME_S <= seconds <= cell.seconds + 2 * PADDING_S:
        return f"{seconds:.2f} s of {cell.seconds:.2f} s"
    return differs(samples, by_ffmpeg(path), cell.seconds) if shutil.which("ffmpeg") else ""


def by_ffmpeg(path: Path) -> npt.NDArray[np.float32]:
    """As the program decodes it."""
    command = ["ffmpeg", "-v", "quiet", "-i", path, "-map", "a:0", "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout, np.float32)


def differs(ours: npt.NDArray[np.float32], others: npt.NDArray[np.float32], seconds: float) -> str:
    """In length by more than a frame, or in what is heard; of what the other takes, and takes whole."""
    if not len(others) or abs(len(others) / RATE - seconds) > abs(len(ours) / RATE - seconds) + FRAME_S:
        return ""
    if abs(len(ours) - len(others)) > FRAME_S * RATE:
        return f"{len(ours) / RATE:.2f} s, by ffmpeg {len(others) / RATE:.2f} s"
    if (alike := likeness(ours, others)) < 0.95:
        return f"correlation with ffmpeg's {alike:.3f}"
    return ""


def likeness(ours: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> float:
    """The median of the correlations of half seconds with what is within a frame of them: joints may shift a little."""
    n, margin = RATE // 2, round(FRAME_S * RATE)
    found = []
    for start in range(margin, min(len(ours), len(others)) - n - margin, n):
        part = ours[start : start + n] - ours[start : start + n].mean()
        near = others[start - margin : start + n + margin].astype(np.float64)
        products = scipy.signal.correlate(near, part, "valid", "fft")
        power = scipy.signal.correlate(near**2, np.ones(n), "valid", "fft")
        mean = scipy.signal.correlate(near, np.ones(n), "valid", "fft") / n
        norms = np.sqrt(np.maximum(power - n * mean**2, 0)) * np.linalg.norm(part)
        found.append(float((products / (norms + 1e-9)).max()))
    return float(np.median(found))


def check(cells: list[Cell], folder: Path) -> None:
    wrong = {cell.name: fault for cell in cells if (fault := heard(cell, folder))}
    right = Counter(cell.ending for cell in cells if cell.name not in wrong)
    of_all = Counter(cell.ending for cell in cells)
    lines = [f"{ending}: {right[ending]}/{number}" for ending, number in of_all.items()]
    print(f"right {len(cells) - len(wrong)} of {len(cells)} cells ({', '.join(lines)})")
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())


def test_a_sample_of_the_table(tmp_path: Path) -> None:
    """All but the mp3 ones, and of these every eleventh: all of each axis are in it."""
    cells = table()
    mp3 = [cell for cell in cells if cell.name.startswith("mp3 ")]
    check([*mp3[::11], *(cell for cell in cells if cell not in mp3)], tmp_path)


@pytest.mark.slow
def test_the_whole_table(tmp_path: Path) -> None:
    check(table(), tmp_path)
