"""The notebooks, from their first cell to their last, at a reduced size."""

from __future__ import annotations

import json
from pathlib import Path

import papermill
import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
QUICK = "clip=1s trainer.max_epochs=1 trainer.enable_progress_bar=false"
TINY = "data.n_artists=3 data.n_albums=3 data.n_songs=2 data.seconds=5"

REDUCED = {
    "01_quickstart": {"settings": f"{TINY} {QUICK}"},
    "02_producer_effect": {"sweep": f"{TINY} {QUICK} data.producer_strength=0,1 seed=0,1"},
    "03_results": {"sweep": f"{TINY} {QUICK} clip=1s,3s seed=0,1"},
}


def test_each_notebook_has_a_reduced_size() -> None:
    assert REDUCED.keys() == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCED)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTISTID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    output = tmp_path / "executed.ipynb"
    papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb", output, REDUCED[name], cwd=tmp_path, kernel_name="python3", progress_bar=False
    )
    runs = len(list((tmp_path / "runs").rglob("predictions/test.parquet")))
    assert runs == {"01_quickstart": 2, "02_producer_effect": 16, "03_results": 8}[name]


def test_no_published_figure_stands_beside_scores_that_mean_nothing() -> None:
    """Of the reduced sweep of 03, on other music than the paper's."""
    cells = json.loads((NOTEBOOKS / "03_results.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = str([cell.get("outputs") for cell in cells])
    assert "average" in shown
    assert "published" not in shown


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_committed_notebook_has_been_run_and_shows_no_place_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert '"execution_count": null' not in text
    for place in ("/home/", "/root/", "/tmp/", "/Users/"):
        assert place not in text
