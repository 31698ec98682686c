"""Features other than log-mel: raw samples, a frozen encoder, a bottleneck and a class of one's own go all the way."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import artistid
from artistid.data.audio import decode
from artistid.data.encoder import Encoder
from artistid.data.features import LogMel, build_features
from artistid.data.raw_samples import RawSamples
from artistid.errors import ArtistidError
from artistid.learning.bottleneck import Bottleneck
from artistid.learning.specification import check_targets, load_checkpoint
from tests.inference.networks import save_checkpoint
from tests.verbs import QUICK, read_scores, run_verb

PAGE = (Path(__file__).parents[1] / "docs" / "features.md").read_text(encoding="utf-8")
IMPORTS = """
from dataclasses import asdict, dataclass

import numpy as np

from artistid.data.features import Features


"""
ENCODER = """
import torch
from torch import nn


class Envelope(nn.Module):
    '''The mean and the largest of some parts of a window.'''

    def __init__(self, parts: int = 4, scale: float = 1.0) -> None:
        super().__init__()
        self.parts = parts
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, windows):  # (batch, 1, time)
        parts = self.scale * windows.unflatten(-1, (self.parts, -1)).abs()
        return torch.cat([parts.mean(dim=-1), parts.amax(dim=-1)], dim=1).transpose(1, 2)  # (batch, parts, 2)


class Weights(nn.Linear):
    '''Draws its weights.'''

    def __init__(self) -> None:
        super().__init__(16, 3)


class Net(nn.Module):
    def __init__(self, n_artists: int, n_features: int) -> None:
        super().__init__()
        self.hear = nn.Conv1d(n_features, 4, 1)
        self.classify = nn.Linear(4, n_artists)

    def bottleneck(self, features):
        return self.hear(features).relu().mean(dim=-1)

    def forward(self, features):
        return self.classify(self.bottleneck(features))
"""
NETWORK = """
name: net
system: artistid.learning.networks.NetworkSystem
vote: majority
network:
  _target_: myencoder.Net
"""
NET = ["model=net"]
TRUST = "trust=[myencoder,myfeatures]"
ENCODED = ["features=encoder", "features.encoder._target_=myencoder.Envelope", "+features.encoder.parts=4"]
QUIET = ("workers=0", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module", autouse=True)
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with modules that are not part of the package."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "myencoder.py").write_text(ENCODER)
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (folder / "myfeatures.py").write_text(IMPORTS + example)
    (folder / "features").mkdir()
    (folder / "model").mkdir()
    (folder / "model" / "net.yaml").write_text(NETWORK)
    (folder / "features" / "loudness.yaml").write_text("_target_: myfeatures.Loudness\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder
        for name in ("myencoder", "myfeatures"):
            sys.modules.pop(name, None)


def refused(capsys: pytest.CaptureFixture[str], verb: str, *settings: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_verb(verb, *settings)
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


def learn(corpus: Path, run_dir: str, *settings: str) -> Path:
    run_verb(
        "train", "--config-dir=.", "data=folder", f"data.root={corpus}", *QUICK, *settings, TRUST, f"run_dir={run_dir}"
    )
    return Path(run_dir) / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def of_encoder(workshop: Path, corpus: Path) -> Path:
    """The checkpoint of a network that was given an encoder's vectors."""
    return learn(corpus, "encoded", *ENCODED, *NET)


@pytest.fixture(scope="module")
def of_samples(workshop: Path, corpus: Path) -> Path:
    """The checkpoint of a network that was given the waveform."""
    return learn(corpus, "sampled", "features=samples", *NET)


@pytest.fixture(scope="module")
def song(corpus: Path) -> Path:
    return next(corpus.rglob("*.flac"))


