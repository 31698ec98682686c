"""What a checkpoint says of its data, opened by somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_class
from omegaconf import OmegaConf

from artistid.config import config_dir
from artistid.data.sources.base import OURS, check_description, opened, redirected
from artistid.errors import ArtistidError

FOLDER = "artistid.data.sources.folder.Folder"
LIBRARY = "artistid.data.sources.library.Library"
SYNTHETIC = "artistid.data.sources.synthetic.Synthetic"


def test_every_source_that_data_may_name_is_one() -> None:
    configured = {str(OmegaConf.load(path)["_target_"]) for path in (config_dir() / "data").glob("*.yaml")}  # type: ignore[index]
    assert configured == OURS
    assert all(get_class(name).__name__ for name in OURS)


@pytest.mark.parametrize("name", sorted(path.stem for path in (config_dir() / "data").glob("*.yaml")))
def test_what_each_is_configured_with_describes_it(name: str) -> None:
    raw: dict[str, Any] = yaml.safe_load((config_dir() / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    for base in raw.pop("defaults", ["_self_"])[:-1]:
        raw = yaml.safe_load((config_dir() / "data" / f"{base}.yaml").read_text(encoding="utf-8")) | raw
    settings = {key: value for key, value in raw.items() if not (isinstance(value, str) and "${" in value)}
    check_description({"cache_dir": "x"} | settings | {"name": "x"} if "cache_dir" in raw else settings | {"name": "x"})


def test_it_is_opened_as_it_was(corpus: Path) -> None:
    source = opened({"_target_": FOLDER, "name": "x", "root": str(corpus), "artists": ["artist1"]})
    assert source.catalog().artists == ("artist1",)
    assert source.read_only


def test_what_is_written_to_is_the_user_s() -> None:
    description = {"_target_": SYNTHETIC, "name": "x", "cache_dir": "/theirs", "workers": 99, "n_songs": 1}
    assert redirected(description, "/mine", 2) == {**description, "cache_dir": "/mine", "workers": 2}
    assert redirected({"_target_": FOLDER, "name": "x"}, "/mine", 2) == {"_target_": FOLDER, "name": "x"}


def test_a_library_s_table_is_not_written(corpus: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    description = {"_target_": LIBRARY, "name": "x", "root": str(corpus), "csv": str(table), "cache_dir": str(tmp_path)}
    with pytest.raises(ArtistidError, match=r"table\.csv does not exist and is not written, .*data=library"):
        opened(description).catalog()
    assert not list(tmp_path.iterdir())


def test_a_library_s_table_that_is_there_is_read(corpus: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,artist\nartist1/album1/song1.wav,somebody\n")
    song = next(path for path in corpus.rglob("*") if path.is_file()).relative_to(corpus)
    table.write_text(f"path,artist\n{song},somebody\n")
    description = {"_target_": LIBRARY, "name": "x", "root": str(corpus), "csv": str(table), "cache_dir": str(tmp_path)}
    assert opened(description).catalog().artists == ("somebody",)


def test_little_music_is_composed_in_the_user_s_cache(tmp_path: Path) -> None:
    small = {"n_artists": 1, "n_albums": 1, "n_songs": 1, "seconds": 5}
    description = {"_target_": SYNTHETIC, "name": "x", "cache_dir": "/theirs", **small}
    source = opened(redirected(description, str(tmp_path), 0))
    source.provide()
    (track,) = source.catalog()
    assert tmp_path in track.path.parents
    assert track.path.is_file()


def test_much_music_is_composed_on_purpose_only(tmp_path: Path) -> None:
    description = {"_target_": SYNTHETIC, "name": "x", "cache_dir": str(tmp_path), "n_artists": 100, "n_songs": 50}
    with pytest.raises(ArtistidError, match=r"30,000 .* songs, 167 hours .* data=synthetic data\.n_artists=100"):
        opened(description).catalog()
    assert not list(tmp_path.iterdir())


def test_no_description() -> None:
    check_description({})
    with pytest.raises(ArtistidError, match="does not say what data it was trained on"):
        opened({})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_target_": "os.system"}, "it would call 'os.system', which is not part of artistid$"),
        ({"_target_": "mysource.Source"}, r"if you know 'mysource', trust=\[mysource\] lets it be used"),
        ({"_target_": "artistid.data.sources.base.Source"}, "not part of artistid"),
        ({"_target_": "artistid.runs.folder.RunFolder"}, "not part of artistid"),
        ({"name": "../x"}, r"data\.name='\.\./x'"),
        ({"name": None}, r"data\.name=None is not a setting of Folder"),
        ({"root": 3}, r"data\.root=3 is not a setting of Folder"),
        ({"root": "a\0b"}, r"data\.root='a\\x00b' is not a setting"),
        ({"root": "${oc.env:HOME}"}, "interpolated"),
        ({"root": "???"}, "interpolated"),
        ({"artists": "AC/DC"}, r"data\.artists='AC/DC' is not a setting"),
        ({"artists": [1]}, r"data\.artists=list of 1 is not a setting"),
        ({"min_albums": True}, r"data\.min_albums=True is not a setting"),
        ({"min_albums": 1.5}, r"data\.min_albums=1\.5 is not a setting"),
        ({"min_albums": -1}, r"data\.min_albums=-1: expected a number from 0"),
        ({"albums_only": 1}, r"data\.albums_only=1 is not a setting"),
        ({"read_only": False}, "Folder does not have: 'read_only'"),
        ({"extra": 1}, "Folder does not have: 'extra'"),
        ({"exclude": {"_target_": "os.system"}}, r"data\.exclude=dict of 1 is not a setting"),
        ({1: 2}, "whose name is not text"),
    ],
)
def test_no_source(changes: dict[Any, Any], message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        check_description({"_target_": FOLDER, "name": "x", "root": "music", **changes})


@pytest.mark.parametrize("missing", ["name", "root"])
def test_what_is_missing(missing: str) -> None:
    description = {"_target_": FOLDER, "name": "x", "root": "music"}
    del description[missing]
    with pytest.raises(ArtistidError, match=f"data lacks {missing} of Folder"):
        check_description(description)


@pytest.mark.parametrize("field", ["n_artists", "n_albums", "n_songs"])
def test_counts_are_bounded(field: str) -> None:
    with pytest.raises(ArtistidError, match=rf"data\.{field}=1000000000: expected a number from 1 to 100000"):
        check_description({"_target_": SYNTHETIC, "name": "x", "cache_dir": "x", field: 10**9})
