"""The pages "Extending artistid" and "Your own network": their examples, taken from there, go all the way."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

import artistid
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from tests.verbs import QUICK, read_scores, run_verb

DOCS = Path(__file__).parents[1] / "docs"
PAGE = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("extending.md", "tutorials/your-network.md"))
OPTIMIZER = '''
import enum

import torch


class Mood(enum.Enum):
    CALM = 1


class Optimizer(torch.optim.SGD):
    """Keeps an object of its own in its state, as some optimizers do."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["mood"] = Mood.CALM
        return super().step(closure)
'''
SOURCE = """
from dataclasses import dataclass

from artistid.data.sources.folder import Folder


@dataclass(kw_only=True)
class Source(Folder):
    mine: bool = True
"""


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def command(verb: str) -> list[str]:
    """The settings of a command as the page has it."""
    [line] = re.findall(rf"^python -m artistid\.{verb} (.*)$", PAGE, re.MULTILINE)
    return shlex.split(line)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the page speaks of, which is the current one."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "mynet.py").write_text(block("python"))
    (folder / "mine.py").write_text(block('python title="mine.py"'))
    (folder / "myoptimizer.py").write_text(OPTIMIZER)
    (folder / "mysource.py").write_text(SOURCE)
    (folder / "model").mkdir()
    (folder / "model" / "mynet.yaml").write_text(block("yaml"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder
        for name in ("mine", "mynet", "myoptimizer", "mysource"):
            sys.modules.pop(name, None)


def of_data(corpus: Path) -> list[str]:
    return ["data=folder", f"data.root={corpus}", *QUICK]


@pytest.fixture(scope="module")
def trained(workshop: Path, corpus: Path) -> Path:
    """The page's run, with an artist set aside."""
    run_verb("train", *command("train"), *of_data(corpus), "unknown_artists=1")
    return workshop / "runs" / "mynet"


def refused(capsys: pytest.CaptureFixture[str], verb: str, *settings: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_verb(verb, *settings)
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    return lines[0]


def test_train_asks_for_trust_before_it_looks_for_music(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [each for each in command("train") if not each.startswith("trust")]
    told = refused(capsys, "train", *settings, "data=folder", "data.root=nowhere")
    assert "model.network calls mynet.Net, which is not part of artistid" in told
    assert "set trust=[mynet] here" in told
    assert not (workshop / "runs" / "mynet").exists()


def test_it_is_trained_and_tested_with_an_unknown_artist(trained: Path) -> None:
    scores = read_scores(trained)
    assert scores["unknown"]["unknown"] == 6
    assert scores["test"]["song"]["n"] == 4
    saved = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["artistid"]["network"] == {"_target_": "mynet.Net", "units": 64}


def test_it_goes_on_after_an_interruption_whomever_it_trusts_beside(trained: Path, corpus: Path) -> None:
    before = read_scores(trained)
    (trained / "scores.json").unlink()
    settings = [each.replace("[mynet]", "[mynet,myoptimizer]") for each in command("train")]
    run_verb("train", *settings, *of_data(corpus), "unknown_artists=1")
    scores = read_scores(trained)
    assert scores["test"] == before["test"]
    assert (trained / "run.log").read_text().count("training on ") == 2, "it begins anew"


def test_it_is_evaluated(trained: Path) -> None:
    run_verb("evaluate", *command("evaluate"), "workers=0", "trainer.enable_progress_bar=false", "run_dir=again")
    assert read_scores(Path("again"))["test"] == read_scores(trained)["test"]


def test_it_names_artists(trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(next(corpus.rglob("*.mp3")), "song.mp3")
    capsys.readouterr()
    run_verb("predict", *command("predict"), "format=json")
    [answer] = json.loads(capsys.readouterr().out)
    identifier = artistid.load(trained / "checkpoints" / "best.ckpt", trust=("mynet",))
    assert {each["artist"] for each in answer["top"]} == set(identifier.artists)


def test_it_embeds_and_finds_what_is_similar(trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("embed", *command("embed"), "workers=0")
    song = next(corpus.rglob("*.mp3"))
    capsys.readouterr()
    checkpoint = "checkpoint=runs/mynet/checkpoints/best.ckpt"
    run_verb("similar", checkpoint, "trust=[mynet]", "collection=music.parquet", f"audio={song}", "format=json")
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["songs"]


def test_it_is_mapped(trained: Path) -> None:
    for trust, mapped in (("trust=[mynet]", True), ("trust=[]", False)):
        run_verb("report", "runs=runs", "out=report", trust, "draws=10", "workers=0")
        assert ("<iframe" in Path("report/report.html").read_text()) == mapped


@pytest.mark.slow
def test_it_is_exported(trained: Path) -> None:
    run_verb("export", *command("export"))
    assert Path("mynet.onnx").stat().st_size > 1000


def test_without_stages_it_is_nothing_to_begin_with(
    trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    settings = [*command("train"), *of_data(corpus), f"init_from={checkpoint}", "run_dir=tuned"]
    assert "Net has no property stages" in refused(capsys, "train", *settings)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "embed", "export"])
def test_without_trust_nothing_is_imported(trained: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    sys.modules.pop("mynet", None)
    told = refused(capsys, verb, *(each for each in command(verb) if not each.startswith("trust")), *_song(verb))
    assert "it would call 'mynet.Net', which is not part of artistid" in told
    assert "trust=[mynet]" in told
    assert "mynet" not in sys.modules


def _song(verb: str) -> list[str]:
    if verb == "predict":
        Path("song.mp3").touch()
    return ["overwrite=true"] if verb in ("embed", "export") else []


def test_a_file_of_settings_cannot_trust(trained: Path, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workshop / "experiment").mkdir(exist_ok=True)
    (workshop / "experiment" / "sly.yaml").write_text("# @package _global_\ntrust: [mynet]\n")
    settings = [each for each in command("train") if not each.startswith("trust")]
    told = refused(capsys, "train", *settings, "experiment=sly", "data=folder", "data.root=nowhere")
    assert "trust=['mynet'] comes from a settings file" in told


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ("mynet", "write trust=[mynet]"),
        ("[os]", "part of Python itself"),
        ("[../evil]", "is not the name of a package"),
        ("[3]", "is not the name of a package"),
    ],
)
def test_what_is_no_package(trained: Path, trust: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("song.mp3").touch()
    told = refused(capsys, "predict", "checkpoint=runs/mynet/checkpoints/best.ckpt", "audio=song.mp3", f"trust={trust}")
    assert message in told


def test_trust_from_python(trained: Path) -> None:
    with pytest.raises(ArtistidError, match=r"trust=mynet is not a list"):
        artistid.load(trained / "checkpoints" / "best.ckpt", trust="mynet")


class TestOptimizer:
    def settings(self, corpus: Path, run_dir: str) -> list[str]:
        optimizer = ["~optimizer.eps", "~optimizer.fused", "optimizer._target_=myoptimizer.Optimizer"]
        return [*command("train"), *of_data(corpus), *optimizer, f"run_dir={run_dir}"]

    def test_with_objects_of_its_own_it_is_to_be_trusted(
        self, workshop: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = refused(capsys, "train", *self.settings(corpus, "moody"))
        assert "the state of this run" in told
        assert "trust=[myoptimizer]" in told

    def test_then_it_trains_and_goes_on(self, workshop: Path, corpus: Path) -> None:
        settings = [*self.settings(corpus, "calm"), "trust=[mynet,myoptimizer]"]
        settings.remove("trust=[mynet]")
        run_verb("train", *settings)
        Path("calm/scores.json").unlink()
        run_verb("train", *settings)
        assert Path("calm/run.log").read_text().count("training on ") == 2, "it begins anew"


class TestSource:
    def test_a_source_of_ones_own(self, workshop: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = [*of_data(corpus), "data._target_=mysource.Source", "+data.mine=true", "data.name=mine"]
        told = refused(capsys, "train", *source, "run_dir=sourced")
        assert "data calls mysource.Source" in told
        run_verb("train", *source, "run_dir=sourced", "trust=[mysource]")
        checkpoint = "checkpoint=sourced/checkpoints/best.ckpt"
        quiet = ("workers=0", "trainer.enable_progress_bar=false")
        run_verb("evaluate", checkpoint, "trust=[mysource]", "run_dir=sourced-again", *quiet)
        assert read_scores(Path("sourced-again"))["test"] == read_scores(Path("sourced"))["test"]
        assert "mysource.Source" in refused(capsys, "evaluate", checkpoint)


ALL_DOORS = (
    "+augment.mine={_target_: mine.Augment}",
    "augment=gain",
    "+auxiliary.mine={_target_: mine.Auxiliary}",
    "+sampler={_target_: mine.sampler, _partial_: true}",
    "loss._target_=mine.Loss",
    "~loss.label_smoothing",
    "+scheduler={_target_: mine.scheduler}",
    "+callbacks.mine={_target_: mine.Callback}",
    "vote=mine.vote",
    "metrics=[mine.reciprocal_rank]",
    "monitor=val/song/reciprocal_rank",
    "trainer.max_epochs=3",
)


class TestAllDoorsAtOnce:
    @pytest.fixture(scope="class")
    def run(self, workshop: Path, corpus: Path) -> Path:
        run_verb("train", *of_data(corpus), *ALL_DOORS, "run_dir=doors", "trust=[mine]")
        return workshop / "doors"

    def test_losses_a_scheduler_and_a_callback(self, run: Path) -> None:
        curves = pd.read_csv(run / "metrics.csv").dropna(subset="train/loss")
        assert curves["train/lr"].tolist() == pytest.approx([1e-4, 5e-5, 2.5e-5])
        assert (curves["train/weights"] > 0).all()
        distances = curves["train/loss"] - curves["train/mine"]
        assert (distances <= 2).all(), "squared distances of probabilities are at most 2"
        assert (curves["train/mine"] > 0).all()

    def test_a_metric_that_is_monitored(self, run: Path) -> None:
        curves = pd.read_csv(run / "metrics.csv")
        scores = read_scores(run)
        assert scores["training"]["best_epoch"] == curves["val/song/reciprocal_rank"].idxmax()
        assert 1 / 3 <= scores["test"]["frame"]["reciprocal_rank"] <= 1
        assert scores["test"]["song"]["reciprocal_rank"] >= scores["test"]["song"]["accuracy"]

    def test_a_vote(self, run: Path) -> None:
        clips = Predictions.from_parquet(run / "predictions" / "test.parquet")
        songs = pd.read_csv(run / "songs_test.csv")
        for row in songs.itertuples():
            probability = clips.probability[clips.track_id == row.track_id]
            assert row.predicted == clips.artists[probability.max(axis=0).argmax()]

    def test_its_checkpoint_is_opened_with_trust_alone(
        self, run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
        quiet = ("workers=0", "trainer.enable_progress_bar=false")
        run_verb(
            "evaluate", checkpoint, "trust=[mine]", "metrics=[mine.reciprocal_rank]", "run_dir=doors-again", *quiet
        )
        assert read_scores(Path("doors-again"))["test"] == read_scores(run)["test"]
        told = refused(capsys, "evaluate", checkpoint, "run_dir=doors-refused", *quiet)
        assert "mine.vote" in told
        assert "trust=[mine]" in told

    def test_its_report_is_made_with_trust_alone(self, run: Path) -> None:
        for trust, found in (("trust=[mine]", True), ("trust=[]", False)):
            run_verb("report", "runs=[runs,doors]", "out=doors-report", trust, "maps=null", "draws=10")
            page = Path("doors-report/report.md").read_text()
            assert bool(re.search("mine.vote.*expected one of", page)) != found


def test_a_vote_is_asked_for_trust_before_any_music_is_looked_for(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, "train", "data=folder", "data.root=nowhere", "vote=mine.vote")
    assert "vote='mine.vote'" in told
    assert "trust=[mine]" in told


def test_augmentation_is_for_training_only(trained: Path, corpus: Path) -> None:
    """At a rate of nothing the network stays as it is: so does what it says of validation."""
    still = (*command("train"), *of_data(corpus), "optimizer.lr=1e-30")
    run_verb("train", *still, "run_dir=plain")
    run_verb("train", *still, "run_dir=augmented", "+augment.mine={_target_: mine.Augment}")
    plain, augmented = (pd.read_csv(f"{name}/metrics.csv").iloc[0] for name in ("plain", "augmented"))
    assert augmented["train/loss"] != plain["train/loss"]
    assert augmented["val/loss"] == plain["val/loss"]
