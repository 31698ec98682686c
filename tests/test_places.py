"""Names that become parts of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from artistid.errors import ArtistidError
from artistid.places import below
from tests.verbs import run_verb


@pytest.mark.parametrize("name", ["music", "my music", "Sigur Rós", "a.b", "...", "-x", "caf\udce9", "a" * 255])
def test_one_part(name: str) -> None:
    assert below(Path("/cache"), name, "data.name") == Path("/cache", name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "an empty name, or another folder"),
        (".", "an empty name, or another folder"),
        ("..", "an empty name, or another folder"),
        ("../x", "several"),
        ("/etc", "several"),
        ("a/b", "several"),
        ("a\\b", "several"),
        ("C:", "a drive"),
        ("C:x", "a drive"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("\x1b[2J", "control characters"),
        ("\x9b2J", "control characters"),
        ("a" * 256, "more than 255 bytes"),
        ("ö" * 128, "more than 255 bytes"),
        ("\ud800", "characters that cannot be encoded"),
        (None, "NoneType, not text"),
        (3, "int, not text"),
        (["x"], "list, not text"),
    ],
)
def test_anything_else(name: object, fault: str) -> None:
    with pytest.raises(ArtistidError, match=rf"^data\.name=.* one component of a path, found .*{fault}$") as error:
        below(Path("/cache"), name, "data.name")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("data", ["folder", "library"])
def test_a_name_on_the_command_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    with pytest.raises(SystemExit):
        run_verb("prepare", f"data={data}", f"data.root={corpus}", f"cache_dir={tmp_path / 'a'}", "data.name=../b")
    assert "error: data.name='../b'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
