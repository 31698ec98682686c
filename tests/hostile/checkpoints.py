"""Checkpoints and saved folders that somebody might have made to harm whoever opens them.

Each is made by a function of :data:`HOSTILE` at the path that it is given. All but those of :data:`DESCRIBED` are to be
refused by every verb; those say lies about their data only, and harm nobody who uses the network alone.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.inference.networks import random_network, specification_of

Maker = Callable[[Path], None]

HOSTILE: dict[str, Maker] = {}
DESCRIBED: set[str] = set()
TRACE = "trace"  # the file that code of a checkpoint would leave in the current folder
BASHRC = "~/.bash_aliases"
GIGABYTE = 2**30


def plain(**changes: Any) -> dict[str, Any]:
    """A good specification, but for some entries."""
    return {**copy.deepcopy(specification_of(32).plain()), **changes}


@cache
def _good_network() -> torch.nn.Module:
    return random_network(0)


def weights(**changes: Any) -> dict[str, Any]:
    """Good weights by parameter name, but for some; None takes one away."""
    state: dict[str, Any] = dict(_good_network().state_dict())
    state.update(changes)
    return {f"network.{name}": value for name, value in state.items() if value is not None}


def write(path: Path, specification: Any = None, state: Any = None) -> None:
    """A checkpoint, as ``train`` writes it."""
    content = {
        "state_dict": weights() if state is None else state,
        "artistid": plain() if specification is None else specification,
    }
    torch.save(content, path)


def write_zip(path: Path, pickled: bytes, **options: Any) -> None:
    """What ``torch.save`` makes of a pickle, with records of a few zeros."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/data/0", b"\0" * 64)
        archive.writestr("x/version", b"3\n")


def write_folder(path: Path, config: bytes | None = None, tensors: bytes | None = None) -> None:
    """A saved folder, one of whose files may be another."""
    from safetensors.torch import save

    path.mkdir()
    good = json.dumps({"artistid_version": "0.1.0", **plain()}).encode()
    (path / "config.json").write_bytes(good if config is None else config)
    state = {name.removeprefix("network."): value.contiguous() for name, value in weights().items()}
    (path / "model.safetensors").write_bytes(save(state) if tensors is None else tensors)


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {TRACE}",)


def hostile(name: str, described: bool = False) -> Callable[[Maker], Maker]:
    def add(maker: Maker) -> Maker:
        assert name not in HOSTILE
        HOSTILE[name] = maker
        if described:
            DESCRIBED.add(name)
        return maker

    return add


def _add_specification(title: str, **changes: Any) -> None:
    hostile(title)(lambda path: write(path, plain(**changes)))


def _add_changed(subset: str, title: str, **changes: Any) -> None:
    """A specification, one of whose dicts has other entries."""
    hostile(title)(lambda path: write(path, plain(**{subset: {**plain()[subset], **changes}})))


def _add_network(title: str, network: Any) -> None:
    _add_specification(f"network: {title}", network=network)


def _add_data(title: str, described: bool = False, **data: Any) -> None:
    hostile(f"data: {title}", described)(lambda path: write(path, plain(data=data)))


def _add_weights(title: str, make: Callable[[], dict[str, Any]]) -> None:
    hostile(f"weights: {title}")(lambda path: write(path, state=weights(**make())))


# --- pickles and archives ---


@hostile("a pickle, protocol 2")
def _(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(), protocol=2))


@hostile("a pickle, protocol 0")
def _(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(), protocol=0))


@hostile("a pickle of protocol 4 in an archive")
def _(path: Path) -> None:
    write_zip(path, pickle.dumps({"artistid": Evil()}, protocol=4))


@hostile("code among the settings")
def _(path: Path) -> None:
    write(path, plain(artists=[Evil()]))


@hostile("code beside the settings")
def _(path: Path) -> None:
    torch.save({"state_dict": weights(), "artistid": plain(), "optimizer_states": [Evil()]}, path)