class TestRawSamples:
    def test_rows_are_consecutive_samples(self) -> None:
        samples = np.random.default_rng(0).uniform(-1, 1, 1300).astype(np.float32)
        rows, pad_value = RawSamples().stored([samples[:1000], samples[1000:]])
        assert rows.shape == (1 + 1300 // 512, 512)
        assert pad_value == 0
        np.testing.assert_allclose(rows.ravel()[:1300], samples, rtol=2**-11)
        assert not rows.ravel()[1300:].any()

    @pytest.mark.slow
    def test_clips_are_those_of_the_log_mel(self, of_samples: Path, trained: Path) -> None:
        assert read_scores(Path("sampled"))["counts"] == read_scores(trained)["counts"]

    def test_settings(self) -> None:
        with pytest.raises(ArtistidError, match=r"features\.hop_length=0"):
            RawSamples(hop_length=0)


class TestEncoder:
    def encoder(self, **settings: Any) -> Encoder:
        return Encoder(**{"encoder": {"_target_": "myencoder.Envelope"}, "device": "cpu", **settings})

    def test_a_row_for_each_vector(self) -> None:
        """A window of 1 s in four parts of 0.25 s, whose samples are all 1/4, 2/4, 3/4 and 4/4."""
        samples = np.repeat(np.float32([0.25, 0.5, 0.75, 1.0, 0.25]), 4000)
        features = self.encoder()
        rows, pad_value = features.stored([samples])
        assert (features.width, features.hop_length, pad_value) == (2, 4000, 0)
        np.testing.assert_array_equal(rows[:, 0], samples[::4000])  # mean
        np.testing.assert_array_equal(rows[:, 1], samples[::4000])  # largest

    @pytest.mark.parametrize(
        ("seconds", "expected"), [(0.1, 1), (0.9, 1), (1, 1), (1.4, 1), (1.6, 2), (2, 2), (20, 20)]
    )
    def test_what_is_mostly_padding_is_no_row(self, seconds: float, expected: int) -> None:
        features = self.encoder(encoder={"_target_": "torch.nn.Flatten"})
        assert len(features.stored([np.ones(round(seconds * 16000), np.float32)])[0]) == expected

    def test_of_windows_that_overlap_it_takes_the_middle(self) -> None:
        samples = np.repeat(np.float32([0.25, 0.5, 0.75, 1.0]), 4000)
        features = self.encoder(hop=0.5)
        assert features.hop_length == 4000
        np.testing.assert_array_equal(features.stored([samples])[0][:4, 0], samples[::4000])

    def test_it_may_be_given_log_mel(self) -> None:
        features = self.encoder(
            encoder={"_target_": "torch.nn.Flatten"}, input={"_target_": "artistid.data.features.LogMel"}, window=0.064
        )
        samples = np.random.default_rng(0).uniform(-1, 1, 2047).astype(np.float32)  # four frames
        rows, _ = features.stored([samples])
        log_mel, _ = LogMel().stored([samples])
        np.testing.assert_array_equal(rows.reshape(2, 128, 2), log_mel.reshape(2, 2, 128).transpose(0, 2, 1))

    def test_its_weights_name_it(self) -> None:
        first = self.encoder()
        other = self.encoder(encoder={"_target_": "myencoder.Envelope", "scale": 2.0})
        assert first.plain()["sha256"] != other.plain()["sha256"]
        assert build_features(first.description()) == build_features(first.description())
        changed = self.encoder(encoder=other.encoder, sha256=first.plain()["sha256"])
        with pytest.raises(ArtistidError, match="expected the weights that were trained with"):
            changed.stored([np.zeros(16000, np.float32)])

    def test_what_it_draws_is_always_the_same(self) -> None:
        drawn = {"_target_": "myencoder.Weights"}
        found = [self.encoder(encoder=drawn, window=0.001, hop=hop).plain()["sha256"] for hop in (0.001, 0.0005)]
        assert found[0] == found[1]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"encoder": {}}, r"features\.encoder\._target_"),
            ({"hop": 2.0}, r"features\.hop=2\.0"),
            ({"window": 0}, r"features\.window=0"),
            ({"device": "abacus"}, "abacus"),
            ({"encoder": {"_target_": "fractions.Fraction"}}, "not a torch module"),
            ({"encoder": {"_target_": "nowhere.Encoder"}}, "nowhere"),
            ({"encoder": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 3}}, "cannot encode"),
        ],
    )
    def test_what_is_wrong_with_it(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ArtistidError, match=message):
            _ = self.encoder(**settings).width

    def test_what_is_not_finite(self) -> None:
        loud = self.encoder(encoder={"_target_": "myencoder.Envelope", "scale": 1e6})
        with pytest.raises(ArtistidError, match="not finite"):
            loud.stored([np.ones(16000, np.float32)])


