"""Reporting through the real command: what the report says of run folders, and what it does with bad ones."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artistid.evaluation.comparison import compare
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import mean_f1_interval, outcomes
from artistid.evaluation.voting import vote
from tests.reporting.made_runs import make_run
from tests.verbs import read_scores, run_verb, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that is not finished: three trials of two cells, one of a third, one that failed and one under way."""
    root = tmp_path_factory.mktemp("sweep") / "runs"
    for seed in (0, 21, 42):
        make_run(root / f"song-3s-crnn/{seed}", "song", "3s", seed)
        make_run(root / f"album-3s-crnn/{seed}", "album", "3s", seed)
    make_run(root / "album-10s-crnn/0", "album", "10s", 0, skill=0.5)
    make_run(root / "album-3s-svm/0", "album", "3s", 0, model="svm", epochs=0)
    make_run(root / "album-song-mandel_svm/0", "album", "song", 0, model="mandel_svm", epochs=0)
    failed = make_run(root / "album-30s-crnn/0", "album", "30s", 0, finished=False)
    with (failed / "run.log").open("a") as log:
        log.write("2026-01-01 00:00:00,000 ERROR artistid.runs.folder: failed: out of memory\nTraceback: somewhere\n")
    under_way = make_run(root / "album-30s-crnn/21", "album", "30s", 21, finished=False)
    (under_way / "run.log").write_text("2026-01-01 00:00:00,000 INFO artistid.learning.callbacks: epoch 3: well\n")
    return root


