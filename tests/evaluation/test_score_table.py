from __future__ import annotations

import io

from artistid.evaluation.score_table import scores_table
from artistid.evaluation.scores import Score
from artistid.terminal import Console

FRAME = Score(
    f1_weighted=0.6034, f1_macro=0.5912, accuracy=0.6127, top3=0.8351, n=4_400_000, f1_weighted_ci95=[0.5711, 0.6349]
)
SONG = Score(f1_weighted=0.9372, f1_macro=0.9355, accuracy=0.9401, top3=1.0, n=142)


def as_text(scores: dict[str, Score], title: str | None = None) -> list[str]:
    """The lines that a log file or an 80-column terminal without colour would show."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(scores_table(scores, title))
    return console.file.getvalue().splitlines()


def test_every_number_stands_in_its_row() -> None:
    lines = as_text({"frame": FRAME, "song": SONG}, title="test, album split")
    assert lines[0].strip() == "test, album split"
    headings = ["level", "weighted F1", "95 % interval", "macro F1", "accuracy", "top-3", "n"]
    assert [part.strip() for part in lines[1].split("  ") if part.strip()] == headings
    frame, song = lines[-2].split(), lines[-1].split()
    assert frame == ["frame", "0.603", "0.571-0.635", "0.591", "0.613", "0.835", "4,400,000", "clips"]
    assert song == ["song", "0.937", "-", "0.935", "0.940", "1.000", "142", "songs"]


def test_levels_keep_the_given_order() -> None:
    assert [line.split()[0] for line in as_text({"song": SONG, "frame": FRAME})[-2:]] == ["song", "frame"]
