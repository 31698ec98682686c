from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from artistid.data.audio import decode
from artistid.data.catalog import Track
from artistid.data.sources.folder import Folder
from artistid.data.sources.synthetic import Synthetic, folder_name
from artistid.errors import ArtistidError
from artistid.synthesis.discography import Discography

TINY: dict[str, Any] = {"n_artists": 2, "n_albums": 1, "n_songs": 2, "seconds": 5.0, "workers": 0}
CONF = Path(__file__).parents[3] / "conf" / "data" / "synthetic.yaml"


def composed(cache_dir: Path) -> list[Track]:
    source = Synthetic(**TINY, cache_dir=cache_dir)
    source.provide()
    return list(source.catalog())


def test_it_composes_what_its_catalog_lists(tmp_path: Path) -> None:
    source = Synthetic(**TINY, cache_dir=tmp_path)
    catalog = source.catalog()
    assert len(catalog) == 4
    assert [len(albums) for albums in catalog.albums.values()] == [1, 1]
    assert not list(tmp_path.iterdir()), "nothing is composed to be listed"
    source.provide()
    assert list(catalog) == list(Folder(name="music", root=source.root).catalog())
    for track in catalog:
        assert tmp_path / "synthetic" in track.path.parents
        assert len(decode(track.path, 16_000)) >= 5 * 16_000


def test_composing_again_composes_nothing(tmp_path: Path) -> None:
    tracks = composed(tmp_path)
    times = [track.path.stat().st_mtime_ns for track in tracks]
    assert composed(tmp_path) == tracks
    assert [track.path.stat().st_mtime_ns for track in tracks] == times


def test_an_interrupted_composing_is_completed(tmp_path: Path) -> None:
    tracks = composed(tmp_path)
    before = tracks[2].path.read_bytes()
    tracks[2].path.replace(tracks[2].path.with_name(".half.part"))
    assert composed(tmp_path) == tracks
    assert tracks[2].path.read_bytes() == before


def test_each_setting_has_its_own_folder() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"n_artists": 9},
        {"n_albums": 9},
        {"n_songs": 9},
        {"seconds": 9.0},
        {"style_strength": 0.5},
        {"producer_strength": 0.5},
        {"producer_strength": 0.5000001},
        {"seed": 9},
    ]
    assert len({folder_name(Discography(**change)) for change in changes}) == len(changes)
    assert folder_name(Discography()).startswith("8x6x4x20s-style1-producer1-seed0-")
    assert folder_name(Discography(seconds=20, style_strength=1)) == folder_name(Discography())


def test_artists_can_be_selected(tmp_path: Path) -> None:
    first = Synthetic(**TINY, cache_dir=tmp_path).catalog().artists[0]
    assert Synthetic(**TINY, cache_dir=tmp_path, artists=[first]).catalog().artists == (first,)


def test_the_configuration_holds_the_defaults_and_a_name_for_each_setting(tmp_path: Path) -> None:
    config = OmegaConf.create({"cache_dir": str(tmp_path), "workers": 0, "data": OmegaConf.load(CONF)})
    source = instantiate(config.data)
    name = "synthetic-8x6x4x20s-style1-producer1-seed0"
    assert asdict(source) == asdict(Synthetic(name=name, cache_dir=str(tmp_path), workers=0, exclude=[]))


@pytest.mark.parametrize("bad", [{"n_artists": 0}, {"style_strength": -1.0}, {"seconds": 1.0}])
def test_a_bad_setting_is_refused_before_anything_is_written(tmp_path: Path, bad: dict[str, float]) -> None:
    with pytest.raises(ArtistidError, match=f"data.{next(iter(bad))}"):
        Synthetic(**{**TINY, **bad}, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ArtistidError, match=r"cannot write .*cache.*another cache_dir"):
        composed(tmp_path / "cache")
