"""Published encoders: against their packages' own output where these are at hand, else with random weights."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from artistid.config import config_dir
from artistid.data.audio import decode
from artistid.data.encoder import Encoder
from artistid.data.features import LogMel, features_of
from artistid.data.pitch import LogPitch
from artistid.errors import ArtistidError
from artistid.learning.specification import check_targets, load_checkpoint
from artistid.models.published.base import BlockEncoder
from artistid.models.published.fronts import MelPower, PitchLevels
from artistid.models.published.mert import Mert
from artistid.models.published.musicnn import Musicnn
from artistid.models.published.musicnn_pitch import PIECE, SCALE, MusicnnAndPitch
from artistid.models.published.resemblyzer import Resemblyzer
from artistid.models.published.tensorflow import read_variables
from artistid.models.timbre_pitch import PARTS, TimbreAndPitch
from artistid.prepare import find_songs, make_features
from tests.corpus import make_corpus
from tests.models.published import bundle, random_musicnn, random_onnx, real
from tests.verbs import QUICK, read_scores, run_verb

# What the packages gave; see the tests.
POOL_PLACES, GIVEN_POOL = [1396, 1390, 1397, 1273], [30.7973, 21.864, 7.94332, 4.11091]
GIVEN_PENULTIMATE, GIVEN_TAGS = [-0.177176, 0.630709, -0.284826], [-3.61489, -6.412, -4.11346]
GIVEN_UNITS, GIVEN_EMBEDDING = [131, 161, 203, 12], [0.330394, 0.205961, 0.194768, 0.191077]
CRNN = {"_target_": "artistid.models.crnn.CRNN"}
HOME = "artistid.models.published"


def noise(seconds: float, rate: int = 16000) -> npt.NDArray[np.float32]:
    """Noise that swells and falls, after 0.1 s of silence."""
    n = round(seconds * rate)
    samples = 0.1 * np.random.default_rng(0).standard_normal(n) * np.sin(np.arange(n) / 9000) ** 2
    samples[: rate // 10] = 0
    return samples.astype(np.float32)


def mel_power(samples: npt.NDArray[np.float32], n_fft: int, hop_length: int, n_mels: int) -> npt.NDArray[np.float32]:
    """As librosa's ``melspectrogram``, with which this log-mel is tested to agree: frames centred on multiples."""
    log_mel = LogMel(n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, top_db=None, amin=1e-30)
    return 10 ** (log_mel(samples) / 10)


class TestTensorFlow:
    def test_variables_are_read(self) -> None:
        generator = np.random.default_rng(0)
        shapes = {
            "dense/bias": (3,),
            "dense/kernel": (200, 3),
            "dense_1/bias": (1,),
            "beta": (),
            "conv2d/kernel": (7, 2, 1, 3),
        }
        written = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        found = read_variables(*bundle(written))
        assert found.keys() == written.keys()
        for name, value in written.items():
            np.testing.assert_array_equal(found[name], value)

    def test_what_is_not_a_checkpoint(self) -> None:
        index, data = bundle({"beta": np.zeros(3, np.float32)})
        for broken in (b"", index[:-1], bytes(100), index[::-1]):
            with pytest.raises(ArtistidError, match="not a TensorFlow checkpoint"):
                read_variables(broken, data)
        with pytest.raises(ArtistidError, match="not a TensorFlow checkpoint"):
            read_variables(index, data[:4])


REFERENCE = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
tf.compat.v1.disable_eager_execution()
from musicnn import models
mel, places = np.load(sys.argv[2]), {}
x, training = tf.compat.v1.placeholder(tf.float32, [None, *mel.shape[1:]]), tf.compat.v1.placeholder(tf.bool)
names = ("tags", "timbral", "temporal", "cnn1", "cnn2", "cnn3", "mean_pool", "max_pool", "penultimate")
outputs = models.define_model(x, training, "MSD_musicnn", 50)
with tf.compat.v1.Session() as session:
    tf.compat.v1.train.Saver().restore(session, sys.argv[1] + "/musicnn/MSD_musicnn/")
    np.savez(sys.argv[3], **dict(zip(names, session.run(outputs, {x: mel, training: False}))))
