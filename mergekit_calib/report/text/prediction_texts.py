"""Sentences about the points of an axis that are predicted from the scored ones."""

from __future__ import annotations

from collections.abc import Sequence

from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import axis_name
from mergekit_calib.results.prediction_findings import PredictedCurve

# The search looks at them to see whether the points predict each other.
_PROPER_SCORES = tuple(Objective(metric=metric, direction="minimize") for metric in ("brier", "nll"))


def prediction(frontier: Frontier) -> str:
    """Return how many scored points predict the others, and how well; or that they do not predict each other.

    Empty if the strategy predicts none.
    """
    curve = frontier.predicted
    if curve is None:
        return ""
    if not curve.known:
        return _not_known(frontier, curve)
    text = f"{len(curve.nodes)} scored points predict every other {axis_name(curve.axis)}."
    if errors := _errors(curve, [o for o in frontier.objectives if curve.along(o) is not None]):
        text += f" Typical error, at points that were scored after they were predicted: {errors}."
    if missing := [o for o in frontier.objectives if curve.along(o) is None]:
        names = formatting.listed([formatting.metric_name(o) for o in missing])
        of_them = _errors(curve, missing)
        if len(missing) == 1:
            of_them = of_them.partition(" in ")[0]
        typical = f" (typical error: {of_them})" if of_them else ""
        text += f" No line is drawn for {names}, which the points do not predict well enough{typical}."
    return text


def _not_known(frontier: Frontier, curve: PredictedCurve) -> str:
    looked_at = {o.name: o for o in (*frontier.objectives, *_PROPER_SCORES) if o.name in curve.typical_errors}
    worst = max(looked_at.values(), key=lambda o: curve.typical_errors[o.name], default=None)
    error = "" if worst is None else f" (typical error: up to {_errors(curve, [worst])})"
    if not curve.went_on:
        return f"The search ended with {len(curve.nodes)} nodes, too few to predict the other points: no line is drawn."
    return (
        f"The {len(curve.nodes)} nodes do not predict each other well enough{error}, so the search went on as the "
        "strategy adaptive. No line is drawn between scored points."
    )


def _errors(curve: PredictedCurve, objectives: Sequence[Objective]) -> str:
    """Return `0.15 standard errors in accuracy and 0.19 in ECE`, of the objectives whose error is known."""
    known = [(o, curve.typical_errors[o.name]) for o in objectives if o.name in curve.typical_errors]
    parts = [
        f"{error:.2f}{' standard errors' if i == 0 else ''} in {formatting.metric_name(objective)}"
        for i, (objective, error) in enumerate(known)
    ]
    return formatting.listed(parts) if parts else ""