@hostile("torch's old format")
def _(path: Path) -> None:
    torch.save({"state_dict": weights(), "artistid": plain()}, path, _use_new_zipfile_serialization=False)


@hostile("torch's old format with code")
def _(path: Path) -> None:
    torch.save({"artistid": Evil()}, path, _use_new_zipfile_serialization=False)


@hostile("torch's oldest format, a tar")
def _(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Evil(), protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@hostile("a scripted network")
def _(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)


for _name, _pickled in {
    "eval": b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
    "a function of torch's": b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00x\x85R.",
    "a terabyte of bytes": b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.",
    "an operation INST": b"\x80\x02(X\x01\x00\x00\x00xios\nsystem\n.",
    "a storage by text": b"\x80\x02Pstorage\n.",
    "a place in memory of 64 GB": b"\x80\x02}r\xff\xff\xff\xff.",
    "no end": b"\x80\x02}",
    "an unknown operation": b"\x80\x02\xff.",
    "a text of 4 GB that is not there": b"\x80\x02X\xff\xff\xff\xffx.",
    "a list of itself": b"\x80\x02}(X\x08\x00\x00\x00artistid]q\x01h\x01aX\n\x00\x00\x00state_dict}u.",
}.items():
    hostile(f"a pickle with {_name}")(lambda path, _pickled=_pickled: write_zip(path, _pickled))  # type: ignore[misc]


@hostile("a bomb of weights: 1 GB of zeros, compressed")
def _(path: Path) -> None:
    write(path)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            if not name.endswith("data/0"):
                archive.writestr(name, content)
                continue
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(GIGABYTE // 2**20):
                    file.write(b"\0" * 2**20)


@hostile("a bomb of a pickle: 256 MB, compressed")
def _(path: Path) -> None:
    write_zip(path, b"\x80\x02X\xff\xff\xff\x0f" + b" " * (2**28 - 1) + b".", compression=zipfile.ZIP_DEFLATED)


@hostile("an archive that claims more than it has")
def _(path: Path) -> None:
    write_zip(path, b"\x80\x02}.")
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"x/data/0"))
    content[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)  # both sizes, in the directory
    path.write_bytes(content)


@hostile("another archive behind the archive")
def _(path: Path) -> None:
    write(path)
    other = path.with_suffix(".other")
    write_zip(other, b"\x80\x02}.")
    path.write_bytes(path.read_bytes() + other.read_bytes()[:-1])
    other.unlink()


@hostile("an entry twice")
def _(path: Path) -> None:
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))


@hostile("entries in two folders")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("../../y/data.pkl", pickle.dumps({}, protocol=2))


@hostile("an archive without a pickle")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data/0", b"1234")


@hostile("a file cut short")
def _(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@hostile("an empty file")
def _(path: Path) -> None:
    path.write_bytes(b"")


@hostile("noise")
def _(path: Path) -> None:
    path.write_bytes(torch.randint(256, (10_000,), generator=torch.Generator().manual_seed(0)).byte().numpy().tobytes())


@hostile("a song")
def _(path: Path) -> None:
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 100)


# --- entries of other kinds ---

hostile("a list")(lambda path: torch.save([1, 2], path))
hostile("no specification")(lambda path: torch.save({"state_dict": weights()}, path))
hostile("a specification that is a list")(lambda path: write(path, ["artists"]))
hostile("a specification by numbers")(lambda path: write(path, {1: 2}))
hostile("a state that is a list")(lambda path: write(path, state=list(weights().items())))
hostile("a state with numbers for names")(lambda path: write(path, state=dict(enumerate(weights().values()))))
hostile("a state of text")(lambda path: write(path, state=dict.fromkeys(weights(), "x")))
hostile("a state with raw escape bytes")(
    lambda path: write(path, state={**weights(), "network.\x1b[2J\x07": torch.ones(1)})
)
hostile("a setting with raw escape bytes")(lambda path: write(path, plain(**{"\x1b]0;owned\x07": 1})))


