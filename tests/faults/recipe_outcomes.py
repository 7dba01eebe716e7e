"""What reading a recipe ends in: accepted, left to mergekit, refused with one message, or a fault of the reader.

Reading is everything that happens to a sweep's text before a model or a task is opened.
"""

from __future__ import annotations

import itertools
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SOURCE = "sweep.yml"
MOST_SECONDS, MOST_MEGABYTES, MOST_CHARACTERS = 1.0, 200.0, 500
_STOPPED_AFTER = 10.0  # seconds of processor time


@dataclass(frozen=True)
class Outcome:
    """What reading one recipe ended in.

    Attributes:
        kind: `accepted`, `left to mergekit`, `refused`, or the kind of a fault.
        detail: the message or the traceback.
        seconds: of processor time.
        megabytes: by which the process's greatest memory grew.
    """

    kind: str
    detail: str
    seconds: float
    megabytes: float

    @property
    def is_fault(self) -> bool:
        """Whether no recipe may end so."""
        return self.kind not in ("accepted", "left to mergekit", "refused")


class TookTooLongError(BaseException):
    """Reading did not end; no handler of `Exception` catches it."""


def outcome(text: str) -> Outcome:
    """Read a recipe, and return what came of it."""
    from mergekit_calib.errors import CalibError

    memory, start = _peak(), time.process_time()
    try:
        with _limited():
            kind, detail = ("accepted" if read(text) else "left to mergekit"), ""
    except CalibError as problem:
        kind, detail = _form(problem)
    except TookTooLongError:
        kind, detail = "took too long", traceback.format_exc()[-1500:]
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        kind, detail = f"raw {type(problem).__name__}", traceback.format_exc()[-3000:]
    seconds, megabytes = time.process_time() - start, _peak() - memory
    if kind in ("accepted", "left to mergekit", "refused"):
        if seconds > MOST_SECONDS:
            kind, detail = "slow", f"{seconds:.1f} s: {detail}"
        elif megabytes > MOST_MEGABYTES:
            kind, detail = "much memory", f"{megabytes:.0f} MB: {detail}"
    return Outcome(kind, detail, seconds, megabytes)


def read(text: str) -> bool:
    """Do to a recipe what the commands do before models and tasks are opened; return whether it is a sweep.

    Raises:
        CalibError: a mistake in it.
    """
    from mergekit_calib import plugins
    from mergekit_calib.merging.merge_configuration import configuration
    from mergekit_calib.merging.method import registered_signatures
    from mergekit_calib.merging.method_inputs import check_method_inputs
    from mergekit_calib.merging.recipe_keys import known_keys
    from mergekit_calib.prefix_lm.model_args import check_model_args
    from mergekit_calib.recipe import Layers, has_calibration_block, parse_sweep, read_block
    from mergekit_calib.sweep.task_names import with_task_names
    from mergekit_calib.sweep.validation import check_rule, strategy_of

    if not has_calibration_block(text, SOURCE):
        return False
    read_block(text, SOURCE)
    sweep = with_task_names(parse_sweep(text, registered_signatures(), SOURCE, known_keys()))
    check_rule(sweep)
    sweep = sweep.expanded(Layers(12, ".layers."), plugins.axis_kinds())
    strategy_of(sweep)
    check_model_args(sweep.calibration.model_args)
    points = [*sweep.parents(), *sweep.corners(4), *itertools.islice(sweep.grid(), 4)]
    for point in points:
        check_method_inputs(configuration(point.recipe, SOURCE), SOURCE)
    assert points[0].yaml
    assert points[-1].yaml
    return True


def _form(problem: Exception) -> tuple[str, str]:
    """Return the kind of a refusal: a fault, if the message is not one short line with file and key."""
    message, key = str(problem), getattr(problem, "key", None)
    if len(message) >= MOST_CHARACTERS:
        return "long message", message[:600]
    if not message.isprintable():
        return "message of several lines", repr(message)
    if key is not None and not (key and message.startswith(f"{SOURCE}: {key}: ")):
        return "no file or key", message
    return "refused", message


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `TookTooLongError` in code that runs longer than it may."""

    def stop(*_: Any) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, _STOPPED_AFTER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _peak() -> float:
    """Return the process's greatest memory so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
