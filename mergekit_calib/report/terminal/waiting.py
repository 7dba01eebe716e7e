"""A line that says what a command is doing while it has nothing to print yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.spinner import Spinner


@contextmanager
def waiting(doing: str) -> Iterator[Spinner]:
    """Show a line on standard error within the `with` block, if that is a terminal; it is removed at the end.

    Enter it before imports that take seconds, which is why this module imports next to nothing of the package.

    Args:
        doing: what is being done, as `loading mergekit`; `update(text=…)` of the spinner that is yielded changes it.
    """
    # Here, so that `--help` and the completion of commands do without.
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    from mergekit_calib.report.terminal.safe_console import SafeConsole

    spinner = Spinner("dots", Text(doing), style="status.spinner")
    console = SafeConsole(stderr=True)
    with Live(spinner, console=console, transient=True, refresh_per_second=12.5) as live:
        live.refresh()  # now, since imports may keep the thread that draws from running
        yield spinner