"""


class TestMusicnn:
    @pytest.fixture
    def musicnn(self) -> Musicnn:
        network = Musicnn(layers=["pool", "penultimate", "tags"], path=real("musicnn")).eval()
        network.read_weights()
        return network

    def test_what_tensorflow_gave(self, musicnn: Musicnn) -> None:
        """Of the package's own graph, in TensorFlow 2.21, on the same input."""
        time, mel = np.mgrid[:187, :96]
        image = torch.from_numpy((1.5 + np.sin(time / 7) * np.cos(mel / 5)).astype(np.float32))[None]
        musicnn.front = nn.Identity()
        with torch.inference_mode():
            found = musicnn(image)[0].numpy()
        np.testing.assert_allclose(found[POOL_PLACES], GIVEN_POOL, rtol=1e-4)
        np.testing.assert_allclose(found[1506:1509], GIVEN_PENULTIMATE, rtol=1e-4)
        np.testing.assert_allclose(found[1706:1709], GIVEN_TAGS, rtol=1e-4)

    @pytest.mark.slow
    @pytest.mark.skipif("ARTISTID_TENSORFLOW" not in os.environ, reason="no Python with tensorflow and tf_keras named")
    def test_the_packages_own_graph(self, tmp_path: Path) -> None:
        """``ARTISTID_TENSORFLOW`` is a Python that has tensorflow and tf_keras."""
        folder = Path(real("musicnn"))
        if folder.suffix == ".whl":
            zipfile.ZipFile(folder).extractall(tmp_path)
            folder = tmp_path
        mel = np.log10(1 + 10000 * np.random.default_rng(0).gamma(0.3, 0.5, (2, 187, 96))).astype(np.float32)
        np.save(tmp_path / "mel.npy", mel)
        paths = [str(folder), str(tmp_path / "mel.npy"), str(tmp_path / "found.npz")]
        subprocess.run([os.environ["ARTISTID_TENSORFLOW"], "-c", REFERENCE, *paths], check=True)
        expected = np.load(paths[-1])
        network = Musicnn(path=str(folder)).eval()
        network.read_weights()
        found, given = {}, torch.from_numpy(mel)
        with torch.inference_mode():
            for name, block in network.blocks.items():
                given = found[name] = block(given)
        front = np.concatenate([expected["timbral"], expected["temporal"]], axis=2)
        pool = np.stack([expected["max_pool"], expected["mean_pool"]], axis=2).reshape(2, -1)
        whole = np.concatenate([front, *(expected[f"cnn{number}"][..., 0] for number in (1, 2, 3))], axis=2)
        for name, value in {
            "front": front,
            "cnn3": whole,
            "pool": pool,
            **{k: expected[k] for k in ("penultimate", "tags")},
        }.items():
            np.testing.assert_allclose(found[name].numpy(), value, rtol=1e-3, atol=3e-4)

    def test_random_weights_come_through_the_conversion(self, tmp_path: Path) -> None:
        """A convolution whose kernels are known, by its definition."""
        network = Musicnn()
        shapes = {theirs: tuple(network.state_dict()[ours].shape) for ours, theirs in network._names()}
        generator = np.random.default_rng(0)
        written = {}
        for name, shape in shapes.items():
            axes = shape[::-1] if len(shape) == 2 else shape
            if len(shape) == 4:  # (time, mel, in, out)
                axes = (*shape[2:], shape[1], shape[0])
            elif len(shape) == 3:  # (time, in, 1, out)
                axes = (shape[2], shape[1], 1, shape[0])
            written[name] = np.abs(generator.standard_normal(axes)).astype(np.float32)
        folder = tmp_path / "musicnn" / "MSD_musicnn"
        folder.mkdir(parents=True)
        for name, content in zip((".index", ".data-00000-of-00001"), bundle(written), strict=True):
            (folder / name).write_bytes(content)
        network = Musicnn(path=str(tmp_path)).eval()
        network.read_weights()
        image = torch.from_numpy(generator.standard_normal((1, 20, 96)).astype(np.float32))
        with torch.inference_mode():
            front = network.blocks["front"]
            convolved = front.filters[1].convolution(torch.nn.functional.pad(image[:, None], (0, 0, 3, 3)))[0].numpy()
            middle = network.blocks["cnn2"].convolution(image.transpose(1, 2)[:, :64])[0].numpy()
        padded = np.pad(image[0].numpy(), ((3, 3), (0, 0)))
        kernel = written["conv2d_1/kernel"][:, :, 0, 5]  # (7, 67)
        np.testing.assert_allclose(
            convolved[5, 9, 2], (padded[9:16, 2:69] * kernel).sum() + written["conv2d_1/bias"][5], rtol=1e-4
        )
        kernel = written["conv2d_6/kernel"][:, :, 0, 3]  # (7, 64)
        expected = (padded[6:13, :64] * kernel).sum() + written["conv2d_6/bias"][3]
        np.testing.assert_allclose(middle[3, 6], expected, rtol=1e-4)

    def test_rows_are_those_of_the_packages_spectrogram(self, musicnn: Musicnn) -> None:
        """Its whole pipeline but TensorFlow: the spectrogram in patches of 187 frames."""
        samples = noise(8)
        settings = {"_target_": f"{HOME}.musicnn.Musicnn", "path": real("musicnn")}
        rows, _ = Encoder(encoder=settings, window=3.008, hop=2.992, device="cpu").stored([samples])
        # The first window begins 128 samples before the track, the package's first frame 256.
        power = mel_power(samples[128:], 512, 256, 96)
        patches = np.log10(10000 * power + 1)[: 2 * 187].reshape(2, 187, 96)
        musicnn.front = nn.Identity()
        with torch.inference_mode():
            expected = musicnn(torch.from_numpy(patches))[:, :1506].numpy()
        assert rows.shape == (3, 1506)
        np.testing.assert_allclose(rows[:2], expected, rtol=0.02, atol=0.02)

    def test_layers(self) -> None:
        with pytest.raises(ArtistidError, match=r"features\.encoder\.layers=cnn4"):
            Musicnn(layers=["cnn4"])
        with pytest.raises(ArtistidError, match=r"features\.encoder\.layer_weights.*one width"):
            Musicnn(layers=["pool", "tags"], layer_weights=[1, 1])

    def test_a_wheel_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "other.whl").write_bytes(b"PK")
        with pytest.raises(ArtistidError, match=r"features\.encoder\.path"):
            Musicnn(path=str(tmp_path / "other.whl")).read_weights()


