"""Exporting a checkpoint through the real command, and using the file as another program would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

from artistid import __version__
from artistid.inference import onnx_file
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.specification import CHECKPOINT_KEY
from tests.corpus import make_song
from tests.inference.networks import ARTISTS, save_checkpoint
from tests.verbs import run_verb, train

DOCS = Path(__file__).parents[1] / "docs"
THRESHOLD = 0.99
ALONE = "\nimport sys\nassert not {'torch', 'artistid'} & set(sys.modules)\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``best.ckpt``, ``new/model.onnx`` that the command made of it, and what it printed, ``out.txt``."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = save_checkpoint(folder / "best.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    content[CHECKPOINT_KEY]["open_set"] = {"threshold": THRESHOLD, "accepted": 0.95, "n_songs": 6}
    torch.save(content, checkpoint)
    with (folder / "out.txt").open("w", encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
        run_verb("export", f"checkpoint={checkpoint}", f"out={folder / 'new' / 'model.onnx'}")
    return folder


def run_snippet(folder: Path) -> list[str]:
    """The lines that the tutorial's snippet prints, run in a folder with ``model.onnx`` and ``song.wav``."""
    page = (DOCS / "tutorials" / "onnx.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [snippet] = [snippet for snippet in snippets if "onnxruntime" in snippet]
    command = [sys.executable, "-I", "-c", snippet + ALONE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_tutorials_snippet_needs_neither_torch_nor_this_package(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "new" / "model.onnx", tmp_path)
    samples = make_song(1, np.random.default_rng(0), 8.0)
    soundfile.write(tmp_path / "song.wav", np.stack([samples, samples], axis=1), 16000, "FLOAT")
    lines = run_snippet(tmp_path)
    classifier = ArtistClassifier.from_checkpoint(exported / "best.ckpt")
    said = onnx_file.expect(classifier.network, classifier.specification, samples)
    best = said["ranking"][0]
    votes = (said["clip_probability"].argmax(axis=1) == best).mean()
    assert said["probability"][best] < THRESHOLD
    assert len(lines) == 4
    assert lines[0] == "none of them"
    assert lines[1] == f"{said['probability'][best]:.0%} {ARTISTS[best]}, {votes:.0%} of the clips"


def test_the_file_says_what_a_caller_must_know(exported: Path) -> None:
    about = onnxruntime.InferenceSession(exported / "new" / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(about["artists"]) == ARTISTS
    assert about["sample_rate"] == "16000"
    assert float(about["clip_seconds"]) == 1.024
    assert about["vote"] == "majority"
    assert about["artistid_version"] == __version__
    assert float(about["threshold"]) == THRESHOLD
    page = (DOCS / "reference" / "onnx.md").read_text(encoding="utf-8")
    [table] = re.findall(r"file's metadata has what a caller must know.*?\n\n(.*?)\n\n", page, re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(about)


def test_nothing_of_this_machine_is_in_the_file(exported: Path) -> None:
    content = (exported / "new" / "model.onnx").read_bytes()
    assert str(Path(onnx_file.__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content


def test_what_it_prints_and_writes(exported: Path) -> None:
    about, given, outputs, difference = (exported / "out.txt").read_text(encoding="utf-8").splitlines()
    assert re.search(r"model\.onnx: \d\.\d MB", about)
    assert given == "input: samples at 16000 Hz"
    assert "probability of 3 artists" in outputs
    assert outputs.endswith("the song's embedding")
    assert float(re.findall(r"differ by (\S+) at most", difference)[0]) < 1e-4
    assert [path.name for path in (exported / "new").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ((), "out=PATH is missing"),
        (("out=model.pt",), "out=model.pt: expected a name that ends in .onnx, found '.pt'"),
        (("out=x.onnx",), "checkpoint=PATH is missing"),
        (("out=x.onnx", "checkpoint=none.ckpt"), "checkpoint=none.ckpt does not exist"),
        (("out={folder}/new/model.onnx", "checkpoint={folder}/best.ckpt"), "overwrite=true"),
        (("out={folder}/best.ckpt/x.onnx", "checkpoint={folder}/best.ckpt"), "cannot be written"),
    ],
)
def test_bad_settings(exported: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run_verb("export", *(setting.format(folder=exported) for setting in settings))
    assert ended.value.code == 1
    assert told in capsys.readouterr().err


def test_packages_that_are_missing_are_named_before_any_work(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit):
        run_verb("export", f"checkpoint={exported / 'best.ckpt'}", f"out={tmp_path / 'new' / 'x.onnx'}")
    assert "export needs onnxscript: pip install 'artistid[export]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_that_disagrees_is_removed_and_the_old_one_kept(
    exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (exported / "new" / "model.onnx").read_bytes()
    monkeypatch.setattr(onnx_file, "TOLERANCE", 0.0)
    monkeypatch.setattr(onnx_file, "HISS", 0.0)  # by which a network may be thrown
    with pytest.raises(SystemExit):
        run_verb(
            "export", f"checkpoint={exported / 'best.ckpt'}", f"out={exported / 'new' / 'model.onnx'}", "overwrite=true"
        )
    assert "ONNX Runtime and PyTorch differ by" in capsys.readouterr().err
    assert (exported / "new" / "model.onnx").read_bytes() == before
    assert [path.name for path in (exported / "new").iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_a_trained_network(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", "clip=3s", "trainer.max_epochs=8", "optimizer.lr=1e-3")
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    run_verb("export", f"checkpoint={checkpoint}", f"out={tmp_path / 'model.onnx'}")
    classifier = ArtistClassifier.from_checkpoint(checkpoint)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for seconds in (0.2, 3.0, 40.0):
        samples = make_song(2, np.random.default_rng(5), seconds)
        said = onnx_file.expect(classifier.network, classifier.specification, samples)
        probability, _, _, embedding = session.run(None, {"samples": samples})
        np.testing.assert_allclose(probability, said["probability"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(embedding, said["embedding"], rtol=0, atol=1e-4)


def test_onnx_runtime_keeps_and_sends_nothing(tmp_path: Path) -> None:
    """Of its own accord it writes a name of the machine below the user's home, and sends what it is used for."""
    code = (
        "import artistid, numpy, onnx, onnxruntime\n"
        "x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in 'xy')\n"
        "graph = onnx.helper.make_graph([onnx.helper.make_node('Abs', ['x'], ['y'])], 'g', [x], [y])\n"
        "opset = [onnx.helper.make_opsetid('', 18)]\n"
        "model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()\n"
        "onnxruntime.InferenceSession(model).run(None, {'x': numpy.ones(1, 'f')})\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("CI", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.iterdir())
