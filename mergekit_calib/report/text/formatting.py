"""Numbers, metric names and lists as readers see them."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mergekit_calib.results.baseline_findings import Baseline
from mergekit_calib.results.findings import Estimate, Measure, Objective
from mergekit_calib.results.frontier import AxisValue, Frontier, PointResult
from mergekit_calib.results.names import point_name, with_point_names

if TYPE_CHECKING:
    from mergekit_calib.items.table import Split

UNDEFINED = "–"
_BINNED = re.compile(r"(^|_)(ece|ce|mce)(_|,|$)")
_METRIC_NAMES = {"acc": "accuracy", "ece": "ECE", "brier": "Brier score", "nll": "NLL"}


def decimals(estimates: Iterable[Estimate], fewest: int = 3) -> int:
    """Return how many decimals to print: two digits of the median width of the intervals.

    Args:
        estimates: the numbers that are printed alike; those without an interval do not count.
        fewest: the least number returned; the most is 6.
    """
    widths = [e.high - e.low for e in estimates if e.low is not None and e.high is not None and e.high > e.low]
    if not widths:
        return fewest
    return max(fewest, min(6, 1 + math.ceil(-math.log10(statistics.median(widths)))))


def number(value: float | None, places: int = 3, signed: bool = False) -> str:
    """Return `value` with a true minus sign, or a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''}.{places}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def bracketed(estimate: Estimate, places: int = 3) -> str:
    """Return an interval as `[0.712, 0.741]`; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low, places)}, {number(estimate.high, places)}]"


def with_interval(estimate: Estimate, places: int | None = None, signed: bool = False) -> str:
    """Return a number and its interval as `0.727 [0.712, 0.741]`; without an interval, the number alone.

    Args:
        estimate: the number.
        places: the number of decimals; that of `decimals`, if None.
        signed: whether a positive number has a plus sign.
    """
    places = decimals([estimate]) if places is None else places
    return f"{number(estimate.value, places, signed)} {bracketed(estimate, places)}".rstrip()


def p_value(p: float) -> str:
    """Return a p-value with its relation, to follow a `p`: `< 0.001`, `= 0.027`, or `= 0.40` from 0.1 on."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def percent(share: float) -> str:
    """Return a share as `95 %`, rounded so that floating-point error does not show."""
    return f"{round(100 * share, 6):g} %"


