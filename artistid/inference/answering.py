"""Songs in, answers out: the story that ``predict`` tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from artistid.config import plain
from artistid.errors import ArtistidError
from artistid.inference.files import find_audio
from artistid.inference.identification import Identification
from artistid.inference.identifier import Identifier
from artistid.inference.sound import Sound, printable
from artistid.inference.writers import WRITERS, Table


def answer(config: DictConfig) -> None:
    """Name the artist of every song, one after the other.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, songs that could not be.
    """
    if not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    if config.format not in WRITERS:
        raise ArtistidError(f"format={config.format!r} is none of {', '.join(WRITERS)}")
    if not isinstance(config.top, int) or config.top < 1:
        raise ArtistidError(f"top={config.top}: expected 1 artist or more")
    paths = find_audio(plain(config)["audio"])
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device)
    writer = Table(sys.stdout, config.timeline) if config.format == "table" else WRITERS[config.format](sys.stdout)
    failed = 0
    try:
        with _progress(len(paths)) as progress:
            task = progress.add_task("songs", total=len(paths))
            for path, found in _answers(identifier, paths, config.top):
                progress.stop()  # which takes the bar away: answers may go to the same terminal
                if isinstance(found, Identification):
                    writer.write(found)
                else:
                    failed += 1
                    print(f"error: {_told(found, path)}", file=sys.stderr, flush=True)
                progress.start()
                progress.advance(task)
        writer.close()
    except BrokenPipeError:  # whoever read the answers, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in its buffer
        raise ArtistidError("standard output was closed before all songs were answered") from None
    if failed:
        raise ArtistidError(f"{failed} of {len(paths)} songs could not be answered, see above")


def _answers(
    identifier: Identifier, paths: list[Path], top: int
) -> Iterator[tuple[Path, Identification | ArtistidError]]:
    with closing(_read_ahead(identifier, paths)) as sounds:
        for path, sound in sounds:
            try:
                yield path, identifier.identify(identifier.hear_sound(sound.result()), top)
            except ArtistidError as error:
                yield path, error


def _read_ahead(identifier: Identifier, paths: list[Path]) -> Generator[tuple[Path, Future[Sound]], None, None]:
    """The songs' features: a thread decodes the next song while the network hears this one."""
    with ThreadPoolExecutor(1) as pool:
        following: Future[Sound] = pool.submit(identifier.read, paths[0])
        for number, path in enumerate(paths):
            sound = following
            if number + 1 < len(paths):
                sound.exception()  # waits: never more than two songs in memory
                following = pool.submit(identifier.read, paths[number + 1])
            yield path, sound


def _told(error: ArtistidError, path: Path) -> str:
    """The message, which names the file."""
    message = printable(str(error))
    return message if printable(path) in message else f"{printable(path)}: {message}"


def _progress(songs: int) -> Progress:
    """A bar on standard error, where that is a terminal and there are songs to wait for."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(
        *columns, console=console, transient=True, disable=songs < 2, redirect_stdout=False, redirect_stderr=False
    )