def _shared(levels: int) -> Any:
    value: Any = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


hostile("billions of values that share nodes")(lambda path: write(path, plain(recordings=_shared(10))))
hostile("lists within lists, 300 deep")(lambda path: write(path, plain(pretrained_from={"recordings": _deep(300)})))


@hostile("lists within lists, 100,000 deep")
def _(path: Path) -> None:
    key, state = (b"X" + struct.pack("<I", len(name)) + name for name in (b"artistid", b"state_dict"))
    write_zip(path, b"\x80\x02}(" + key + b"]" * 100_000 + b"a" * 99_999 + state + b"}u.")


for _name, _changes in {
    "artists is text": {"artists": "ab"},
    "artists is a number": {"artists": 3},
    "artists are numbers": {"artists": [1, 2, 3]},
    "no artists": {"artists": []},
    "an artist twice": {"artists": ["a", "a", "b"]},
    "an artist that is half a letter": {"artists": ["\ud800", "b", "c"]},
    "an artist of a million letters": {"artists": ["a" * 1_000_000, "b", "c"]},
    "a hundred thousand artists": {"artists": [str(number) for number in range(100_000)]},
    "a million artists": {"artists": [str(number) for number in range(1_000_000)]},
    "recordings are numbers": {"recordings": [1, 2]},
    "recordings is a dict": {"recordings": {}},
    "features is a list": {"features": [1]},
    "clip is text": {"clip": "1s"},
    "a vote that there is not": {"vote": "\x1b[31mevil"},
    "a precision that there is not": {"precision": "17-bit"},
    "a precision that is a list": {"precision": ["32-true"]},
    "batches of a trillion": {"batch_size": 10**12},
    "batches of less than none": {"batch_size": -1},
    "batches of half a clip": {"batch_size": 0.5},
    "a number of 40 digits": {"split": {"rule": "album", "seed": 10**40, "subsets": {}}},
    "split is a list": {"split": ["album"]},
    "subsets is a list": {"split": {"rule": "album", "seed": 0, "subsets": ["train"]}},
    "a subset that there is not": {"split": {"rule": "album", "seed": 0, "subsets": {"a": "evil"}}},
    "it grew from a list": {"pretrained_from": ["x"]},
    "it grew from nothing": {"pretrained_from": {"checkpoint": "x"}},
    "a threshold that is not a number": {"open_set": {"threshold": float("nan"), "accepted": 0.95, "n_songs": 3}},
    "a threshold of text": {"open_set": {"threshold": "x", "accepted": 0.95, "n_songs": 3}},
    "a threshold of 7": {"open_set": {"threshold": 7.0, "accepted": 0.95, "n_songs": 3}},
    "bytes": {"vote": b"majority"},
    "a set": {"recordings": {"a"}},
    "a tensor": {"batch_size": torch.tensor(16)},
}.items():
    _add_specification(_name, **_changes)

for _name, _changes in {
    "a window of 10^12 samples": {"n_fft": 10**12},
    "a million mel bins": {"n_mels": 1_000_000},
    "half a mel bin more": {"n_mels": 128.5},
    "a rate of 10^12 Hz": {"sample_rate": 10**12, "f_max": 8000.0},
    "a rate of 1 Hz": {"sample_rate": 1, "f_max": 0.5},
    "a frame for each sample": {"hop_length": 1},
    "a highest frequency that is not a number": {"f_max": float("nan")},
    "a window of text": {"n_fft": "2048"},
    "a setting of features that there is not": {"wavelets": 1},
}.items():
    _add_changed("features", _name, **_changes)

