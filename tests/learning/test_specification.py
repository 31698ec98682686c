"""What a checkpoint may hold, and what it may not do."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from artistid.data.features import LogMel
from artistid.errors import ArtistidError
from artistid.learning.specification import Specification, load_network
from artistid.old_names import as_first_written
from tests.learning.test_classifier import specification


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def write(path: Path, **changes: Any) -> Path:
    """A checkpoint of an untrained network."""
    plain = specification().plain()
    weights = {f"network.{name}": value for name, value in specification().build().state_dict().items()}
    torch.save({"state_dict": weights, "artistid": {**plain, **changes}}, path)
    return path


def test_a_checkpoint_gives_a_network_that_is_ready(tmp_path: Path) -> None:
    found, network = load_network(write(tmp_path / "x.ckpt"))
    assert found == specification()
    assert not network.training


@pytest.mark.parametrize("kind", ["plain", "torch", "within"])
def test_a_malicious_pickle_is_refused_and_nothing_is_run(tmp_path: Path, kind: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.ckpt"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Evil(trace)))
    elif kind == "torch":
        torch.save({"state_dict": {}, "artistid": Evil(trace)}, path)
    else:
        write(path, artists=[Evil(trace)])
    if kind != "plain":  # it is a real threat: who unpickles it runs it
        with zipfile.ZipFile(path) as archive:
            [name] = [name for name in archive.namelist() if name.endswith("data.pkl")]
            assert b"touch" in archive.read(name)
    with pytest.raises(ArtistidError, match=r"evil\.ckpt cannot be read: .*nothing was run") as error:
        load_network(path)
    assert "weights_only" not in str(error.value), "no advice to run it all the same"
    assert not trace.exists()


@pytest.mark.parametrize(
    "network",
    [
        {"_target_": "os.system", "command": "touch {trace}"},
        # What our modules import is not part of them.
        {"_target_": "artistid.runs.provenance.subprocess.run", "args": ["touch", "{trace}"]},
        {
            "_target_": "artistid.models.crnn.CRNN",
            "n_mels": {"_target_": "artistid.runs.provenance.subprocess.call", "args": ["touch", "{trace}"]},
        },
        {
            "_target_": "artistid.models.crnn.CRNN",
            "n_mels": ["x", {"_target_": "artistid.learning.specification.Path", "_args_": ["{trace}"]}],
        },
        {
            "_target_": "artistid.models.crnn.CRNN",
            "n_mels": "${{oc.decode:'{{_target_: os.system, command: touch {trace}}}'}}",
        },
        {"_target_": "artistid.models.crnn.CRNN", "n_mels": "${{oc.env:HOME}}"},
        {"_target_": 3},
    ],
)
def test_a_configuration_that_calls_something_foreign(tmp_path: Path, network: dict[str, Any]) -> None:
    trace = tmp_path / "trace"

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        return value.format(trace=trace) if isinstance(value, str) else value

    with pytest.raises(ArtistidError, match=r"x\.ckpt is not safe to use"):
        load_network(write(tmp_path / "x.ckpt", network=filled(network)))
    with pytest.raises(ArtistidError, match=r"x\.ckpt is not safe to use"):
        load_network(write(tmp_path / "x.ckpt", data=filled(network)))
    assert not trace.exists()


def test_an_older_checkpoint_has_no_threshold() -> None:
    plain = specification().plain()
    del plain["open_set"]
    assert Specification.from_plain(plain, "x").open_set_threshold() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "blue"}, "another version of artistid than this one, .*: colour unknown"),
        ({"features": {"wavelets": 3}}, "another version of artistid: .*wavelets"),
        ({"clip": {"name": "x"}}, "another version of artistid"),
        ({"open_set": {"threshold": 7.0, "accepted": 0.9, "n_songs": 3}}, r"open_set\.threshold=7\.0"),
        ({"artists": "ab"}, "another version"),
        ({"artists": [1, 2]}, "another version"),
        ({"network": {"_target_": "artistid.models.crnn.CRNN", "layers": 9}}, "don't fit"),
        ({"artists": ["x", "y", "z"]}, "don't fit"),
    ],
)
def test_another_version_s(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtistidError, match=message) as error:
        load_network(write(tmp_path / "x.ckpt", **change))
    assert "x.ckpt" in str(error.value)


def test_a_missing_entry_is_named() -> None:
    plain = specification().plain()
    del plain["clip"], plain["vote"]
    with pytest.raises(ArtistidError, match="clip missing, vote missing"):
        Specification.from_plain(plain, "x")


def test_features_and_network_of_before_are_read_by_their_old_names(tmp_path: Path) -> None:
    """And collections that were embedded then are known to be of this network."""
    crnn = "artistid.models.crnn.CRNN"
    before = {"features": {"n_mels": 128, "top_db": 60.0}, "network": {"_target_": crnn, "n_mels": 128}}
    found, _ = load_network(write(tmp_path / "old.ckpt", **before))
    assert found.build_features() == LogMel(n_mels=128, top_db=60.0)
    assert found.network == {"_target_": crnn, "n_features": 128}
    assert as_first_written(found.network, found.features) == before
