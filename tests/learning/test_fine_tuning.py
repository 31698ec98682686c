"""Beginning with a trained network: what is taken over, what learns when, and what a run says of it."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

import artistid
from artistid.errors import ArtistidError
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.fine_tuning import StopOnceThawed, Thawing, stages_of, thaw_epochs
from artistid.learning.specification import load_checkpoint
from artistid.models.crnn import CRNN
from artistid.runs.studies import collect
from tests.corpus import make_corpus
from tests.learning.test_classifier import batches, specification
from tests.verbs import QUICK, read_scores, run_verb, train

STAGES = ["head", "recurrence", "convolution4", "convolution3", "convolution2", "convolution1"]

OTHER = "tests.learning.test_fine_tuning.OtherNetwork"


class OtherNetwork(nn.Module):
    """Of another package."""

    def __init__(self, n_artists: int) -> None:
        super().__init__()
        self.classify = nn.Linear(128, n_artists)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Music of five artists, another recording each than those of the shared corpus."""
    return make_corpus(tmp_path_factory.mktemp("corpora") / "others", artists=5, songs=1, seed=9)


@pytest.fixture(scope="module")
def checkpoint(others: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network trained on them."""
    run = tmp_path_factory.mktemp("pretrained") / "run"
    train(others, run, "optimizer.lr=1e-3")
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def tuned(corpus: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network fine-tuned from it for three epochs, head and recurrence only."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    train(corpus, run, f"init_from={checkpoint}", "trainer.max_epochs=3", "fine_tuning.thaw={recurrence: 1}")
    return run


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[1]


# What is taken over


def test_all_but_the_head_is_taken_over(corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", f"init_from={checkpoint}", "fine_tuning.thaw={}")
    before, after = weights_of(checkpoint), weights_of(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert before.keys() == after.keys()
    assert before["classify.weight"].shape == (5, 32)
    assert after["classify.weight"].shape == (3, 32)
    kept = [name for name in before if not name.startswith("classify.")]
    assert all(torch.equal(before[name], after[name]) for name in kept), "frozen throughout, statistics included"


def test_what_thaws_learns_and_what_does_not_stays(checkpoint: Path, tuned: Path) -> None:
    before, after = weights_of(checkpoint), weights_of(tuned / "checkpoints" / "last.ckpt")
    for name, value in before.items():
        if name.startswith("recurrence."):
            assert not torch.equal(value, after[name]), name
        elif not name.startswith("classify."):
            assert torch.equal(value, after[name]), name


def test_one_seed_gives_one_result(corpus: Path, checkpoint: Path, tuned: Path, tmp_path: Path) -> None:
    settings = ("trainer.max_epochs=3", "fine_tuning.thaw={recurrence: 1}")
    again = train(corpus, tmp_path / "again", f"init_from={checkpoint}", *settings)
    assert again["test"] == read_scores(tuned)["test"]
    first, second = (weights_of(run / "checkpoints" / "last.ckpt") for run in (tuned, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_same_artists_get_a_fresh_head_unless_it_is_kept(others: Path, checkpoint: Path, tmp_path: Path) -> None:
    heads = {}
    for head in ("fresh", "keep"):
        # So slow that the head stays what it began as.
        slow = ("seed=1", "optimizer.lr=1e-12", f"fine_tuning.head={head}", "trainer.precision=32-true")
        train(others, tmp_path / head, f"init_from={checkpoint}", "fine_tuning.thaw={}", *slow)
        heads[head] = weights_of(tmp_path / head / "checkpoints" / "best.ckpt")["classify.weight"]
    pretrained = weights_of(checkpoint)["classify.weight"]
    torch.testing.assert_close(heads["keep"], pretrained, atol=1e-6, rtol=0)
    assert (heads["fresh"] - pretrained).abs().max() > 0.1


def test_begins_with_a_network_trained_on_genres(corpus: Path, others: Path, tmp_path: Path) -> None:
    genres = {"artist1": "rock", "artist2": "rock", "artist3": "jazz", "artist4": "jazz", "artist5": "folk"}
    with (tmp_path / "genres.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "artist"])
        table.writerows([path, genres[path.parent.parent.name]] for path in sorted(others.rglob("song*")))
    catalog = ("data=csv", f"data.csv={tmp_path / 'genres.csv'}", f"data.root={others}", "split=song")
    run_verb("train", *catalog, f"run_dir={tmp_path / 'genres'}", *QUICK)
    scores = train(corpus, tmp_path / "run", f"init_from={tmp_path / 'genres' / 'checkpoints' / 'best.ckpt'}")
    assert scores["training"]["init_from"]["artists"] == ["folk", "jazz", "rock"]
    assert scores["artists"] == ["artist1", "artist2", "artist3"]


def test_another_clip_length_is_told(
    corpus: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(corpus, tmp_path / "run", f"init_from={checkpoint}", "clip=3s")
    assert "init_from was trained on clips of 32 frames; here they have 94" in capsys.readouterr().out


# What learns when


def pretrained_classifier() -> ArtistClassifier:
    torch.manual_seed(1)
    return ArtistClassifier(specification(), lambda parameters: torch.optim.Adam(parameters, lr=1e-3))


class Watch(Callback):
    """Keeps, of every epoch's end, the network's state and which parameters learn at what rate."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        self.rates: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, ArtistClassifier)
        self.states.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})
        names = {parameter: name for name, parameter in pl_module.network.named_parameters()}
        groups = trainer.optimizers[0].param_groups
        self.rates.append({names[parameter]: group["lr"] for group in groups for parameter in group["params"]})


