"""Names and paths that YAML or Hydra would take for something else, through the verbs that take them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from artistid.config import config_dir
from artistid.settings import Settings, quoted, split_at_commas
from tests.verbs import QUICK, read_scores, run_verb, train

ODD = ("311", "1999", "null", "true", "nan", "1e5", "yes", "2024-01-01", "1_1_1", "1E234", "007", "no", "0x1f", "inf")
SIGNS = (
    *("Hello,World", "x${y}", "x${y", "Band [1999]", "[a,b]", "a=b"),
    *("a{b}", "50 % off", "C# minor", "'Til", "é~", "a|b"),
)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("audio=311", "audio='311'"),
        ("audio=a/b.mp3", "audio=a/b.mp3"),
        ("audio=Hello,World.mp3", "audio='Hello,World.mp3'"),
        ("audio=[a,null,1e5,'x, y']", "audio=[a,'null','1e5','x, y']"),
        ("audio=x${y}.mp3", "audio='x\\${y}.mp3'"),
        ("audio=${checkpoint}", "audio=${checkpoint}"),
        ("checkpoint=${oc.env:HOME}/x", "checkpoint=${oc.env:HOME}/x"),
        ("audio=[1999] Band/[12]*.mp3", "audio='[1999] Band/[12]*.mp3'"),
        ("audio=null", "audio=null"),
        ("audio=Rock 'n' Roll", "audio='Rock \\'n\\' Roll'"),
        ("audio='a b'", "audio='a b'"),
        ("device=1", "device='1'"),
        ("top=3", "top=3"),
        ("top=1,2", "top=1,2"),
        ("--help", "--help"),
        ("~top", "~top"),
    ],
)
def test_what_hydra_is_sent(typed: str, sent: str) -> None:
    assert quoted(typed, Settings("predict", [config_dir()])) == sent


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("data.root=AC,DC", "data.root=AC,DC"),
        ("data.root=1999,2 b", "data.root='1999',2 b"),
        ("data.artists=[311,A],[B]", "data.artists=['311',A],[B]"),
        ("seed=0,1", "seed=0,1"),
        ("split.path=glob(*)", "split.path=glob(*)"),
        ("data=folder,csv", "data=folder,csv"),
    ],
)
def test_what_a_sweep_sends(typed: str, sent: str) -> None:
    assert quoted(typed, Settings("train", [config_dir()]), sweeping=True) == sent


def test_what_is_there_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AC,DC", "null", "'quoted'"):
        (tmp_path / name).mkdir()
        sent = quoted(f"data.root={name}", Settings("train", [config_dir()]), sweeping=True)
        assert yaml.safe_load(sent.partition("=")[2].replace("\\'", "''")) == name


def test_commas_part_nothing_in_brackets_and_quotes() -> None:
    assert split_at_commas("[a,b], 'c,d',don't,${when:e,f}") == ["[a,b]", "'c,d'", "don't", "${when:e,f}"]


@pytest.fixture(scope="module")
def odd(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a collection called 1999, by artists called 311, null and 1e5."""
    folder = tmp_path_factory.mktemp("odd")
    for artist, name in zip(("artist1", "artist2", "artist3"), ("311", "null", "1e5"), strict=True):
        shutil.copytree(corpus / artist, folder / "1999" / name)
    return folder


def test_every_verb_takes_numbers_for_names(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(odd)
    shared = ("data=folder", "data.root=1999", "cache_dir=1e5")
    run_verb("prepare", *shared, "workers=0", "data.artists=[311,null]", "data.name=007")
    assert "12 songs by 2 artists" in capsys.readouterr().out
    assert (odd / "1e5" / "007").is_dir()
    run_verb("train", *shared, *QUICK, "run_dir=7", "split=song")
    assert read_scores(odd / "7")["artists"] == ["1e5", "311", "null"]
    run_verb("train", *shared, *QUICK, "run_dir=8", "split=song", "unknown_artists=[1e5]", "logger.csv.save_dir=8")
    assert read_scores(odd / "8")["artists"] == ["311", "null"]
    shutil.copy("7/checkpoints/best.ckpt", "112")
    run_verb("evaluate", "checkpoint=112", "subset=test", "run_dir=2024-01-01", "workers=0", "cache_dir=1e5")
    assert read_scores(odd / "2024-01-01")["counts"]["test"]["songs"] == 3
    run_verb("embed", "checkpoint=112", "audio=1999", "out=nan", "device=cpu")
    capsys.readouterr()
    run_verb("similar", "collection=nan", "track=[1999/311/album1/song1.wav]", "format=json", "cache_dir=1e5")
    assert json.loads(capsys.readouterr().out)[0]["query"] == "1999/311/album1/song1.wav"
    run_verb("report", "runs=[7,8]", "out=null", "maps=null", "draws=10")
    assert (odd / "null" / "report.html").exists()


@pytest.mark.parametrize("name", [*ODD, *SIGNS])
def test_a_collection_of_any_name(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus / "artist1", tmp_path / name / name)
    chosen = [f"data.artists=[{name}]"] if name in ODD else []
    run_verb("prepare", "data=folder", f"data.root={name}", "workers=0", *chosen)
    assert "6 songs by 1 artist" in capsys.readouterr().out


def test_a_dollar_is_told_before_the_training_where_no_checkpoint_could_keep_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus, tmp_path / "x${y}")
    with pytest.raises(SystemExit):
        train(Path("x${y}"), Path("run"), "split=song")
    assert "x${y}', which would be interpolated" in capsys.readouterr().err
    train(corpus, Path("run ${z}"), "split=song")
    run_verb("evaluate", "checkpoint=run ${z}/checkpoints/best.ckpt", "workers=0")
    songs = pd.read_csv(next((tmp_path / "run ${z}" / "evaluations").glob("*/songs_test.csv")))
    assert len(songs) == 3
    capsys.readouterr()
    run_verb("predict", "checkpoint=run ${z}/checkpoints/best.ckpt", "audio=x${y}/artist1/*/song1.*", "format=csv")
    assert "x${y}/artist1/album1/song1.wav" in capsys.readouterr().out