ENCODER = "artistid.data.encoder.Encoder"
for _name, _features in {
    "a command": {"_target_": "os.system", "command": f"touch {TRACE}"},
    "a number": {"_target_": 3},
    "a class of ours that makes none": {"_target_": "artistid.data.store.Store"},
    "a network of ours": {"_target_": "artistid.models.crnn.CRNN"},
    "the contract itself": {"_target_": "artistid.data.features.Features"},
    "of a package that nobody trusts": {"_target_": "untrusted_package.Features"},
    "an encoder that is a command": {"_target_": ENCODER, "encoder": {"_target_": "os.system", "command": TRACE}},
    "an encoder of ours, huge": {
        "_target_": ENCODER,
        "encoder": {"_target_": "artistid.models.crnn.CRNN", "recurrent_units": 10**7},
    },
    "an encoder that is given a command": {"_target_": ENCODER, "input": {"_target_": "subprocess.run", "args": "x"}},
    "an encoder without a network": {"_target_": ENCODER},
    "the bottleneck of nothing": {"_target_": "artistid.learning.bottleneck.Bottleneck"},
    "raw samples, a million in a row": {"_target_": "artistid.data.raw_samples.RawSamples", "hop_length": 10**6},
}.items():
    _add_specification(f"features: {_name}", features=_features)


@hostile("features: the bottleneck of itself")
def _(path: Path) -> None:
    itself = {"_target_": "artistid.learning.bottleneck.Bottleneck", "checkpoint": str(path)}
    write(path, plain(features=itself))


for _name, _changes in {
    "clips that are whole songs": {"seconds": None, "frames": None},
    "clips of 10^12 frames": {"frames": 10**12},
    "clips of no frames": {"frames": 0},
    "clips of half a frame more": {"frames": 32.5},
    "clips of true frames": {"frames": True},
    "clips that are kept by a text": {"keep_last": "no"},
    "clips named by a number": {"name": 3},
}.items():
    _add_changed("clip", _name, **_changes)

# --- targets ---

CRNN = "artistid.models.crnn.CRNN"
for _name, _network in {
    "a list": [CRNN],
    "text": CRNN,
    "none": {},
    "a number": {"_target_": 3},
    "a command": {"_target_": "os.system", "command": f"touch {TRACE}"},
    "what a module of ours imports": {"_target_": "artistid.runs.provenance.subprocess.run", "args": ["touch", TRACE]},
    "what a module of the networks imports": {"_target_": "artistid.models.crnn.torch.load", "f": "x"},
    "a class of ours that is not a network": {"_target_": "artistid.models.statistics.SongStatisticsSVM"},
    "a class of ours elsewhere": {"_target_": "artistid.runs.folder.RunFolder", "path": "x"},
    "a function of ours": {"_target_": "artistid.models.crnn._block"},
    "a network of torch": {"_target_": "torch.nn.Linear", "in_features": 10**6, "out_features": 10**6},
    "of a package that nobody trusts": {"_target_": "untrusted_package.Net"},
    "raw escape bytes": {"_target_": "\x1b[2J.Net"},
    "a command within": {"_target_": CRNN, "dropout": {"_target_": "os.system", "command": f"touch {TRACE}"}},
    "a command in a list": {"_target_": CRNN, "dropout": [{"_target_": "subprocess.call", "args": ["touch", TRACE]}]},
    "an interpolation": {"_target_": CRNN, "dropout": "${oc.env:HOME}"},
    "an interpolation that is decoded": {"_target_": CRNN, "dropout": "${oc.decode:'{_target_: os.system}'}"},
    "a missing value": {"_target_": CRNN, "dropout": "???"},
    "only begun": {"_target_": CRNN, "_partial_": True},
    "a setting that it has not": {"_target_": CRNN, "\x1b[2Jlayers": 9},
    "ten million units": {"_target_": CRNN, "recurrent_units": 10**7},
    "a million units": {"_target_": CRNN, "recurrent_units": 10**6},
    "units of text": {"_target_": CRNN, "recurrent_units": "x"},
    "units of a fraction": {"_target_": CRNN, "recurrent_units": 0.5},
    "more arguments": {"_target_": CRNN, "_args_": [1, 2, 3]},
}.items():
    _add_network(_name, _network)

# --- weights ---