def fine_tune(folder: Path, thawing: Thawing, epochs: int, classifier: ArtistClassifier | None = None) -> Watch:
    watch = Watch()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=[thawing, watch],
        default_root_dir=folder,
    )
    loader = torch.utils.data.DataLoader(batches(2), batch_size=None)  # type: ignore[arg-type,var-annotated]
    trainer.fit(classifier or pretrained_classifier(), loader)
    return watch


def norms_of(state: dict[str, torch.Tensor], stage: str) -> dict[str, torch.Tensor]:
    prefixes = {"convolution1": ("normalise.", "convolutions.0."), "convolution2": ("convolutions.1.",)}[stage]
    return {name: value for name, value in state.items() if name.startswith(prefixes) and "running" in name}


def test_stages_thaw_one_after_the_other_from_the_head(tmp_path: Path) -> None:
    watch = fine_tune(tmp_path, Thawing(thaw_epochs(1, STAGES), 0.1, "thawed"), 6)
    roots = [{name.split(".")[0] for name in rates} for rates in watch.rates]
    assert roots[0] == {"classify"}
    assert roots[1] == {"classify", "recurrence"}
    assert roots[4] == {"classify", "recurrence", "convolutions"}
    assert roots[5] == {"classify", "recurrence", "convolutions", "normalise"}
    blocks = [{name.split(".")[1] for name in rates if name.startswith("convolutions")} for rates in watch.rates]
    assert blocks == [set(), set(), {"3"}, {"3", "2"}, {"3", "2", "1"}, {"3", "2", "1", "0"}]
    assert {rate for name, rate in watch.rates[5].items() if name.startswith("classify")} == {1e-3}
    assert {rate for name, rate in watch.rates[5].items() if not name.startswith("classify")} == {1e-4}
    moved = [name for name, value in watch.states[1].items() if not torch.equal(value, watch.states[0][name])]
    assert {name.split(".")[0] for name in moved} == {"classify", "recurrence"}


def test_parameters_of_equal_values_all_learn(tmp_path: Path) -> None:
    """A network as it was drawn has biases of zeros and scales of ones, of the same shapes."""
    watch = fine_tune(tmp_path, Thawing(thaw_epochs(0, STAGES), 0.1, "thawed"), 1)
    assert watch.rates[0].keys() == dict(CRNN(2).named_parameters()).keys()


