"""Features of a part of the music: by a separator whose answer is known, and by the packages where installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from artistid.data.audio import resample
from artistid.data.features import LogMel, build_features
from artistid.data.raw_samples import RawSamples
from artistid.data.stems import Stem
from artistid.errors import ArtistidError
from artistid.learning.specification import check_targets, load_checkpoint
from artistid.models.published.separators import Demucs, OpenUnmix
from tests.verbs import QUICK, run_verb

SEPARATOR = """
import torch
from torch import nn


class Quarter(nn.Module):
    '''A quarter of the music is sung.'''

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        self.register_buffer("share", torch.tensor(share))

    def forward(self, music):
        return music * self.share


class Shorter(nn.Module):
    def forward(self, music):
        return music[..., 1:]
"""
QUARTER = {"_target_": "myseparator.Quarter"}
SAMPLES = RawSamples(hop_length=441, sample_rate=44100).description()


@pytest.fixture(scope="module", autouse=True)
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a separator that is not part of the package."""
    folder = tmp_path_factory.mktemp("separation")
    (folder / "myseparator.py").write_text(SEPARATOR)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder
        sys.modules.pop("myseparator", None)


class TestStem:
    music = np.random.default_rng(0).uniform(-1, 1, 44100).astype(np.float32)

    def stem(self, **settings: object) -> Stem:
        return Stem(**{"of": SAMPLES, "separator": QUARTER, "device": "cpu", **settings})

    @pytest.mark.parametrize(("stem", "share"), [("vocals", 0.25), ("accompaniment", 0.75)])
    def test_which_part(self, stem: str, share: float) -> None:
        rows, _ = self.stem(stem=stem).stored([self.music])
        np.testing.assert_allclose(rows.ravel()[:44100], share * self.music, rtol=2e-3, atol=1e-6)

    def test_side_by_side(self) -> None:
        features = self.stem(stem="mix_and_vocals")
        rows, _ = features.stored([self.music])
        assert rows.shape[1] == features.width == 2 * 441
        np.testing.assert_allclose(rows[:, 441:], rows[:, :441] / 4, rtol=2e-3, atol=1e-6)

    def test_at_the_features_own_rate(self) -> None:
        """A quarter of the amplitude is 12 dB less in every bin."""
        features = self.stem(of=LogMel(top_db=None).description())
        rows, _ = features.stored([self.music])
        whole, _ = LogMel(top_db=None).stored([resample(self.music, 44100, 16000)])
        assert (features.sample_rate, features.base.sample_rate, features.width) == (16000, 44100, 128)
        np.testing.assert_allclose(rows[2:29], whole[2:29].astype(np.float32) - 20 * np.log10(4), atol=0.1)

    def test_weights_name_it(self) -> None:
        first = self.stem()
        other = self.stem(separator={**QUARTER, "share": 0.5})
        assert first.plain()["sha256"] != other.plain()["sha256"]
        assert build_features(first.description()).plain() == first.plain()
        with pytest.raises(ArtistidError, match="expected the weights that were trained with"):
            _ = self.stem(separator=other.separator, sha256=first.plain()["sha256"]).network

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"stem": "drums"}, r"features\.stem=drums"),
            ({"separator": {}}, r"features\.separator"),
            ({"separator": {"_target_": "myseparator.Shorter"}}, r"features\.separator gives"),
            ({"of": Stem(separator=QUARTER, sha256="0").description()}, "found those of a stem"),
        ],
    )
    def test_what_is_wrong_with_it(self, settings: dict[str, object], message: str) -> None:
        with pytest.raises(ArtistidError, match=message):
            self.stem(**settings).stored([self.music])


@pytest.mark.skipif(find_spec("demucs") is not None, reason="it is installed")
def test_a_package_that_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said before the music is looked for."""
    with pytest.raises(SystemExit):
        run_verb("train", "data=folder", "data.root=nowhere", "features.stem=vocals")
    told = capsys.readouterr().err
    assert "features.separator=demucs" in told
    assert "pip install demucs" in told


def test_open_unmix(tmp_path: Path) -> None:
    """With random weights, as the package gives them."""
    openunmix = pytest.importorskip("openunmix")
    torch.manual_seed(0)
    network = openunmix.model.OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=16, max_bin=100)
    torch.save(network.state_dict(), tmp_path / "vocals.pth")
    (tmp_path / "vocals.json").write_text(json.dumps({"args": {"nfft": 4096, "nb_channels": 2, "hidden_size": 16}}))
    separator = {"sample_rate": 44100, "nfft": 4096, "nhop": 1024, "nb_channels": 2}
    (tmp_path / "separator.json").write_text(json.dumps(separator))
    ours = OpenUnmix(path=str(tmp_path)).eval()
    ours.read_weights()
    music = torch.randn(1, 1, 44100)
    theirs = openunmix.utils.load_separator(str(tmp_path), targets=["vocals"], residual=True)
    with torch.inference_mode():
        expected = theirs(music.expand(1, 2, -1))[:, 0].mean(dim=1, keepdim=True)
        torch.testing.assert_close(ours(music), expected)


def test_demucs() -> None:
    """With random weights, as the package applies them."""
    htdemucs = pytest.importorskip("demucs.htdemucs")
    apply_model = pytest.importorskip("demucs.apply").apply_model
    torch.manual_seed(0)
    ours = Demucs().eval()
    ours.network = htdemucs.HTDemucs(
        ["drums", "bass", "other", "vocals"], channels=4, t_layers=1, bottom_channels=0
    ).eval()
    music = torch.randn(1, 1, 44100)
    with torch.inference_mode():
        scaled = (music - music.mean()) / music.std()
        theirs = apply_model(ours.network, scaled.expand(1, 2, -1), shifts=0)[:, 3] * music.std()
        torch.testing.assert_close(ours(music), theirs.mean(dim=1, keepdim=True))


def test_train_and_predict(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["features.stem=vocals", "features.separator={_target_:myseparator.Quarter}", "trust=[myseparator]"]
    run_verb("train", "data=folder", f"data.root={corpus}", *QUICK, *settings, f"run_dir={tmp_path}/run")
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    specification, _ = load_checkpoint(checkpoint, ["myseparator"])
    assert specification.features["stem"] == "vocals"
    with pytest.raises(ArtistidError, match=r"trust=\[myseparator\]"):
        load_checkpoint(checkpoint)
    run_verb("predict", f"checkpoint={checkpoint}", "trust=[myseparator]", f"audio={next(corpus.rglob('*.flac'))}")
    condition = json.loads((tmp_path / "run" / "scores.json").read_text())["condition"]
    assert condition["model"] == "crnn-vocals"


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "artistid.models.crnn.CRNN", "myseparator.Quarter"])
def test_a_file_calls_nothing_foreign(target: str) -> None:
    stem = {"_target_": "artistid.data.stems.Stem", "separator": {"_target_": target}}
    with pytest.raises(ArtistidError):
        check_targets({"_target_": "artistid.models.crnn.CRNN"}, stem, {}, ())
