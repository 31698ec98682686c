"""What the page shows of one song."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from artistid.data.audio import DecodingError
from artistid.data.song import Limits, SongReader
from artistid.inference.identifier import Identifier
from artistid.web.neighbourhood import Neighbourhood
from artistid.web.spectrogram import picture
from artistid.web.uploads import refusal


@dataclass(frozen=True)
class SongService:
    """Hears one song at a time.

    Attributes:
        identifier: whom it knows, and how.
        max_minutes: of a song.
        top: how many artists to list.
        neighbourhood: a collection to compare it with, if there is one.
        limits: of the process that decodes a song, which may last ``max_minutes``.
    """

    identifier: Identifier
    max_minutes: float
    top: int
    neighbourhood: Neighbourhood | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _ = self._reader  # up before the first song comes

    @cached_property
    def _reader(self) -> SongReader:
        return SongReader(replace(self.limits, hours=self.max_minutes / 60))

    def answer(self, path: Path, name: str, still_wanted: Callable[[], object] | None = None) -> dict[str, Any]:
        """All that there is to say of a song, as plain types.

        Args:
            path: of the audio.
            name: what its sender calls it.
            still_wanted: called now and then; what it raises ends the inference.

        Raises:
            artistid.web.uploads.RefusedError: too long, or no sound that can be decoded.
        """
        try:
            sound = self._reader.read(path, self.identifier.features)
        except DecodingError as error:
            raise refusal(error, path, name, self.max_minutes) from error
        outputs = self.identifier.infer(sound, still_wanted)
        identification = replace(self.identifier.identify(outputs, self.top), name=name)
        return {
            **identification.plain(),
            "silent": outputs.silent,
            "neighbourhood": self.neighbourhood and self.neighbourhood.around(outputs),
            "spectrogram": picture(sound, self.identifier.features),
        }