def test_frozen_batch_norm_stays_to_the_bit_and_moves_once_thawed(tmp_path: Path) -> None:
    classifier = pretrained_classifier()
    for norm in (each for each in classifier.network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)):
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.num_batches_tracked.fill_(1000)  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    thawing = Thawing({**dict.fromkeys(STAGES, 0), "convolution1": 2}, 0.1, "thawed")
    watch = fine_tune(tmp_path, thawing, 3, classifier)
    for epoch in (0, 1):
        for name, value in norms_of(watch.states[epoch], "convolution1").items():
            assert torch.equal(value, before[name]), (epoch, name)
    assert watch.states[1]["normalise.num_batches_tracked"] == 1000
    for name, value in norms_of(watch.states[2], "convolution1").items():
        assert not torch.equal(value, before[name]), name
    for name, value in norms_of(watch.states[0], "convolution2").items():
        assert not torch.equal(value, before[name]), name


def test_warming_up_keeps_pretrained_statistics(tmp_path: Path) -> None:
    """They have seen many batches, so that a new one moves them by the paper's hundredth."""
    classifier = pretrained_classifier()
    normalise = classifier.network.normalise
    normalise.running_mean.fill_(100.0)
    normalise.num_batches_tracked.fill_(1000)
    fine_tune(tmp_path, Thawing(thaw_epochs(0, STAGES), 0.1, "thawed"), 1, classifier)
    expected = torch.full((128,), 100.0)
    for batch in batches(2):
        expected = 0.99 * expected + 0.01 * batch["features"].mean(dim=(0, 2))
    torch.testing.assert_close(normalise.running_mean, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("batch_norm", "moves"), [("all", True), ("none", False)])
def test_statistics_of_all_stages_or_of_none(batch_norm: str, moves: bool, tmp_path: Path) -> None:
    epochs = {**dict.fromkeys(STAGES, 0), "convolution1": None}
    classifier = pretrained_classifier()
    before = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    after = fine_tune(tmp_path, Thawing(epochs, 0.1, batch_norm), 2, classifier).states[1]
    for stage in ("convolution1", "convolution2"):
        for name, value in norms_of(after, stage).items():
            assert torch.equal(value, before[name]) is not moves, name
    weights = [name for name, _ in CRNN(2).named_parameters() if name.startswith(("normalise", "convolutions.0"))]
    assert all(torch.equal(before[name], after[name]) for name in weights)


