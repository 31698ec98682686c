from __future__ import annotations

import html
import re
from pathlib import Path

import matplotlib.image
import numpy as np

from artistid.reporting.document import Column, Picture, RunNumbers, Section, Table, write_report


def test_a_section_of_another_part_with_something_to_look_around_in(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    png, around = tmp_path / "figures" / "map.png", tmp_path / "figures" / "map.html"
    matplotlib.image.imsave(png, np.zeros((96, 192)), dpi=96)
    around.write_text('<p title="a">a & b</p>')
    pictures = [Picture(png, "A map", (), around), Picture(png, "Another", (), around, inline=True)]
    page = write_report([Section("Maps", ["Where they lie."], [Section("Below", pictures)])], tmp_path).read_text()
    assert page.count('<a href="figures/map.html">') == 2
    (inside,) = re.findall(r'srcdoc="([^"]*)"', page)
    assert html.unescape(inside) == around.read_text()
    assert 'style="width: 2.00in"' in page
    assert '<a href="#s1-1">Below</a>' in page
    assert '<section id="s1-1">' in page
    text = (tmp_path / "report.md").read_text()
    assert "## Maps\n\nWhere they lie.\n" in text
    assert "### Below" in text
    assert "![A map](figures/map.png)" in text
    assert "(figures/map.html)" in text


def test_names_are_written_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"artist": "AC|DC *live* <b>", "runs": RunNumbers((1, 2, 3, 5)), "x": 0.123456789},
        {"artist": "Sigur Rós", "runs": RunNumbers(), "x": 1.0},
    ]
    table = Table("names", "Of a & b", rows, [Column.of("artist"), Column.of("runs", RunNumbers)])
    page = write_report([Section("<Names>", [table])], tmp_path).read_text()
    assert '<td class="artist">AC|DC *live* &lt;b&gt;</td>' in page
    assert '<a href="#run-1">1</a>–<a href="#run-3">3</a>, <a href="#run-5">5</a></td>' in page
    assert "&lt;Names&gt;" in page
    text = (tmp_path / "report.md").read_text()
    assert "| AC\\|DC \\*live\\* \\<b\\> | [1](#run-1)–[3](#run-3), [5](#run-5) |" in text
    assert "| Sigur Rós | – |" in text
    assert (tmp_path / "tables" / "names.csv").read_text().splitlines() == [
        "artist,runs,x",
        "AC|DC *live* <b>,1 2 3 5,0.123456789",
        "Sigur Rós,,1.0",
    ]