class TestMusicnnAndPitch:
    def test_levels_are_those_of_the_features(self) -> None:
        samples = noise(3)
        with torch.inference_mode():
            [found] = PitchLevels()(torch.from_numpy(samples)[None, None]).numpy()  # (pitch, time)
        levels = LogPitch(top_db=None)(samples)[4:][: found.shape[1]].T  # four hops are half a frame of padding
        np.testing.assert_allclose(found, np.maximum(levels, levels.max() - 80), atol=0.01)

    def test_both_are_side_by_side(self) -> None:
        torch.manual_seed(0)
        network = MusicnnAndPitch(parts=PARTS).eval()
        windows = torch.from_numpy(np.stack([noise(10), noise(10)[::-1]]))[:, None]
        begins = [0, (160000 - PIECE) // 2, 2 * ((160000 - PIECE) // 2)]
        with torch.inference_mode():
            found = network(windows)
            heard = torch.stack([network.tagger(windows[:, :, begin : begin + PIECE]) for begin in begins]).mean(dim=0)
            described = TimbreAndPitch(86, PARTS)(network.levels(windows))
        torch.testing.assert_close(found[:, :1506], heard)
        torch.testing.assert_close(found[:, 1506:], SCALE * described)

    def test_loudness_that_swings_fits_half_precision(self, cache_dir: Path) -> None:
        random_musicnn(cache_dir / "encoders")
        samples = noise(10) * np.repeat([1e-4, 10], 80000).astype(np.float32)
        settings = {"_target_": f"{HOME}.musicnn_pitch.MusicnnAndPitch"}
        rows, _ = Encoder(encoder=settings, window=10.0, device="cpu").stored([samples])
        assert rows.shape == (1, 2312)
        assert np.isfinite(rows).all()

    def test_a_window_that_is_too_short(self, cache_dir: Path) -> None:
        random_musicnn(cache_dir / "encoders")
        settings = {"_target_": f"{HOME}.musicnn_pitch.MusicnnAndPitch"}
        with pytest.raises(ArtistidError, match=r"features\.window: expected 48128 samples or more"):
            _ = Encoder(encoder=settings, window=2.0, device="cpu").width

    def test_as_the_larger_of_the_best(self, cache_dir: Path, tmp_path: Path) -> None:
        random_musicnn(cache_dir / "encoders")
        corpus = make_corpus(tmp_path / "corpus", seconds=30)
        run, again = tmp_path / "run", tmp_path / "again"
        settings = ("data=folder", f"data.root={corpus}", *QUICK, f"run_dir={run}")
        run_verb("train", *settings, "experiment=best_large", "clip=10s")
        checkpoint = run / "checkpoints" / "best.ckpt"
        run_verb("evaluate", f"checkpoint={checkpoint}", f"run_dir={again}", "workers=0")
        assert read_scores(again)["test"] == read_scores(run)["test"]
        assert read_scores(run)["training"]["backend"]["grid_points"] == 2, "without rhythm, and with it"
        run_verb("predict", f"checkpoint={checkpoint}", f"audio={next(corpus.rglob('*.flac'))}")


class TestResemblyzer:
    def test_what_the_package_gave(self) -> None:
        network = Resemblyzer(path=real("resemblyzer")).eval()
        network.read_weights()
        time = np.arange(25840) / 16000
        with torch.inference_mode():
            found = network(
                torch.from_numpy(0.1 * np.sin(2 * np.pi * (200 * time + 150 * time**2))).float()[None, None]
            )
        assert found.norm() == pytest.approx(1)
        np.testing.assert_allclose(found[0, GIVEN_UNITS], GIVEN_EMBEDDING, rtol=1e-3)

    def test_the_package_itself(self) -> None:
        voice = pytest.importorskip("resemblyzer").VoiceEncoder("cpu", verbose=False)
        samples = noise(4)
        _, expected, places = voice.embed_utterance(samples, return_partials=True, rate=1.25)
        settings = {"_target_": f"{HOME}.resemblyzer.Resemblyzer", "path": real("resemblyzer")}
        shifted = np.concatenate([np.zeros(80, np.float32), samples])  # the package's first frame begins earlier
        rows, _ = Encoder(encoder=settings, window=1.615, hop=0.8, device="cpu").stored([shifted])
        assert places[1].start == 0.8 * 16000
        # Windows overlap: ours are shifted by half of what they do.
        network = Resemblyzer(path=real("resemblyzer")).eval()
        network.read_weights()
        padded = np.pad(samples, (200, 30000))
        windows = np.stack([padded[place.start : place.start + 25840] for place in places])
        with torch.inference_mode():
            found = network(torch.from_numpy(windows)[:, None]).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert rows.shape[1] == 256

    def test_its_power_is_librosas(self) -> None:
        samples = noise(1)
        found = MelPower(400, 160, 40)(torch.from_numpy(samples)[None, None])[0].numpy()
        expected = mel_power(samples[40:], 400, 160, 40)[1:]  # whose frame 1 is centred on sample 200, as ours is
        np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
class TestMert:
    def test_layers_are_torchaudios(self, tmp_path: Path) -> None:
        """Random weights, under the names that Hugging Face's library gives them."""
        from torchaudio.models import hubert_base

        torch.manual_seed(0)
        network = hubert_base().eval()
        weights = {}
        for name, value in network.state_dict().items():
            name = re.sub(
                r"^encoder\.(transformer\.)?(feature_projection)?", lambda found: found[2] or "encoder.", name
            )
            name = name.replace("parametrizations.weight.original0", "weight_g")
            weights[name.replace("parametrizations.weight.original1", "weight_v")] = value
        torch.save({**weights, "masked_spec_embed": torch.zeros(768)}, tmp_path / "pytorch_model.bin")
        ours = Mert(layers=["layer1", "layer12"], path=str(tmp_path)).eval()
        ours.read_weights()
        samples = torch.randn(1, 1, 12000)
        with torch.inference_mode():
            found = ours(samples)
            normalised = (samples[:, 0] - samples.mean()) / torch.sqrt(samples.var(unbiased=False) + 1e-7)
            layers, _ = network.extract_features(normalised)
        torch.testing.assert_close(found, torch.cat([layers[0].mean(1), layers[11].mean(1)], dim=1))


class Plus(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(number))

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        return found + self.number


class Sums(BlockEncoder):
    """Two blocks that add 1 and 10 to a sequence of one vector."""

    def __init__(self, layers: list[str], layer_weights: list[float] | None = None) -> None:
        super().__init__(nn.Identity(), {"one": Plus(1.0), "ten": Plus(10.0)}, [2, 2], layers, layer_weights)

    def read_weights(self) -> None:
        pass


class TestLayers:
    windows = torch.tensor([[[0.0, 2.0]]])

    def test_chosen_ones_are_side_by_side(self) -> None:
        assert Sums(["ten", "one"])(self.windows).tolist() == [[11, 13, 1, 3]]
        assert Sums(["one"])(self.windows).tolist() == [[1, 3]]
        assert len(Sums(["one"]).used_blocks) == 1

    def test_weighted_mean(self) -> None:
        assert Sums(["one", "ten"], [3, 1])(self.windows).tolist() == [[3.5, 5.5]]
        with pytest.raises(ArtistidError, match=r"layer_weights=\[1\]"):
            Sums(["one", "ten"], [1])


class TestOnnx:
    """The networks of the presets, with random weights of the same interface, through the settings that users type."""

    @pytest.fixture
    def encoders(self, cache_dir: Path) -> Path:
        return cache_dir / "encoders"

    def rows(
        self, preset: str, corpus: Path, *settings: str
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """What is stored of a song, and its samples."""
        overrides = ["data=folder", f"data.root={corpus}", "features=encoder", f"encoder={preset}", *settings]
        run_verb("prepare", *overrides, "workers=1")
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("prepare", overrides)
        catalog, store, _ = make_features(config, find_songs(config), features_of(config))
        track = next(track for track in catalog if track.path.suffix == ".flac")
        return np.asarray(store.track(track.track_id)), decode(track.path, 16000)

    def test_batches_of_one_size(self, encoders: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Of discogs_artist, which takes 64 spectrograms, and is for non-commercial use only."""
        path = encoders / "discogs_artist_embeddings-effnet-bs64-1.onnx"
        matrices = random_onnx(path, (64, 128, 96), (1,), {"activations": 4, "embeddings": 512})
        rows, samples = self.rows("discogs_artist", corpus)
        said = capsys.readouterr().out
        assert 0 < said.index("non-commercial") < said.index("decoding")
        padded = np.pad(samples, ((33024 - 15872) // 2, 33024))
        for number in (0, 2):
            window = padded[number * 15872 :][:33024]
            power = mel_power(window, 512, 256, 96)[1:129]
            expected = np.log10(1 + 10000 * power).mean(axis=0) @ matrices["embeddings"]
            np.testing.assert_allclose(rows[number], expected, rtol=0.01, atol=0.02)

    def test_filter_bank(self, encoders: Path, corpus: Path) -> None:
        """Of ecapa: the mean over time is 0, since the filter bank's mean was taken off."""
        random_onnx(encoders / "voxceleb_ECAPA512.onnx", ("B", "T", 80), (1,), {"embs": 192})
        rows, _ = self.rows("ecapa", corpus)
        assert rows.shape[1] == 192
        assert np.abs(rows.astype(np.float32)).max() < 0.01

    def test_one_window_at_a_time(self, encoders: Path, corpus: Path) -> None:
        """Of redimnet, which takes samples ``(1, n)``."""
        matrices = random_onnx(encoders / "redimnet2-b3.onnx", (1, "n"), (1,), {"embedding": 192})
        rows, samples = self.rows("redimnet", corpus)
        padded = np.pad(samples, (12000, 48000))
        expected = padded[24000:72000].mean() * matrices["embedding"][0]
        np.testing.assert_allclose(rows[1], expected, rtol=0.1, atol=1e-5)

    def test_any_file(self, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        random_onnx(tmp_path / "mine.onnx", ("b", "n"), (1,), {"first": 3, "second": 2})
        rows, _ = self.rows(
            "onnx", corpus, f"features.encoder.path={tmp_path}/mine.onnx", "features.encoder.layers=[second,first]"
        )
        assert rows.shape == (4, 5)
        told = refused(capsys, f"features.encoder.path={tmp_path}/mine.onnx", "features.encoder.layers=[third]")
        assert "features.encoder.layers=third" in told
        (tmp_path / "broken.onnx").write_bytes(b"no network")
        assert "broken.onnx is not a usable ONNX" in refused(capsys, f"features.encoder.path={tmp_path}/broken.onnx")


def refused(capsys: pytest.CaptureFixture[str], *settings: str, preset: str = "onnx") -> str:
    """What is said before the music is looked for."""
    capsys.readouterr()
    given = ("data=folder", "data.root=nowhere", "features=encoder", f"encoder={preset}", "model=layer_mix")
    with pytest.raises(SystemExit):
        run_verb("train", *given, *settings)
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


@pytest.mark.parametrize(("preset", "told"), [("mert", "huggingface.co/m-a-p"), ("resemblyzer", "pip download")])
def test_weights_that_are_not_there(
    preset: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("ARTISTID_CACHE", "HF_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    if preset == "resemblyzer" and find_spec("resemblyzer"):
        pytest.skip("it is installed")
    message = refused(capsys, preset=preset)
    assert told in message
    assert "features.encoder.path" in message


def test_a_window_that_is_too_long(cache_dir: Path) -> None:
    """A stranger's checkpoint may ask for it."""
    random_musicnn(cache_dir / "encoders")
    with pytest.raises(ArtistidError, match=r"features\.window"):
        _ = Encoder(encoder={"_target_": f"{HOME}.musicnn.Musicnn"}, window=3000.0, device="cpu").width


@pytest.mark.parametrize("kind", ["musicnn.Musicnn", "onnx_file.OnnxFile", "separators.Demucs"])
def test_a_checkpoint_may_name_them(kind: str) -> None:
    encoder = {"_target_": "artistid.data.encoder.Encoder", "encoder": {"_target_": f"{HOME}.{kind}"}}
    check_targets(CRNN, encoder, {}, ())
    with pytest.raises(ArtistidError):
        check_targets(CRNN, {"_target_": f"{HOME}.{kind}"}, {}, ())


class TestVerbs:
    @pytest.fixture(scope="class")
    def checkpoint(self, corpus: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Of a network that learned how much two layers of musicnn, with random weights, count."""
        random_musicnn(cache_dir / "encoders")
        folder = tmp_path_factory.mktemp("encoded")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            layers = ["encoder=musicnn", "features.encoder.layers=[pool,pool]", "model.network.n_layers=2"]
            run_verb(
                "train",
                "data=folder",
                f"data.root={corpus}",
                *QUICK,
                "clip=3s",
                "features=encoder",
                *layers,
                "model=layer_mix",
            )
        [run_dir] = folder.glob("runs/*/album-3s-layer_mix-musicnn-*/0")
        return run_dir / "checkpoints" / "best.ckpt"

    def test_evaluate_and_predict(self, checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
        run_verb(
            "evaluate",
            f"checkpoint={checkpoint}",
            f"run_dir={tmp_path}",
            "workers=0",
            "trainer.enable_progress_bar=false",
        )
        assert read_scores(tmp_path)["test"] == read_scores(checkpoint.parents[1])["test"]
        run_verb("predict", f"checkpoint={checkpoint}", f"audio={next(corpus.rglob('*.flac'))}")

    def test_embed(self, checkpoint: Path, tmp_path: Path) -> None:
        run_verb("embed", f"checkpoint={checkpoint}", f"out={tmp_path}/music.parquet", "workers=0")

    def test_export_is_refused(self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            run_verb("export", f"checkpoint={checkpoint}", f"out={tmp_path}/net.onnx")
        assert "features=logmel" in capsys.readouterr().err


class TestFineTuned:
    def test_the_last_blocks_learn(
        self, corpus: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And whoever opens the checkpoint needs no other file."""
        random_musicnn(cache_dir / "encoders")
        run_verb(
            "train",
            "data=folder",
            f"data.root={corpus}",
            *QUICK,
            "clip=3s",
            "model=fine_tuned",
            f"run_dir={tmp_path}/run",
        )
        _, weights = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
        before = Musicnn()
        before.read_weights()
        changed = {
            name.split(".")[1]
            for name, value in before.state_dict().items()
            if not torch.equal(value, weights[f"encoder.{name}"])
        }
        assert changed == {"penultimate"}
        monkeypatch.setenv("ARTISTID_CACHE", str(tmp_path / "empty"))
        run_verb("predict", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", f"audio={next(corpus.rglob('*.flac'))}")
