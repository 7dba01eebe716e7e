"""A console whose text cannot control the terminal: names from elsewhere may hold escape sequences and markup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from typing_extensions import override

from mergekit_calib.report.text.safe_text import printable


class SafeConsole(Console):
    """A console of rich that prints every text as it is, without markup, and with acting characters as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # A segment with `control` is rich's own.
            yield segment if segment.control else segment._replace(text=printable(segment.text))
