from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from artistid.web.uploads import MEGABYTE, RefusedError, receive, shown_name


class TestName:
    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ("Sigur Rós.mp3", "Sigur Rós.mp3"),
            ("../../etc/passwd", "passwd"),
            ("C:\\music\\a.wav", "a.wav"),
            ("a\x1b[31m\n.mp3", "a\ufffd[31m\ufffd.mp3"),
            ("caf\udce9.mp3", "caf\ufffd.mp3"),
            ("\u202egnp.mp3", "\ufffdgnp.mp3"),
            ("", "the song"),
            ("folder/", "the song"),
            (" \t", "the song"),
        ],
    )
    def test_is_made_harmless(self, sent: str, shown: str) -> None:
        assert shown_name(sent) == shown

    def test_is_cut_short(self) -> None:
        assert len(shown_name("a" * 1000)) == 120
        assert shown_name("a" * 120) == "a" * 120


class TestReceiving:
    @staticmethod
    def receive(pieces: Iterator[bytes], path: Path, announced: str | None = None) -> None:
        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        async def run() -> None:
            await receive(body(), path, "a.wav", 0.01, announced, lambda n_bytes: None)

        anyio.run(run)

    def test_what_comes_is_written(self, tmp_path: Path) -> None:
        self.receive(iter([b"one", b"", b"two"]), tmp_path / "song")
        assert (tmp_path / "song").read_bytes() == b"onetwo"

    def test_as_much_as_is_allowed(self, tmp_path: Path) -> None:
        self.receive(iter([b"x" * 10_000]), tmp_path / "song", "10000")
        assert (tmp_path / "song").stat().st_size == 10_000

    def test_no_more_is_read_than_is_allowed(self, tmp_path: Path) -> None:
        read = 0

        def endless() -> Iterator[bytes]:
            nonlocal read
            while True:
                read += 1000
                yield b"x" * 1000

        with pytest.raises(
            RefusedError, match=r"^a.wav is larger than the 0.01 MB that this page accepts\.$"
        ) as refused:
            self.receive(endless(), tmp_path / "song")
        assert refused.value.status == 413
        assert read == math.floor(0.01 * MEGABYTE) + 1000
        assert (tmp_path / "song").stat().st_size <= 10_000

    def test_what_announces_itself_too_large_is_not_read_at_all(self, tmp_path: Path) -> None:
        pieces = iter([b"x"])
        with pytest.raises(RefusedError, match="larger than"):
            self.receive(pieces, tmp_path / "song", "10001")
        assert next(pieces) == b"x"

    @pytest.mark.parametrize("announced", ["-1", "many", "³", "9" * 5000])
    def test_nonsense_announced_is_not_believed(self, tmp_path: Path, announced: str) -> None:
        with pytest.raises(RefusedError, match="larger than"):
            self.receive(iter([b"x" * 10_001]), tmp_path / "song", announced)

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(RefusedError, match=r"^a.wav is empty") as refused:
            self.receive(iter([]), tmp_path / "song")
        assert refused.value.status == 422
