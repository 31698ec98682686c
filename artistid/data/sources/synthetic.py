"""The synthetic discography: the default data, listed from its settings alone, and composed when first needed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from artistid.data.catalog import Track
from artistid.data.sources.base import DatasetCard, Source, track_from_path
from artistid.errors import ArtistidError, counted
from artistid.places import expanded

# The composer is imported when it composes: its filters (scipy.signal) take a second to import, and a checkpoint that
# was trained on its music needs only this class's name.
if TYPE_CHECKING:
    from artistid.synthesis.discography import Discography

# Most that is composed at a file's request; an hour takes 14 MB, and a core half a minute.
MOST_HOURS = 12.0
MOST_SONGS = 100_000  # looked for at a file's request: some seconds


@dataclass(kw_only=True)
class Synthetic(Source):
    """A discography that this package composes; two strengths set how much artist and producer matter.

    Args:
        n_artists, n_albums, n_songs, seconds, style_strength, producer_strength, seed: see
            :class:`artistid.synthesis.discography.Discography`.
        cache_dir: the files are kept below it, in ``synthetic/``; each set of settings has its own folder there.
        workers: processes that compose; below 2 only this one, None takes one per core.

    Raises:
        ArtistidError: a setting out of its range.
    """

    name: str = "synthetic"
    root: str | Path | None = field(init=False, default=None)
    n_artists: int = 8
    n_albums: int = 6
    n_songs: int = 4
    seconds: float = 20.0
    style_strength: float = 1.0
    producer_strength: float = 1.0
    seed: int = 0
    cache_dir: str | Path
    workers: int | None = None

    card: ClassVar[DatasetCard] = DatasetCard(
        title="a synthetic discography",
        licence="no rights are claimed in what a seed composes",
        citation="none",
        how_to_get="it composes itself on first use",
        layout="ROOT/<artist>/<album>/<NN-Title>.mp3",
    )

    def __post_init__(self) -> None:
        self.root = expanded(self.cache_dir) / "synthetic" / folder_name(self.discography)

    @property
    def discography(self) -> Discography:
        """What to compose."""
        from artistid.synthesis.discography import Discography

        return Discography(**{setting.name: getattr(self, setting.name) for setting in fields(Discography)})

    def scan(self, root: Path) -> list[Track]:
        """All tracks, composed or not.

        Raises:
            ArtistidError: a checkpoint asks for more music than is composed at a file's request.
        """
        from artistid.synthesis.discography import recordings

        if self.read_only:
            self._check_amount()
        return [track_from_path(root / recording.path, root) for recording in recordings(self.discography)]

    def provide(self) -> None:
        """Compose the songs that are missing.

        Raises:
            ArtistidError: the cache cannot be written to, or a composing process died.
        """
        from artistid.synthesis.discography import write_discography

        write_discography(self.discography, Path(str(self.root)), self.workers)

    def root_folder(self) -> Path:
        return Path(str(self.root))

    def _check_amount(self) -> None:
        """Raises ArtistidError where too much music would be composed at a file's request."""
        from artistid.synthesis.discography import is_written

        settings = asdict(self.discography)
        n_songs = self.n_artists * self.n_albums * self.n_songs
        hours = n_songs * self.seconds / 3600
        if hours <= MOST_HOURS or (n_songs <= MOST_SONGS and is_written(self.discography, Path(str(self.root)))):
            return
        command = " ".join(["data=synthetic", *(f"data.{name}={value}" for name, value in settings.items())])
        raise ArtistidError(
            f"the checkpoint was trained on {counted(n_songs, 'composed song')}, {hours:,.0f} hours and more: more "
            f"than {MOST_HOURS:g} are composed only if asked for, by {command} (and subset=test for its test songs)"
        )


def folder_name(discography: Discography) -> str:
    """The main settings, and a hash of all settings and the composer's version."""
    from artistid.synthesis.discography import COMPOSER_VERSION

    d = discography
    settings = json.dumps({**asdict(d), "composer": COMPOSER_VERSION}, sort_keys=True)
    digest = hashlib.sha1(settings.encode()).hexdigest()[:8]
    return (
        f"{d.n_artists}x{d.n_albums}x{d.n_songs}x{d.seconds:g}s"
        f"-style{d.style_strength:g}-producer{d.producer_strength:g}-seed{d.seed}-{digest}"
    )