def listed(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(count: int, noun: str) -> str:
    """Return `1 point` or `2,000 points`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def metric_name(objective: Objective) -> str:
    """Return an objective's name in a sentence: `accuracy` for `acc`, and `task/acc` if it is computed on one task."""
    return _METRIC_NAMES.get(objective.name, objective.name)


def is_binned(metric: str) -> bool:
    """Return whether a metric depends on the number of bins, which must then be printed with it."""
    return bool(_BINNED.search(metric)) and not metric.startswith("smooth")


def arrow(objective: Objective) -> str:
    """Return ↑ for an objective of which more is better, ↓ for the others; nothing if neither is better."""
    if isinstance(objective, Measure) and not objective.has_direction:
        return ""
    return "↑" if objective.direction == "maximize" else "↓"


def axis_value(value: AxisValue) -> str:
    """Return a value of an axis as text."""
    return value if isinstance(value, str) else f"{value:g}"


def name_with_role(point: PointResult) -> str:
    """Return a point's name, and its role where it is a parent: `λ = 0 (base)`."""
    return f"{point.name} ({point.role})" if point.role and point.id != point.role else point.name


def names_of(frontier: Frontier, point_ids: Iterable[str]) -> list[str]:
    """Return how points are called in a sentence: a parent by its role, another point by its name."""
    roles = {p.id: p.role for p in frontier.points}
    return [roles.get(point_id) or point_name(point_id) for point_id in point_ids]


def baseline_name(frontier: Frontier, baseline: Baseline) -> str:
    """Return a baseline's name in tables.

    `aligned, T = 1.83`, `aligned, T ≥ 100`, `λ = 0.6, T by task`, `aligned, T* = 1.50` (no labels); `parents averaged`
    and `parents blended, λ = 0.25`, or `blended λ = 0.25: base and math` if there are more than two parents.
    """
    names = names_of(frontier, baseline.of)
    if baseline.kind == "temperature":
        fitted = [_fitted(t) for t in baseline.temperatures.values()]
        sign = "T" if baseline.uses_labels else "T*"
        return f"{names[0]}, {sign} {fitted[0] if len(fitted) == 1 else 'by task'}"
    how = {"average": "averaged", "blend": "blended"}[baseline.kind]
    at = "" if baseline.at is None else f"λ = {baseline.at:g}"
    if len(frontier.models) <= 2:
        return ", ".join(part for part in (f"parents {how}", at) if part)
    return f"{' '.join(part for part in (how, at) if part)}: {listed(names)}"


def temperatures(baseline: Baseline) -> str:
    """Return `T = 1.83`, or `T = 1.50 on calib_demo and T = 2.00 on arc_easy`.

    A temperature at the end of the range that is searched is no best fit, and is said to be none.
    """
    fitted = {entry: f"T {_fitted(temperature)}" for entry, temperature in baseline.temperatures.items()}
    if len(fitted) == 1:
        (text,) = fitted.values()
    else:
        text = listed([f"{temperature} on {entry}" for entry, temperature in fitted.items()])
    if any(not _fitted(t).startswith("=") for t in baseline.temperatures.values()):
        text += ", the end of the range searched: no finite temperature is best"
    return text


def _fitted(temperature: float) -> str:
    """Return `= 1.83`, or `≥ 100` at an end of the range that is searched."""
    # Here, because it imports scipy, and the first line on the screen waits for this module.
    from mergekit_calib.metrics.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE

    if temperature >= MAX_TEMPERATURE:
        return f"≥ {MAX_TEMPERATURE:g}"
    return f"≤ {MIN_TEMPERATURE:g}" if temperature <= MIN_TEMPERATURE else f"= {temperature:.2f}"


def sentence(frontier: Frontier, text: str) -> str:
    """Return a stored sentence with the names of points in place of their ids."""
    return with_point_names(text, [p.id for p in frontier.points])


SPLIT_NAMES: dict[str, str] = {
    "all": "all items",
    "selection": "the selection split",
    "held_out": "the held-out split",
}


def chosen_split(frontier: Frontier) -> Split:
    """Return the items that the point is, or will be, chosen on."""
    return "selection" if frontier.selection is None else frontier.selection.split


def chosen_on(frontier: Frontier) -> str:
    """Return `the selection split`, or `all items`: those that the point is chosen on."""
    return SPLIT_NAMES[chosen_split(frontier)]


def dominated_on(frontier: Frontier, point: PointResult) -> Split | None:
    """Return a split on which another point dominates this one beyond chance, other than the items chosen on."""
    splits: tuple[Split, ...] = ("held_out",) if chosen_split(frontier) == "selection" else ("held_out", "selection")
    return next((split for split in splits if point.dominated_by.get(split)), None)


def failure_reason(frontier: Frontier, point: PointResult) -> str:
    """Return why a point failed or was stopped."""
    return sentence(frontier, point.reason or "no reason recorded")


def is_on_frontier(point: PointResult) -> bool:
    """Return whether a point is on the frontier of the held-out split."""
    return point.on_frontier.get("held_out", point.on_frontier.get("all", False))


def point_order(point: PointResult) -> tuple[object, ...]:
    """Return a sort key: points that are not on the axes first, parents before others; then by the axes' values."""
    if not point.axes:
        return (0, point.role is None)
    return (1, tuple((isinstance(v, str), v) for v in point.axes.values()), point.id)


def models_line(frontier: Frontier) -> str:
    """Return the parents in one line: `org/pt → org/it` for base and aligned, else `a, b and c`."""
    models = list(frontier.models.values())
    return " → ".join(models) if list(frontier.models) == ["base", "aligned"] else listed(models)


def item_counts(frontier: Frontier, objective: Objective) -> int | None:
    """Return how many held-out items an objective was measured on; None if points differ in it or none is scored."""
    counts = {p.estimate(objective).n for p in frontier.complete_points if p.estimate(objective).value is not None}
    return counts.pop() if len(counts) == 1 else None
