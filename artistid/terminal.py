"""Tables, colours and progress bars, without control characters from names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.progress import track
from rich.segment import Segment
from rich.text import Text

from artistid.printing import shown

Item = TypeVar("Item")


class Console(RichConsole):
    """Rich's console, with the text of all segments cleaned except Rich's own control segments.

    Brackets and colons in a name are not markup, either: styled text is a :class:`rich.text.Text`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Cleaned before it is measured: a control character has no width, but its replacement has."""
        return super().render_str(shown(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


def shows_bars() -> bool:
    """Whether standard output is a terminal, not a file or a pipe, where bars are only noise."""
    return Console().is_terminal


def progress(items: Iterable[Item], description: str, **settings: Any) -> Iterable[Item]:
    """The items, with a progress bar if there is a terminal.

    Args:
        items: any.
        description: of the work.
        settings: of :func:`rich.progress.track`, such as ``total``.
    """
    return track(items, description, console=Console(), disable=not shows_bars(), **settings)
