"""What the page shows of one song."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artistid.data.audio import DecodingError
from artistid.inference.identifier import Identifier
from artistid.web.neighbourhood import Neighbourhood
from artistid.web.spectrogram import picture
from artistid.web.uploads import RefusedError, check_length, in_own_words


@dataclass(frozen=True)
class Listener:
    """Hears one song at a time.

    Attributes:
        identifier: whom it knows, and how.
        max_minutes: of a song.
        top: how many artists to list.
        neighbourhood: a collection to compare it with, if there is one.
    """

    identifier: Identifier
    max_minutes: float
    top: int
    neighbourhood: Neighbourhood | None = None

    def answer(self, path: Path, name: str, still_wanted: Callable[[], object] | None = None) -> dict[str, Any]:
        """All that there is to say of a song, as plain types.

        Args:
            path: of the audio.
            name: what its sender calls it.
            still_wanted: called now and then; what it raises ends the hearing.

        Raises:
            RefusedError: too long, or no sound that can be decoded.
        """
        check_length(path, name, self.max_minutes)
        try:
            sound = self.identifier.read(path)
        except DecodingError as error:
            raise RefusedError(422, in_own_words(error, path, name)) from error
        hearing = self.identifier.hear_sound(sound, still_wanted)
        identification = replace(self.identifier.identify(hearing, self.top), name=name)
        return {
            **identification.plain(),
            "silent": hearing.silent,
            "neighbourhood": self.neighbourhood and self.neighbourhood.around(hearing),
            "spectrogram": picture(sound, self.identifier.specification.log_mel()),
        }
