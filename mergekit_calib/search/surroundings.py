"""The time and the lock that a search uses; a simulation of many workers replaces them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mergekit_calib.storage.locks import exclusive


@dataclass(frozen=True)
class Surroundings:
    """The time and the lock of a search; by default, those of the machine.

    Attributes:
        now: returns the time in seconds, as `time.monotonic` does.
        sleep: waits for a number of seconds.
        exclusive: waits for the lock of a file, and holds it.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    exclusive: Callable[[Path], AbstractContextManager[None]] = exclusive
