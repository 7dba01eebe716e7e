"""Whether this process was asked to stop, for loops that run long.

The exception that says so is raised wherever the program is. Python drops it if that is in a destructor, and a library
may swallow it, so a loop asks again.
"""

from __future__ import annotations

import signal


class Stopped(KeyboardInterrupt):
    """The process was asked to stop, by Ctrl-C or by a signal.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


_asked: list[int] = []  # the numbers of the signals that came


def ask(number: int) -> None:
    """Note that the process was asked to stop, and raise `Stopped`.

    Args:
        number: the signal's number.
    """
    _asked.append(number)
    raise Stopped(number)


def forget() -> None:
    """Forget that the process was asked: the command that was to stop has ended."""
    _asked.clear()


def raise_if_asked() -> None:
    """Raise `Stopped` if the process was asked to stop, and goes on all the same."""
    if _asked:
        raise Stopped(_asked[0])