@pytest.fixture(scope="module")
def report(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that sweep."""
    out = tmp_path_factory.mktemp("out") / "report"
    run_verb("report", f"runs={runs}", f"out={out}")
    return out


def table(report: Path, beginning: str) -> pd.DataFrame:
    """The one CSV file of a report whose name begins so."""
    (path,) = (report / "tables").glob(f"{beginning}*.csv")
    return pd.read_csv(path)


def crnn(report: Path, level: str) -> pd.DataFrame:
    """The paper's table of a level, by split and clip length."""
    return table(report, f"table_{'iv' if level == 'frame' else 'v'}_{level}-crnn").set_index(["split", "clip_s"])


def lines_of(report: Path, *words: str) -> list[str]:
    """The rows of Markdown tables that begin with these cells."""
    beginning = "| " + " | ".join(words) + " |"
    return [line for line in (report / "report.md").read_text().splitlines() if line.startswith(beginning)]


@pytest.mark.parametrize("level", ["frame", "song"])
def test_numbers_follow_from_the_runs(runs: Path, report: Path, level: str) -> None:
    row = crnn(report, level).loc["album", 3]
    folders = [runs / f"album-3s-crnn/{seed}" for seed in (0, 21, 42)]
    f1 = [read_scores(folder)["test"][level]["f1_weighted"] for folder in folders]
    assert row["average"] == pytest.approx(np.mean(f1))
    assert row["sd"] == pytest.approx(np.std(f1, ddof=1))
    assert row["best"] == pytest.approx(max(f1))
    assert (row["trials"], row["songs_min"], row["songs_max"], row["clips_min"]) == (3, 12, 12, 72)
    tests = [Predictions.from_parquet(folder / "predictions" / "test.parquet") for folder in folders]
    expected = mean_f1_interval([outcomes(clips, vote(clips))[level] for clips in tests])
    assert [row["ci95_low"], row["ci95_high"]] == pytest.approx(expected)


def test_all_cells_are_there_and_missing_ones_are_dashes(report: Path) -> None:
    for level in ("frame", "song"):
        rows = crnn(report, level)
        assert len(rows) == 12
        missing = rows[rows["trials"] == 0]
        assert len(missing) == 9
        assert missing[["average", "sd", "best", "ci95_low", "songs_min"]].isna().all(axis=None)
    assert lines_of(report, "30 s", "song")[0].startswith("| 30 s | song | – | – | – | 0/3 | – | – | 0.764 ± 0.007 |")
    single = crnn(report, "song").loc["album", 10]
    assert single["trials"] == 1
    assert np.isnan(single["sd"])


def test_published_figures_stand_beside_and_misprints_are_marked(report: Path) -> None:
    row = crnn(report, "frame").loc["song", 10]
    assert (round(row["published_average"], 3), round(row["published_best"], 3)) == (0.772, 0.787)
    text = (report / "report.md").read_text()
    assert "† Computed from the authors' trials; the paper prints average 0.787 and best 0.772." in text
    assert "| 0.586 ± 0.033 † | 0.609 |" in text
    assert "The published figures are for artist20: other music than music." in text
    assert "Tables IV and V have 24" in text


def test_unfinished_runs_are_listed_with_their_last_words(report: Path) -> None:
    reasons = table(report, "left_out").set_index("folder")["reason"]
    assert sorted(reasons.index) == ["album-30s-crnn/0", "album-30s-crnn/21"]
    assert "failed: out of memory" in reasons["album-30s-crnn/0"]
    assert reasons["album-30s-crnn/21"].endswith("epoch 3: well")
    assert "9 finished runs; 2 more run folders are listed" in (report / "report.md").read_text()


def test_systems_stand_side_by_side(runs: Path, report: Path) -> None:
    rows = table(report, "table_iii-music").set_index(["system", "split", "level"]).sort_index()
    svm = rows.loc["svm", "album", "song"]
    assert svm["accuracy"] == pytest.approx(read_scores(runs / "album-3s-svm/0")["test"]["song"]["accuracy"])
    assert rows.loc["crnn", "album", "song"]["clip_s"] == 3, "the one of the better validation"
    assert rows.loc["mandel_svm", "album"].index.tolist() == ["song"], "whole songs have no frame level"
    assert (report / "figures" / "music" / "systems.png").exists()


def test_table_iii_as_published(report: Path) -> None:
    published = table(report, "table_iii-published")
    quoted = published[published["read_in"].str.contains("Table III")]
    assert quoted["accuracy"].tolist() == [0.5, 0.59, 0.541, 0.687, 0.839]
    assert published[published["work"] == "Ellis 2007"]["accuracy"].tolist() == [0.54, 0.30, 0.57]


def test_a_baseline_is_a_row_and_no_study(runs: Path, report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "## crnn on music" in text
    assert "## mandel" not in text
    assert text.count("No map of run") == 3, "of the networks, which have no checkpoints here"
    row = table(report, "runs").set_index("folder").loc["album-song-mandel_svm/0"]
    assert np.isnan(row["frame_f1_weighted"])
    scores = read_scores(runs / "album-song-mandel_svm/0")["test"]
    assert (list(scores), row["song_f1_weighted"]) == (["song"], pytest.approx(scores["song"]["f1_weighted"]))


def test_conditions_are_compared_with_the_best_on_the_same_songs(runs: Path, report: Path) -> None:
    rows = table(report, "comparisons").set_index("first")
    assert sorted(rows.index) == ["crnn, 10 s", "mandel_svm, whole song", "svm, 3 s"]
    assert set(rows["second"]) == {"crnn, 3 s"}
    test = {
        name: Predictions.from_parquet(runs / name / "0" / "predictions" / "test.parquet")
        for name in ("album-10s-crnn", "album-3s-crnn")
    }
    expected = compare(test["album-10s-crnn"], test["album-3s-crnn"])
    row = rows.loc["crnn, 10 s"]
    assert (row["difference"], row["p_mcnemar"]) == pytest.approx((expected.difference, expected.p_value))
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx(expected.ci95)
    assert (row["songs"], row["trials"]) == (12, 1)


def test_findings_say_what_the_tables_hold(report: Path) -> None:
    """Found at the top, in words: best condition, vote, nearest system, producer effect."""
    text = (report / "report.md").read_text()
    assert text.index("## Findings") < text.index("## Summary")
    (said,) = re.findall(r"^Music\. .*$", text.replace("\\_", "_"), flags=re.MULTILINE)
    song, frame = (crnn(report, level).loc["album", 3] for level in ("song", "frame"))
    assert f"the best of 4 conditions is “crnn, 3 s”, with a weighted F1 of {song.average:.3f} ± {song.sd:.3f}" in said
    assert f"(3 trials, 95 % interval {song.ci95_low:.3f} to {song.ci95_high:.3f})" in said
    vote = song.average - frame.average
    assert f"{abs(vote):.3f} {'above' if vote >= 0 else 'below'} single clips, {song.average:.3f} against" in said
    rivals = table(report, "comparisons").set_index("first").drop("crnn, 10 s")
    assert f"Of other systems “{rivals['difference'].idxmax()}” is {abs(rivals['difference'].max()):.3f}" in said
    row = table(report, "producer_effect").query("level == 'song' and clip_s == 3").iloc[0]
    effect = f"{row.difference:.3f} above the album split on the song split"
    assert effect in said
    assert f"({row.ci95_low:+.3f} to {row.ci95_high:+.3f})".replace("-", "−").strip("()") in said
    differences = re.findall(r"interval ([+−]\S+) to ([+−][\d.]+\d)([^)]*\)[^.]*)", said)
    assert len(differences) == 4
    for low, high, said_of_it in differences:
        assert ("not distinguishable from zero" in said_of_it) == (low[0] == "−" and high[0] == "+")


def test_latex_is_beside_every_table(report: Path) -> None:
    names = {path.stem for path in (report / "tables").glob("*.csv")}
    assert {path.stem for path in (report / "tables").glob("*.tex")} == names
    for name in names:
        lines = (report / "tables" / f"{name}.tex").read_text().splitlines()
        body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
        assert len(body) == len(pd.read_csv(report / "tables" / f"{name}.csv"))
        n_columns = lines[lines.index(r"\toprule") + 1].count(" & ") + 1
        assert all(line.count(" & ") + 1 == n_columns for line in body)
        assert not set("−±×†–<>") & set("".join(body)), "pdfLaTeX draws them as something else, or not at all"
    row = crnn(report, "song").loc["album", 3]
    assert rf"3 s & album & {row.average:.3f} $\pm$ {row.sd:.3f} & {row.best:.3f} & " in (
        next((report / "tables").glob("table_v_*.tex")).read_text()
    )


def test_every_figure_and_table_says_its_runs(report: Path) -> None:
    text = (report / "report.md").read_text()
    figures = re.findall(r"^!\[.*\]\((.*)\)$", text, flags=re.MULTILINE)
    assert len(figures) == len(set(figures)) == len(list(report.rglob("*.png"))) > 12
    assert all((report / figure).is_file() for figure in figures)
    assert all((report / figure).with_suffix(suffix).is_file() for figure in figures for suffix in (".pdf", ".svg"))
    captions = [line for line in text.splitlines() if re.search(r"<br>Runs? \[", line)]
    assert len(captions) >= len(figures) + 6
    assert all("revision 0123456; on a made-up device" in line for line in captions)
    listed = table(report, "runs")
    assert listed["number"].tolist() == list(range(1, 10))
    assert (listed["seconds"] == 64).all()
    assert listed["command"].str.startswith("python -m artistid.train split=").all()
    linked = set(re.findall(r"\(#run-(\d+)\)", text))
    assert linked <= set(re.findall(r'<a id="run-(\d+)"></a>', text))


def test_page_needs_no_other_file(report: Path) -> None:
    page = (report / "report.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(list(report.rglob("*.png")))
    assert all(base64.b64decode(source.removeprefix("data:image/png;base64,"))[:4] == b"\x89PNG" for source in sources)
    assert not re.search(r"<script|<link|@import|url\(|https?://", page)
    links = re.findall(r'href="([^"]*)"', page)
    anchors = set(re.findall(r'id="([^"]*)"', page))
    assert all(link[1:] in anchors if link.startswith("#") else (report / link).is_file() for link in links)


def test_models_without_epochs_have_no_learning_curves(report: Path) -> None:
    assert not list((report / "figures" / "svm-on-music").glob("learning_curves*"))
    assert "No learning curves of run " in (report / "report.md").read_text()


@pytest.mark.slow
def test_chosen_pairs(runs: Path, tmp_path: Path) -> None:
    chosen = f"compare=[[album-3s-svm/0,'{runs}/album-3s-crnn/0']]"
    run_verb("report", f"runs={runs}", f"out={tmp_path}/report", chosen)
    (row,) = table(tmp_path / "report", "comparisons").to_dict("records")
    assert (row["first"], row["second"], row["songs"]) == ("album-3s-svm/0", "album-3s-crnn/0", 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("runs=nowhere",), "runs=nowhere is not a folder"),
        (("compare=[[a,b]]",), "compare names a, which is not a finished run below runs=…; there are album-10s-crnn/0"),
        (("compare=[a,b]",), "compare="),
        (("draws=0",), "draws=0"),
    ],
)
def test_bad_settings(
    settings: tuple[str, ...], message: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run_verb("report", f"runs={runs}", f"out={tmp_path / 'report'}", *settings)
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err


def test_folder_of_something_else_is_left_alone(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_text("mine")
    (tmp_path / "report.html").write_text("mine too")
    with pytest.raises(SystemExit):
        run_verb("report", f"runs={runs}", f"out={tmp_path}")
    assert "is not empty and holds no report" in capsys.readouterr().err
    assert (tmp_path / "figures" / "mine.png").read_text() == "mine"


@pytest.mark.slow
def test_earlier_report_is_replaced_also_one_that_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    with pytest.raises(SystemExit):
        run_verb("report", f"runs={tmp_path}", f"out={out}")
    assert f"no finished run is in runs={tmp_path}" in capsys.readouterr().err
    make_run(tmp_path / "a", "album", "3s")
    run_verb("report", f"runs={tmp_path / 'a'}", f"out={out}")
    figures = {path for path in out.rglob("*.png") if "crnn" in str(path)}
    assert figures
    shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    make_run(tmp_path / "b", "song", "3s", model="net")
    run_verb("report", f"runs={tmp_path / 'b'}", f"out={out}")
    assert not figures & set(out.rglob("*.png"))
    assert table(out, "runs")["model"].tolist() == ["net"]


@pytest.mark.slow
def test_several_roots_other_lengths_and_repeats(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two, too"
    make_run(one / "a", "album", "3s", 0)
    make_run(two / "again", "album", "3s", 0)
    make_run(two / "long", "album", "3s", 0, settings={"clip.seconds": 6, "clip.name": "6s"})
    run_verb("report", f"runs=['{one}','{two}',{one}/a]", f"out={tmp_path}/report")
    rows = crnn(tmp_path / "report", "song")
    assert rows["trials"][rows["trials"] > 0].to_dict() == {("album", 3): 1, ("album", 6): 1}
    left_out = table(tmp_path / "report", "left_out")
    assert left_out.to_dict("records") == [
        {"folder": f"{one}/a", "reason": f"the same settings and seed as {two}/again, which is used"}
    ]


@pytest.mark.slow
def test_settings_that_differ_make_two_studies(tmp_path: Path) -> None:
    make_run(tmp_path / "a", seed=0)
    make_run(tmp_path / "b", seed=21)
    make_run(tmp_path / "c", seed=0, settings={"optimizer.lr": 0.01})
    run_verb("report", f"runs={tmp_path}", f"out={tmp_path}/report")
    systems = table(tmp_path / "report", "table_iii-music")
    trials = systems[systems["level"] == "song"].set_index("system")["trials"].dropna().to_dict()
    assert trials == {
        "crnn (optimizer.lr=0.001, scheduler.max_lr=0.002)": 2,
        "crnn (optimizer.lr=0.01, scheduler.max_lr=0.02)": 1,
    }


@pytest.mark.slow
def test_other_test_songs_are_not_compared(tmp_path: Path) -> None:
    make_run(tmp_path / "a", model="crnn")
    make_run(tmp_path / "b", model="net", drop=1, skill=0.5)
    run_verb("report", f"runs={tmp_path}", f"out={tmp_path}/report")
    assert table(tmp_path / "report", "comparisons")["difference"].isna().all()
    text = (tmp_path / "report" / "report.md").read_text()
    assert "net, 3 s and crnn, 3 s are not compared: two systems are compared on the same test songs" in text


def test_data_sets_are_called_what_people_call_them_and_one_is_one(tmp_path: Path) -> None:
    make_run(tmp_path / "a", data="synthetic-8x6x4x20s-style1-producer2-seed0")
    make_run(tmp_path / "b", seed=1, finished=False)
    run_verb("report", f"runs={tmp_path}", f"out={tmp_path}/report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## crnn on synthetic music (8 artists × 6 albums × 4 songs, producer 2)" in text
    assert "1 finished run; 1 more run folder is listed" in text
    assert not re.search(r"\b1 (runs|trials|threads|songs|more run folders)\b|<br>Runs \[\d+\]\(#run-\d+\);", text)
    assert (tmp_path / "report" / "figures" / "crnn-on-synthetic-8x6x4x20s-style1-producer2-seed0").is_dir()


def test_artists_that_differ_are_not_summed(tmp_path: Path) -> None:
    make_run(tmp_path / "a", seed=0, n_artists=3)
    make_run(tmp_path / "b", seed=21, n_artists=5)
    run_verb("report", f"runs={tmp_path}", f"out={tmp_path}/report")
    names = sorted(path.name for path in (tmp_path / "report").rglob("confusion_song*.png"))
    assert names == ["confusion_song-album-3s-2.png", "confusion_song-album-3s.png"]


def test_folders_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    for name, file in (("no_predictions", "predictions/test.parquet"), ("no_config", "config.yaml")):
        (make_run(tmp_path / name, seed=1) / file).unlink()
    broken = make_run(tmp_path / "broken", seed=1) / "scores.json"
    broken.write_text("{")
    elsewhere = make_run(tmp_path / "evaluation", seed=1) / "scores.json"
    scores = json.loads(elsewhere.read_text())
    scores["condition"] = {"checkpoint": "best.ckpt", "data": "music", "subset": "test", "vote": "majority"}
    elsewhere.write_text(json.dumps(scores))
    run_verb("report", f"runs={tmp_path}", f"out={tmp_path}/report")
    reasons = table(tmp_path / "report", "left_out").set_index("folder")["reason"]
    assert sorted(reasons.index) == ["broken", "evaluation", "no_config", "no_predictions"]
    assert "scores.json or config.yaml cannot be read" in reasons["broken"]
    assert "expected a Parquet file of predictions" in reasons["no_predictions"]
    assert "an evaluation of a checkpoint" in reasons["evaluation"]


def test_composed_music_is_compared_by_strength_of_production(tmp_path: Path) -> None:
    skill = {"crnn": 2.0, "mandel_svm": 1.0}
    for model, of_model in skill.items():
        for producer in (0, 2):
            for seed in (0, 21):
                data = f"synthetic-4x3x3x20s-style1-producer{producer}-seed{seed}"
                made = {"data": data, "model": model, "skill": of_model / (1 + producer)}
                clip = "song" if model == "mandel_svm" else "3s"
                make_run(tmp_path / "runs" / f"{model}{producer}{seed}", clip=clip, seed=seed, **made)
    make_run(tmp_path / "runs" / "music")  # whose producers are not known
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}")
    found = table(tmp_path / "report", "strengths-").set_index(["system", "producer_strength"])
    assert list(found.index) == [
        ("crnn, 3 s", 0),
        ("crnn, 3 s", 2),
        ("mandel_svm, whole song", 0),
        ("mandel_svm, whole song", 2),
    ]
    for (system, producer), row in found.iterrows():
        model = system.split(",")[0]
        f1 = [
            read_scores(tmp_path / "runs" / f"{model}{producer:g}{seed}")["test"]["song"]["f1_weighted"]
            for seed in (0, 21)
        ]
        assert row["f1_weighted"] == pytest.approx(np.mean(f1))
        assert row["f1_weighted_sd"] == pytest.approx(np.std(f1, ddof=1))
        assert row["trials"] == 2
    assert list((tmp_path / "report").rglob("strengths.png"))


def test_one_strength_of_production_is_no_comparison(tmp_path: Path) -> None:
    for seed in (0, 21):
        make_run(tmp_path / "runs" / str(seed), seed=seed, data=f"synthetic-4x3x3x20s-style1-producer1-seed{seed}")
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}")
    assert "strength of production" not in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_trained_runs(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    music = shutil.copytree(corpus, tmp_path / "music")
    next(music.rglob("*.wav")).with_name("broken.wav").write_bytes(b"no sound")
    for split in ("album", "song"):
        train(music, tmp_path / "runs" / split, f"split={split}", "on_error=skip")
    capsys.readouterr()
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}")
    assert len(list((tmp_path / "report").rglob("map_song.parquet"))) == 2
    assert capsys.readouterr().out.count("cannot be decoded") == 1  # of one source, though two runs are mapped
    scores = read_scores(tmp_path / "runs" / "album")
    row = crnn(tmp_path / "report", "frame").loc["album", 1]
    assert row["average"] == pytest.approx(scores["test"]["frame"]["f1_weighted"])
    assert [row["ci95_low"], row["ci95_high"]] == pytest.approx(scores["test"]["frame"]["f1_weighted_ci95"])
    figures = {path.name for path in (tmp_path / "report").rglob("*.png")}
    assert {"learning_curves-album-1s.png", "producer_effect.png", "f1_by_clip.png"} <= figures


def test_help_answers_without_torch() -> None:
    code = "import sys; sys.argv = ['report', '--help']\nfrom artistid.cli import command\ntry: command('report')\n"
    code += "finally: assert 'torch' not in sys.modules and 'pandas' not in sys.modules, 'slow imports'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tables, comparisons and figures" in done.stdout


def test_runs_of_one_condition_on_different_numbers_of_threads_are_named(tmp_path: Path) -> None:
    for seed, threads in ((0, 2), (21, 1), (42, 2)):
        make_run(tmp_path / f"runs/album-3s-crnn/{seed}", "album", "3s", seed, threads=threads)
        make_run(tmp_path / f"runs/song-3s-crnn/{seed}", "song", "3s", seed, threads=2)
    make_run(tmp_path / "runs/song-3s-crnn/old", "song", "3s", 7)
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}")
    said = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert said.count("different numbers of threads") == 1
    assert "crnn on music, album split, 3 s: trained on different numbers of threads (1: run 2; 2: runs 1, 3)" in said
