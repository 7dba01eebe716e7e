"""Failures of parents after which no merge of them can be scored either, so that the run stops there."""

from __future__ import annotations

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.weights_digest import WeightsError
from mergekit_calib.results.frontier import Frontier


def check_parents(frontier: Frontier) -> None:
    """Stop the run if the parents that failed so far leave nothing to merge.

    Args:
        frontier: the result so far.

    Raises:
        CalibError: every parent failed with the same error, or one holds no usable weights.
    """
    failed = {p.role: p.reason or "" for p in frontier.points if p.role and p.status == "failed"}
    for role, reason in failed.items():
        kind, _, message = reason.partition(": ")
        if kind == WeightsError.__name__:
            raise CalibError(f"{role} ({frontier.models[role]}): {message}; no merge with it can be scored")
    alike = {reason.replace(frontier.models[role], "…") for role, reason in failed.items()}
    if len(alike) == 1 and len(failed) > 1 and failed.keys() == frontier.models.keys():
        reason = next(iter(failed.values())).removeprefix(f"{CalibError.__name__}: ")
        which = "all parents fail" if len(failed) > 2 else "both parents fail"
        raise CalibError(f"{which} with the same error, so no merge would do better: {reason}")