def test_patience_begins_with_the_last_stage(corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    # Learning so fast that no epoch is better than the first; from scratch it would end after the second.
    settings = ("early_stopping.patience=1", "optimizer.lr=0.5", "trainer.max_epochs=12")
    scores = train(corpus, tmp_path / "run", f"init_from={checkpoint}", "fine_tuning.thaw={recurrence: 4}", *settings)
    losses = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/loss"].dropna().to_numpy()
    since = losses[4:]
    first_worse = next(epoch for epoch in range(1, len(since)) if since[epoch] >= since[:epoch].min())
    assert scores["training"]["epochs"] == 4 + first_worse + 1
    assert scores["training"]["stopped_early"]
    assert scores["training"]["best_epoch"] == losses.argmin(), "of all epochs, frozen ones included"


def test_stages_of_a_network_are_all_of_it() -> None:
    network = CRNN(3)
    stages = stages_of(network)
    assert list(stages) == STAGES
    parameters = [parameter for stage in stages.values() for parameter in stage.parameters()]
    assert {id(each) for each in parameters} == {id(each) for each in network.parameters()}
    assert len(parameters) == len(list(network.parameters()))
    assert "stages" not in dict(network.named_modules()), "naming them changes no checkpoint"


def test_network_without_stages() -> None:
    with pytest.raises(ArtistidError, match="Linear has no property stages"):
        stages_of(nn.Linear(2, 2))


def test_epochs_of_the_stages() -> None:
    assert list(thaw_epochs(2, STAGES).values()) == [0, 2, 4, 6, 8, 10]
    assert list(thaw_epochs({"recurrence": 1, "convolution4": 1}, STAGES).values()) == [0, 1, 1, None, None, None]
    assert Thawing(thaw_epochs({}, STAGES), 0.1, "thawed").last_epoch == 0
    assert StopOnceThawed("val/loss", 3, "min", begin=4).patience == 3


# What a run says of it


def test_run_says_what_it_grew_from(tuned: Path, checkpoint: Path) -> None:
    scores = read_scores(tuned)
    told = scores["training"]["init_from"]
    assert told["checkpoint"] == str(checkpoint)
    assert told["artists"] == [f"artist{number}" for number in range(1, 6)]
    assert told["thawed_at"]["recurrence"] == 1
    assert told["thawed_at"]["convolution1"] is None
    assert told["seen_in_pretraining"] == {"val": [], "test": []}
    grown, _ = load_checkpoint(tuned / "checkpoints" / "best.ckpt")
    pretrained, _ = load_checkpoint(checkpoint)
    assert grown.pretrained_from is not None
    assert grown.pretrained_from["recordings"] == pretrained.recordings
    assert len(grown.pretrained_from["sha256"]) == 64
    assert pretrained.pretrained_from is None


def test_what_grew_from_what_grew_has_heard_all_of_it(
    tuned: Path, checkpoint: Path, others: Path, tmp_path: Path
) -> None:
    train(others, tmp_path / "run", f"init_from={tuned / 'checkpoints' / 'best.ckpt'}", "split=song")
    grown, _ = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    before = {
        *load_checkpoint(checkpoint)[0].recordings,
        *load_checkpoint(tuned / "checkpoints" / "best.ckpt")[0].recordings,
    }
    assert grown.pretraining_recordings().sha1 == before


def test_recordings_heard_before_are_named(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same music with the albums of the other seed's split: what trained then is tested now."""
    train(corpus, tmp_path / "before", "seed=1")
    scores = train(corpus, tmp_path / "run", f"init_from={tmp_path / 'before' / 'checkpoints' / 'best.ckpt'}")
    subsets = {
        run: pd.read_csv(tmp_path / run / "split.csv").set_index("track_id")["subset"] for run in ("before", "run")
    }
    trained = set(subsets["before"].index[subsets["before"] == "train"])
    seen = scores["training"]["init_from"]["seen_in_pretraining"]
    for subset in ("val", "test"):
        assert seen[subset] == sorted(trained & set(subsets["run"].index[subsets["run"] == subset]))
    assert seen["test"]
    assert f"init_from was trained on {len(seen['test'])} of 6 " in " ".join(capsys.readouterr().out.split())
    run_verb(
        "evaluate",
        f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}",
        "workers=0",
        "trainer.enable_progress_bar=false",
        f"run_dir={tmp_path / 'again'}",
    )
    evaluated = read_scores(tmp_path / "again")
    assert evaluated["seen_in_pretraining"] == seen["test"]
    assert evaluated["seen_in_training"] == []


def test_not_mixed_with_runs_from_scratch(
    corpus: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_verb("train", "-m", "data=folder", f"data.root={corpus}", f"init_from=null,{checkpoint}", *QUICK)
    grown, scratch = sorted(path.parent.parent.name for path in (tmp_path / "runs").rglob("scores.json"))
    assert scratch == "album-1s-crnn-trainer.max_epochs=1"
    assert grown.startswith("album-1s-crnn-from-")
    assert grown.endswith("-run-best-trainer.max_epochs=1")
    condition = read_scores(next((tmp_path / "runs").glob(f"*/{grown}/0")))["condition"]
    assert grown == f"album-1s-crnn-from-{condition['init_from']}-trainer.max_epochs=1"
    assert [study.system for study in collect(["runs"]).studies] == [
        "crnn",
        f"crnn (init_from={condition['init_from']})",
    ]


def test_settings_without_effect_are_none_of_the_run(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", "fine_tuning.thaw=7")
    assert "fine_tuning" not in (tmp_path / "run" / "config.yaml").read_text()


def test_checkpoint_from_before_there_was_fine_tuning(checkpoint: Path, tmp_path: Path) -> None:
    old = torch.load(checkpoint, weights_only=True)
    del old["artistid"]["pretrained_from"]
    torch.save(old, tmp_path / "old.ckpt")
    assert load_checkpoint(tmp_path / "old.ckpt")[0].pretraining_recordings().sha1 == frozenset()


# What cannot be


def altered(checkpoint: Path, path: Path, **changes: Any) -> Path:
    """A copy of a checkpoint with another specification."""
    content = torch.load(checkpoint, weights_only=True)
    content["artistid"] |= changes
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("features.mel_scale=htk", "features.top_db=60"),
         "was trained on other features: features.mel_scale is slaney there, htk here; features.top_db is 80.0 "
         "there, 60.0 here"),
        (("model.network.recurrent_units=16",),
         "is a network of another shape: model.network.recurrent_units is 32 there, 16 here"),
        (("model=mandel_gmm", "features=descriptors"), "model=mandel_gmm is a baseline, which has no weights"),
        (("fine_tuning.head=new",), "fine_tuning.head=new: expected one of fresh, keep"),
        (("fine_tuning.head=keep",), "2 are in only one of the two: artist4, artist5"),
        (("fine_tuning.batch_norm=some",), "fine_tuning.batch_norm=some: expected one of thawed, all, none"),
        (("fine_tuning.lr_factor=0",), "fine_tuning.lr_factor=0: expected a number above 0"),
        (("fine_tuning.thaw=-1",), "fine_tuning.thaw=-1: expected"),
        (("fine_tuning.thaw={gru: 1}",), "fine_tuning.thaw: gru: expected one of recurrence"),
        (("fine_tuning.thaw={convolution4: 1}",), "convolution4 would thaw at epoch 1, before recurrence"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(
    overrides: tuple[str, ...],
    message: str,
    corpus: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(corpus, tmp_path / "run", f"init_from={checkpoint}", *overrides)
    assert exit_.value.code == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_files_to_begin_with_that_are_none(
    corpus: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "garbage.ckpt"
    garbage.write_bytes(b"no checkpoint")
    unsafe = altered(checkpoint, tmp_path / "unsafe.ckpt", network={"_target_": "os.system", "command": "true"})
    foreign = altered(checkpoint, tmp_path / "foreign.ckpt", network={"_target_": OTHER})
    for path, message in (
        (tmp_path / "none.ckpt", "does not exist"),
        (garbage, "cannot be read"),
        (unsafe, "not part of artistid"),
        (foreign, f"is a network {OTHER}, but model=crnn is artistid.models.crnn.CRNN"),
    ):
        with pytest.raises(SystemExit):
            train(corpus, tmp_path / "run", f"init_from={path}", "trust=[tests]")
        told = capsys.readouterr().err
        assert message in told
        assert "init_from" in told
        assert str(path) in told
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_told_before_any_music_is_looked_for(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for override in ("model.network.recurrent_units=16", "features.n_fft=1024", "fine_tuning.thaw=soon"):
        with pytest.raises(SystemExit):
            train(tmp_path / "nowhere", tmp_path / "run", f"init_from={checkpoint}", override)
        assert "nowhere" not in capsys.readouterr().err


def test_a_run_does_not_write_over_what_it_begins_with(
    corpus: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(checkpoint.parent.parent, tmp_path / "run")
    own = tmp_path / "run" / "checkpoints" / "best.ckpt"
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", f"init_from={own}", "overwrite=true")
    assert "where the run would overwrite it" in capsys.readouterr().err
    assert own.exists()


def test_several_processes_are_refused(
    corpus: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parallel = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", f"init_from={checkpoint}", *parallel)
    assert "fine-tuned in one process, but trainer.devices=2 and trainer.num_nodes=1 make 2" in capsys.readouterr().err


def test_a_saved_folder_is_begun_with_as_its_checkpoint_is(corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    artistid.load(checkpoint).save_pretrained(tmp_path / "saved")
    train(corpus, tmp_path / "run", f"init_from={tmp_path / 'saved'}")
    weights = tmp_path / "saved" / "model.safetensors"
    begun = read_scores(tmp_path / "run")["training"]["init_from"]
    assert begun["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