class TestBottleneck:
    def test_its_rows_are_the_clips_vectors(self, trained: Path, song: Path) -> None:
        checkpoint = trained / "checkpoints" / "best.ckpt"
        features = Bottleneck(checkpoint=str(checkpoint), device="cpu")
        identifier = artistid.load(checkpoint, device="cpu")
        samples = decode(song, 16000)
        rows, _ = features.stored([samples])
        expected = identifier.hear(samples, 16000).embedding
        np.testing.assert_allclose(rows[: len(expected)], expected, atol=2e-3)
        assert features.hop_length == 32 * 512

    @pytest.mark.slow
    def test_a_network_learns_from_it(self, trained: Path, corpus: Path, song: Path) -> None:
        first = trained / "checkpoints" / "best.ckpt"
        checkpoint = learn(corpus, "upon", "features=bottleneck", f"features.checkpoint={first}", *NET)
        specification, _ = load_checkpoint(checkpoint, ["myencoder"])
        assert len(specification.features["sha256"]) == 64
        artistid.load(checkpoint, trust=["myencoder"]).predict(song)

    def test_not_of_a_network_that_is_given_one(self, tmp_path: Path) -> None:
        """Such as itself, which would never end."""
        path = save_checkpoint(tmp_path / "self.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["artistid"]["features"] = Bottleneck(checkpoint=str(path), sha256="0").description()
        torch.save(checkpoint, path)
        with pytest.raises(ArtistidError, match="features=bottleneck"):
            artistid.load(path).predict(np.zeros(16000, np.float32), 16000)

    def test_a_checkpoint_is_needed(self) -> None:
        with pytest.raises(ArtistidError, match=r"features\.checkpoint"):
            Bottleneck()


@pytest.mark.parametrize("kind", ["encoder", pytest.param("samples", marks=pytest.mark.slow)])
class TestVerbs:
    @pytest.fixture
    def checkpoint(self, kind: str, request: pytest.FixtureRequest) -> str:
        return f"checkpoint={request.getfixturevalue(f'of_{kind}')}"

    def test_evaluate(self, checkpoint: str, kind: str) -> None:
        run_verb("evaluate", checkpoint, TRUST, f"run_dir=again-{kind}", *QUIET)
        run_dir = Path(checkpoint.removeprefix("checkpoint=")).parents[1]
        assert read_scores(Path(f"again-{kind}"))["test"] == read_scores(run_dir)["test"]

    def test_predict(self, checkpoint: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A song that it was trained on is known by its samples, though there are no fingerprints."""
        specification, _ = load_checkpoint(checkpoint.removeprefix("checkpoint="), ["myencoder"])
        assert specification.fingerprints is None
        heard = next(name for name, subset in specification.split["subsets"].items() if subset == "train")
        [path] = corpus.glob(f"{heard}.*")
        capsys.readouterr()
        run_verb("predict", checkpoint, TRUST, f"audio={path}", "format=json")
        [answer] = json.loads(capsys.readouterr().out)
        assert len(answer["top"]) == 3
        assert any("trained on this very recording" in warning for warning in answer["warnings"])

    def test_embed_and_similar(
        self, checkpoint: str, kind: str, song: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_verb("embed", checkpoint, TRUST, f"out={kind}.parquet", "workers=0")
        capsys.readouterr()
        collection = f"collection={kind}.parquet"
        run_verb("similar", checkpoint, TRUST, collection, f"audio={song}", "format=json", "view=matches")
        assert json.loads(capsys.readouterr().out)

    def test_export_is_refused(self, checkpoint: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert "features=logmel" in refused(capsys, "export", checkpoint, TRUST, f"out={kind}.onnx")
        assert not Path(f"{kind}.onnx").exists()


class TestOfOnesOwn:
    @pytest.mark.slow
    def test_the_pages_example(self, corpus: Path, song: Path) -> None:
        checkpoint = learn(corpus, "loud", *NET, "features=loudness")
        identifier = artistid.load(checkpoint, trust=["myencoder", "myfeatures"])
        sound = identifier.read(song)
        samples = decode(song, 16000)
        assert len(sound.array) == 1 + len(samples) // 256
        assert sound.array[3, 0] == pytest.approx(10 * np.log10(np.square(samples[768:1024]).mean()), abs=0.05)
        with pytest.raises(ArtistidError, match=r"trust=\[myfeatures\]"):
            artistid.load(checkpoint, trust=["myencoder"])


class TestTrust:
    def test_train_asks_for_it_before_it_looks_for_music(self, capsys: pytest.CaptureFixture[str]) -> None:
        told = refused(capsys, "train", "data=folder", "data.root=nowhere", *ENCODED)
        assert "features calls myencoder.Envelope" in told
        assert "trust=[myencoder]" in told

    @pytest.mark.parametrize(
        "features",
        [
            [1],
            {},
            {"_target_": "os.system", "command": "touch trace"},
            {"_target_": "artistid.data.store.Store"},
            {"_target_": "artistid.models.crnn.CRNN"},
            {"_target_": "myencoder.Envelope"},
            {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": "os.system", "command": "x"}},
            {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": "torch.hub.load"}},
            {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": "artistid.models.crnn.CRNN"}},
            {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": "myencoder.Envelope"}},
            {"_target_": "artistid.data.encoder.Encoder", "input": {"_target_": "subprocess.run"}},
        ],
    )
    def test_a_file_calls_nothing_foreign(self, features: Any) -> None:
        with pytest.raises(ArtistidError):
            check_targets({"_target_": "artistid.models.crnn.CRNN"}, features, {}, ())

    def test_what_is_trusted(self) -> None:
        encoder = {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": "myencoder.Envelope"}}
        check_targets({"_target_": "artistid.models.crnn.CRNN"}, encoder, {}, ["myencoder"])


def test_a_network_that_cannot_take_the_features(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the data are looked for."""
    told = refused(capsys, "train", "data=folder", "data.root=nowhere", "features=samples")
    assert "512 columns" in told
