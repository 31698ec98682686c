from __future__ import annotations

import html
import re
from pathlib import Path

import matplotlib.image
import numpy as np

from artistid.reporting.document import Column, Picture, RunNumbers, Section, Table, write_report


def test_a_section_of_another_part_with_something_to_look_around_in(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    png, around = tmp_path / "figures" / "map.png", '<p title="a">a & b</p>'
    matplotlib.image.imsave(png, np.zeros((96, 192)), dpi=96)
    png.with_suffix(".pdf").touch()
    pictures = [Picture(png, "A map", (), around), Picture(png, "Another", (), around)]
    page = write_report([Section("Maps", ["Where they lie."], [Section("Below", pictures)])], tmp_path).read_text()
    inside = re.findall(r'srcdoc="([^"]*)"', page)
    assert [html.unescape(each) for each in inside] == [around] * 2
    assert page.count('id="plotly-js"') == 1
    assert 4_000_000 < len(page) < 6_000_000, "the library is there, once"
    assert page.count('<a href="figures/map.pdf">PDF</a>') == 2
    assert "map.svg" not in page, "which is not there"
    assert 'style="width: 2.00in"' in page
    assert '<a href="#s1-1">Below</a>' in page
    assert '<section id="s1-1">' in page
    text = (tmp_path / "report.md").read_text()
    assert "## Maps\n\nWhere they lie.\n" in text
    assert "### Below" in text
    assert "![A map](figures/map.png)" in text
    assert "[PDF](figures/map.pdf)" in text


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


def test_latex_is_as_read_and_names_mean_nothing_in_it(tmp_path: Path) -> None:
    rows = [
        {"system": "AC|DC 100 % $x_{1}$ \\ ~^#", "f1": "0.7 ± 0.1 †", "runs": RunNumbers((1,))},
        {"system": "a & b <c>", "f1": "–", "runs": RunNumbers()},
    ]
    columns = [Column.of("system"), Column.of("f1", heading="F1 & more"), Column.of("runs", RunNumbers)]
    write_report([Section("S", [Table("a_b", "Of 5 %", rows, columns, notes=["† −1"])])], tmp_path)
    lines = (tmp_path / "tables" / "a_b.tex").read_text().splitlines()
    assert (
        r"AC\textbar{}DC 100 \% \$x\_\{1\}\$ \textbackslash{} \textasciitilde{}\textasciicircum{}\# "
        r"& 0.7 $\pm$ 0.1 \dag{} \\" in lines
    )
    assert lines[lines.index(r"\toprule") + 1] == r"system & F1 \& more \\"
    assert lines[lines.index(r"\bottomrule") - 1] == r"a \& b \textless{}c\textgreater{} & -- \\"
    assert {r"\begin{tabular}{lr}", r"\caption{Of 5 \%}", r"\label{tab:a_b}", r"\begin{table}[tbp]"} <= set(lines)
    assert any(r"\dag{} $-$1" in line for line in lines)