for _name, _make in {
    "a terabyte of one number": lambda: {"classify.weight": torch.zeros(1).expand(10**6, 10**6)},
    "one number for all": lambda: {"classify.weight": torch.zeros(1).expand(3, 32)},
    "a few that are not sparse but say so": lambda: {"classify.weight": torch.eye(32)[:3].to_sparse()},
    "a few that are sparse in rows": lambda: {"classify.weight": torch.eye(32)[:3].to_sparse_csr()},
    "complex": lambda: {"classify.weight": torch.zeros(3, 32, dtype=torch.complex64)},
    "quantised": lambda: {"classify.weight": torch.quantize_per_tensor(torch.zeros(3, 32), 0.1, 0, torch.qint8)},
    "of 8 bits": lambda: {"classify.weight": torch.zeros(3, 32).to(torch.float8_e4m3fn)},
    "nested": lambda: {"classify.weight": torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])},
    "without storage": lambda: {"classify.weight": torch.zeros(3, 32, device="meta")},
    "whole numbers": lambda: {"classify.weight": torch.zeros(3, 32, dtype=torch.int64)},
    "not numbers": lambda: {"classify.weight": torch.full((3, 32), torch.nan)},
    "one that is infinite": lambda: {"classify.bias": torch.tensor([0.0, torch.inf, 0.0])},
    "too large for single precision": lambda: {"classify.bias": torch.full((3,), 1e300, dtype=torch.float64)},
    "of another shape": lambda: {"classify.weight": torch.zeros(32, 3)},
    "one too few": lambda: {"classify.bias": None},
    "one too many": lambda: {"extra": torch.zeros(3)},
    "a text": lambda: {"classify.bias": "x"},
    "none": lambda: dict.fromkeys(_good_network().state_dict()),
}.items():
    _add_weights(_name, _make)  # type: ignore[arg-type]


@hostile("weights: more than the file has")
def _(path: Path) -> None:
    write(path, state={**weights(), "network.classify.bias": torch.zeros(16)})
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            # The size of the tensor, 16, as one byte: K\x10\x85; 2^31 elements instead.
            bigger = content.replace(b"K\x10\x85", b"\x8a\x05\x00\x00\x00\x80\x00\x85", 1)
            archive.writestr(name, bigger if name.endswith("data.pkl") else content)


# --- descriptions of data ---

SOURCES = "artistid.data.sources"
FOLDER, LIBRARY = f"{SOURCES}.folder.Folder", f"{SOURCES}.library.Library"
SYNTHETIC, CATALOG = f"{SOURCES}.synthetic.Synthetic", f"{SOURCES}.catalog_file.CatalogFile"
SHIPPED = "shipped"  # songs that come with the checkpoint, below the current folder

_add_data(
    "a table of the user's own to be written", True, _target_=LIBRARY, name="x", root=SHIPPED, csv=BASHRC, cache_dir="x"
)
_add_data("a library's cache elsewhere", True, _target_=LIBRARY, name="x", root=SHIPPED, cache_dir="~/elsewhere")
_add_data("a cache of music elsewhere", True, _target_=SYNTHETIC, name="x", cache_dir="~/elsewhere", n_artists=2,
          n_albums=2, n_songs=1, seconds=5.0, workers=50)  # fmt: skip
_add_data("a trillion songs", True, _target_=SYNTHETIC, name="x", cache_dir="x", n_artists=10_000, n_albums=10_000,
          n_songs=10_000)  # fmt: skip
_add_data("songs of ten hours", True, _target_=SYNTHETIC, name="x", cache_dir="x", seconds=36_000.0)
_add_data("a file that is not a table", True, _target_=CATALOG, name="x", csv="/etc/passwd")
_add_data("no folder", True, _target_=FOLDER, name="x", root="/nowhere")
_add_data("a root with raw escape bytes", _target_=FOLDER, name="x", root="/nowhere\x1b[2J")
_add_data("a folder with a NUL", _target_=FOLDER, name="x", root="a\0b")
_add_data("of nobody's home", True, _target_=FOLDER, name="x", root="~nobody-of-this-name/music")

