"""Where to stop answering, computed again from a finished sweep's item scores."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.analysis.answering_thresholds import DEFAULT_MAX_ERROR, answering_of_stored, points_to_answer
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.atomic import write_text_atomic


def with_answering(frontier: Frontier, out: Path, max_error: float | None) -> Frontier:
    """Return the result with thresholds for the present choice; write them to `frontier.json` if they were asked for.

    Args:
        frontier: the result in `out`; not changed.
        out: the sweep's output folder.
        max_error: the target; None to keep what there is. Then a result of an earlier version, or one whose choice has
            changed since, gets thresholds if its item scores are there.

    Raises:
        CalibError: a target is given, but the sweep is not finished, has no item with choices in one of the splits, or
            lacks item scores.
    """
    present = frontier.answering
    if max_error is None:
        if not frontier.finished or (present and set(present.points) >= set(points_to_answer(frontier))):
            return frontier
        try:
            found = answering_of_stored(StoredSweep.load(out), present.max_error if present else DEFAULT_MAX_ERROR)
        except CalibError:  # without item scores the report has no such statement
            found = None
        return frontier.model_copy(update={"answering": found})
    if not frontier.finished or frontier.selected is None:
        raise CalibError(f"{out}: --max-error needs a finished sweep; the sweep's command goes on with it")
    found = answering_of_stored(StoredSweep.load(out), max_error)
    if found is None:
        raise CalibError(f"{out}: --max-error needs items with choices in both splits, and one of them has none")
    updated = frontier.model_copy(update={"answering": found})
    write_text_atomic(out / "calibration" / "frontier.json", updated.to_json())
    return updated
