from __future__ import annotations

from pathlib import Path

import pytest

from artistid.data.sources.artist20 import N_ALBUMS, N_ARTISTS, N_TRACKS, Artist20
from artistid.errors import ArtistidError

SMALL = ["aerosmith/Pump/01-Young_Lust", "aerosmith/Pump/02-F_I_N_E", "u2/October/01-Gloria"]


def write(root: Path, folder: str, names: list[str]) -> None:
    for name in names:
        path = root / folder / f"{name}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_list(root: Path, name: str, lines: list[str]) -> None:
    (root / "lists").mkdir(exist_ok=True)
    (root / "lists" / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def ids(root: Path) -> list[str]:
    return [track.track_id for track in Artist20(name="artist20", root=root).catalog()]


@pytest.mark.parametrize("folder", ["artists", "mp3s-32k"])
def test_either_layout(tmp_path: Path, folder: str) -> None:
    write(tmp_path, folder, SMALL)
    assert ids(tmp_path) == SMALL
    assert Artist20(name="artist20", root=tmp_path).catalog()[2].path == tmp_path / folder / f"{SMALL[2]}.mp3"


def test_what_no_list_names_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mp3s-32k", [*SMALL, "u2/October/99-Extra"])
    write_list(tmp_path, "a20-cut0-tracks.list", SMALL[:2])
    write_list(tmp_path, "a20-cut1-tracks.list", [f"{SMALL[2]}.mp3", SMALL[0], "", "# a/b/c"])
    write_list(tmp_path, "albums.list", ["u2/Boy"])
    assert ids(tmp_path) == SMALL
    assert "left out 1 track " in caplog.text
    assert "u2/October/99-Extra" in caplog.text


def test_a_listed_track_must_be_there(tmp_path: Path) -> None:
    write(tmp_path, "mp3s-32k", SMALL[:2])
    write_list(tmp_path, "a20-cut0-tracks.list", SMALL)
    with pytest.raises(ArtistidError, match=r"lists.* names 3 tracks, of which 1 .*on disk: u2/October/01-Gloria"):
        ids(tmp_path)


def test_lists_without_tracks_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "artists", SMALL)
    write_list(tmp_path, "albums.list", ["u2/Boy"])
    assert ids(tmp_path) == SMALL
    assert "no *.list file" in caplog.text


def test_the_published_size_is_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    albums = [f"artist {number // 6:02}/album {number}" for number in range(N_ALBUMS)]
    names = [f"{albums[number % N_ALBUMS]}/{number:04}" for number in range(N_TRACKS)]
    write(tmp_path, "artists", names)
    catalog = Artist20(name="artist20", root=tmp_path).catalog()
    assert (len(catalog), len(catalog.artists)) == (N_TRACKS, N_ARTISTS)
    assert caplog.text == ""
    (tmp_path / "artists" / f"{names[0]}.mp3").unlink()
    assert len(ids(tmp_path)) == N_TRACKS - 1
    assert "20 artists, 120 albums and 1,413 tracks; this copy has 20, 120 and 1412" in caplog.text


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["music"], r"holds neither artists/ nor mp3s-32k/: found music/[\s\S]*LabROSA[\s\S]*ROOT/artists/"),
        (["artists", "mp3s-32k"], "holds both artists/ and mp3s-32k/"),
    ],
)
def test_a_root_of_another_layout(tmp_path: Path, folders: list[str], message: str) -> None:
    for folder in folders:
        write(tmp_path, folder, SMALL)
    with pytest.raises(ArtistidError, match=message):
        ids(tmp_path)


def test_an_empty_layout_shows_the_card(tmp_path: Path) -> None:
    (tmp_path / "artists").mkdir()
    with pytest.raises(ArtistidError, match=r"holds no tracks: found artists/[\s\S]*Ellis"):
        ids(tmp_path)