for _name, _value in {
    "absolute": "/tmp/evil",
    "a way up": "../../evil",
    "one level up": "..",
    "of two subsets": "a/b",
    "of two subsets for Windows": "a\\b",
    "a drive": "C:evil",
    "empty": "",
    "with a NUL": "a\0b",
    "with raw escape bytes": "\x1b[2Jevil",
    "with a line's end": "a\nb",
    "of a thousand letters": "x" * 1000,
    "half a letter": "\ud800",
    "a number": 3,
    "a list": ["x"],
}.items():
    _add_data(f"a name that is {_name}", _target_=FOLDER, name=_value, root=SHIPPED)

_add_data("no name", _target_=FOLDER, root=SHIPPED)
_add_data("a root that is a number", _target_=FOLDER, name="x", root=3)
_add_data("a root that is interpolated", _target_=FOLDER, name="x", root="${oc.env:HOME}")
_add_data("a command", _target_="os.system", command=f"touch {TRACE}")
_add_data("a class of ours that is not a source", _target_="artistid.runs.folder.RunFolder", path="evil")
_add_data("a function of a source's module", _target_=f"{SOURCES}.walk.audio_files", root="/")
_add_data("what a source's module imports", _target_=f"{SOURCES}.folder.Path", name="x")
_add_data("a source of a package that nobody trusts", _target_="untrusted_package.Source", name="x")
_add_data("a setting that it has not", _target_=FOLDER, name="x", root=SHIPPED, overwrite=True)
_add_data("a setting that is not to be set", _target_=FOLDER, name="x", root=SHIPPED, read_only=False)
_add_data("a command within", _target_=FOLDER, name="x", root={"_target_": "os.system", "command": f"touch {TRACE}"})
_add_data("songs without number", _target_=SYNTHETIC, name="x", cache_dir="x", n_songs=10**15)
_add_data("songs without end", _target_=SYNTHETIC, name="x", cache_dir="x", seconds=1e300)
_add_data("workers of text", _target_=SYNTHETIC, name="x", cache_dir="x", workers="many")
_add_specification("data: a list", data=[FOLDER])

# --- saved folders ---


def _config(**changes: Any) -> bytes:
    return json.dumps({"artistid_version": "0.1.0", **plain(**changes)}).encode()


for _name, _bytes in {
    "deep JSON": b'{"artistid_version": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a list": b"[1, 2]",
    "no JSON": b"\x80\x02}.",
    "UTF-16": '{"artistid_version": "0.1.0"}'.encode("utf-16"),
    "a number of 10,000 digits": b'{"artistid_version": ' + b"9" * 10_000 + b"}",
    "no version": json.dumps(plain()).encode(),
    "a command": _config(network={"_target_": "os.system", "command": f"touch {TRACE}"}),
    "not numbers": _config(batch_size=float("nan")),
    "a name that leads up": _config(data={"_target_": FOLDER, "name": "../../evil", "root": SHIPPED}),
    "clips that are whole songs": _config(clip={**plain()["clip"], "seconds": None, "frames": None}),
}.items():
    hostile(f"folder: {_name} as settings")(lambda path, _bytes=_bytes: write_folder(path, config=_bytes))  # type: ignore[misc]


def _safetensors(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


for _name, _bytes in {
    "a pickle": pickle.dumps(Evil(), protocol=2),
    "nothing": b"",
    "a header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{}",
    "a claim of a terabyte": _safetensors({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}),
    "deep JSON": _safetensors(b"[" * 100_000 + b"]" * 100_000),
    "another network": _safetensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "a kind of number that there is not": _safetensors({"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}),
}.items():
    hostile(f"folder: {_name} as weights")(lambda path, _bytes=_bytes: write_folder(path, tensors=_bytes))  # type: ignore[misc]

hostile("folder: empty")(lambda path: path.mkdir())


@hostile("folder: folders in place of files")
def _(path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (path / name).mkdir(parents=True)
