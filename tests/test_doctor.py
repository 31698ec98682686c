from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from packaging.requirements import Requirement

from artistid.config import config_dir
from artistid.doctor import AUDIO_FORMATS, Finding, diagnose, show
from artistid.errors import ArtistidError
from tests.verbs import run_verb


def findings(about: str, cache: Path, **settings: object) -> dict[str, Finding]:
    config = OmegaConf.create({"cache_dir": str(cache), **settings})
    return {finding.name: finding for finding in diagnose(config) if finding.about == about}


def test_the_command_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("doctor", f"cache_dir={tmp_path}/cache")
    out = capsys.readouterr().out
    for word in ("torch", "mp3", "precision", "place", "data=synthetic", "data=artist20"):
        assert word in out
    assert "broken" not in out


def test_every_format_that_can_be_written_is_decoded(tmp_path: Path) -> None:
    found = findings("decoders", tmp_path)
    assert {ending for ending, *_ in AUDIO_FORMATS} < set(found)
    assert all(found[ending].state == "works" for ending, *_ in AUDIO_FORMATS)
    assert found["mp3"].found.startswith("1 s")
    assert found["FFmpeg"].state == "works"


def test_stores_are_counted_shards_included(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    music = ("data=folder", f"data.root={corpus}", f"cache_dir={cache}", "workers=0")
    for shard in ("0", "1"):
        run_verb("prepare", *music, f"shard={shard}", "shards=2")
    found = findings("cache", cache)
    (store,) = (finding for name, finding in found.items() if name.startswith("corpus/logmel"))
    assert store.found.startswith("18 files, ")
    assert store.found.endswith(", 2 shards")
    assert found["place"].state == "works"
    assert not found["size"].found.startswith("0 ")


def test_a_cache_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = findings("cache", tmp_path / "file" / "cache")
    assert found["place"].state == "broken"
    assert "ARTISTID_CACHE" in found["place"].remedy


def test_every_source_is_listed_with_how_to_get_it(tmp_path: Path) -> None:
    found = findings("data", tmp_path)
    assert set(found) == {f"data={path.stem}" for path in (config_dir() / "data").glob("*.yaml")}
    assert "on request from LabROSA" in found["data=artist20"].found


def test_a_collection_is_looked_for(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("doctor", f"cache_dir={tmp_path}", "data=folder", f"data.root={corpus}")
    assert "18 songs, 9 albums, 3 artists" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run_verb("doctor", f"cache_dir={tmp_path}", "data=folder", f"data.root={tmp_path}/nowhere")
    assert ended.value.code == 1
    assert "nowhere does not exist" in capsys.readouterr().err


def test_what_is_optional_breaks_nothing_and_what_is_needed_does(capsys: pytest.CaptureFixture[str]) -> None:
    optional = Finding("packages", "tensorboard", "missing", "not installed", "pip install 'artistid[tensorboard]'")
    show([optional])
    assert "tensorboard: pip install 'artistid[tensorboard]'" in capsys.readouterr().out
    with pytest.raises(ArtistidError, match="packages: torch is broken: OSError: libtorch"):
        show([optional, Finding("packages", "torch", "broken", "OSError: libtorch", "pip install torch")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "content", "code", "told"),
    [
        ("tensorboard", "raise ImportError('torn')", 0, "ImportError: torn"),
        ("av", "raise ImportError('libavcodec.so')", 1, "decoders: FFmpeg is broken: ImportError: libavcodec.so"),
        ("pyarrow", "raise OSError('libarrow.so')", 1, "packages: pyarrow is broken: OSError: libarrow.so"),
    ],
)
def test_an_installation_with_a_library_that_cannot_be_imported(
    tmp_path: Path, module: str, content: str, code: int, told: str
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(content)
    checkout = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}/modules{os.pathsep}{checkout}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "artistid.doctor", f"cache_dir={tmp_path}/cache"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert told in done.stdout + done.stderr


def test_packages_are_those_of_the_metadata(tmp_path: Path) -> None:
    found = findings("packages", tmp_path)
    requirements = [Requirement(text) for text in requires("artistid") or []]
    always = {each.name for each in requirements if each.marker is None}
    optional = {each.name for each in requirements if each.marker and "test" not in str(each.marker)}
    assert set(found) == {"artistid"} | always | optional
    assert found["scikit-learn"].found == version("scikit-learn")  # imported as sklearn
    assert found["uvicorn"].state == "works"
    assert "python -m artistid.app" in found["uvicorn"].found
