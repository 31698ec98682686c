"""Many songs, one after the other: read ahead and processed; a failure is reported and does not stop the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from artistid.data.features import Features
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError
from artistid.printing import printable, say
from artistid.terminal import Console

Answer = TypeVar("Answer")

# A song's path, and a function that returns its features or raises ArtistidError; closed when no more are wanted.
Songs = Generator[tuple[Path, Callable[[], SongFeatures]], None, None]


def process_songs(
    songs: Songs, n_songs: int, work: Callable[[Path, SongFeatures], Answer], done: Callable[[Answer], None]
) -> int:
    """Process every song and hand on the results, with a progress bar; failures are reported on standard error.

    Args:
        songs: to be processed.
        n_songs: their number.
        work: makes an answer from a song, or raises ArtistidError.
        done: receives the answers as they come.

    Returns:
        How many songs failed.
    """
    failed = 0
    with _progress(n_songs) as progress, closing(songs):
        task = progress.add_task("songs", total=n_songs)
        for path, sound in songs:
            try:
                answer = work(path, sound())
            except ArtistidError as error:
                failed += 1
                progress.stop()  # removes the bar: the message may go to the same terminal
                say(f"error: {_naming_file(error, path)}", to=sys.stderr)
            else:
                progress.stop()
                done(answer)
            progress.start()
            progress.advance(task)
    return failed


def read_ahead(reader: SongReader, features: Features, paths: list[Path]) -> Songs:
    """The songs of some files: the next one is decoded while the network processes this one."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.enter_context(reader)  # ended first: an interruption does not wait for decoding
        following: Future[SongFeatures] = pool.submit(reader.read, paths[0], features)
        for number, path in enumerate(paths):
            sound = following
            if number + 1 < len(paths):
                sound.exception()  # waits: never more than two songs in memory
                following = pool.submit(reader.read, paths[number + 1], features)
            yield path, sound.result


@contextmanager
def answering() -> Iterator[None]:
    """Raise ArtistidError when the reader of the answers, such as ``head``, closes the pipe."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in the buffer
        raise ArtistidError("standard output was closed before all songs were answered") from None


def _naming_file(error: ArtistidError, path: Path) -> str:
    """The message, which names the file."""
    message = printable(str(error))
    return message if printable(path) in message else f"{printable(path)}: {message}"


def _progress(songs: int) -> Progress:
    """A bar on standard error, where that is a terminal and there are songs to wait for."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = songs < 2 or not console.is_terminal
    return Progress(
        *columns, console=console, transient=True, disable=hidden, redirect_stdout=False, redirect_stderr=False
    )
