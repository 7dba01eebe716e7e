"""What a report says about where to stop answering."""

from __future__ import annotations

from mergekit_calib.report.text import formatting
from mergekit_calib.results.answering_findings import Answering, AnsweringThreshold
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier, PointResult

TITLES = ("point", "answer from confidence", "questions answered", "error of the answers", "error if all are answered")


def where_to_answer(frontier: Frontier) -> str:
    """Return from which confidence the choice should answer, what that gives on the held-out split, and its limits."""
    found, selected = frontier.answering, frontier.selected
    if found is None or selected is None or selected.id not in found.points:
        return ""
    name, target, chosen = selected.name, formatting.percent(found.max_error), found.points[selected.id].chosen
    if chosen is None:
        text = f"{name}: no confidence on the selection split from which at most {target} of the answers are wrong."
    else:
        text = f"{_answering(name, chosen)} (target: at most {target})."
        if chosen.safe:
            confidence = formatting.percent(found.level)
            text += f" Chosen on the selection split, where it meets the target with {confidence} confidence."
        else:
            text += (
                " Chosen on the selection split without a margin, because with one no threshold meets the target there."
            )
        text += _verdict(found, chosen)
    return f"{text}{_of_parents(frontier, found)}{_left_out(found)}"


def answering_rows(frontier: Frontier) -> list[tuple[str, ...]]:
    """Return the rows of a table with the columns `TITLES`: the choice and the parents; none if not computed."""
    found = frontier.answering
    if found is None:
        return []
    rows: list[tuple[str, ...]] = []
    for point in _points(frontier, found):
        result = found.points[point.id]
        cells = ("none reaches the target", formatting.UNDEFINED, formatting.UNDEFINED)
        if chosen := result.chosen:
            margin = "" if chosen.safe else " (no margin)"
            cells = (f"{_threshold(chosen)}{margin}", _with_interval(chosen.coverage), _with_interval(chosen.error))
        rows.append((formatting.name_with_role(point), *cells, _with_interval(result.error_of_all)))
    return rows


def how_answering_is_chosen(frontier: Frontier) -> str:
    """Return how the thresholds are chosen and verified, for beside the table; empty if there are none."""
    found = frontier.answering
    if found is None:
        return ""
    target = formatting.percent(found.max_error)
    text = (
        "A model that answers only from a confidence upwards answers fewer questions, with fewer errors. The threshold "
        f"is chosen on the selection split ({found.n_selection:,} items with choices): the lowest of up to 20 that "
        f"passes a test, at the {formatting.percent(1 - found.level)} level, that at most {target} of the answers are "
        f"wrong. Its numbers are from the held-out split ({found.n_held_out:,} items), with Wilson intervals."
    )
    if any(p.chosen is not None and not p.chosen.safe for p in found.points.values()):
        text += (
            " “No margin”: no threshold passes, so it is the lowest whose error on the selection split is at most the "
            "target; on new items, the error of such a threshold is above the target about every second time."
        )
    return f"{text}{_left_out(found)}"


def _answering(name: str, chosen: AnsweringThreshold) -> str:
    """Return what a point does on the held-out split."""
    error = f"error {_with_interval(chosen.error)}"
    if chosen.threshold == 0:
        return f"{name} can answer every question: {error} on the held-out split"
    start = f"Answer from a confidence of {_threshold(chosen)} with {name}"
    if chosen.error.value is None:
        return f"{start}: no held-out question"
    return f"{start}: {_with_interval(chosen.coverage, interval=False)} of the held-out questions, {error}"


def _verdict(found: Answering, chosen: AnsweringThreshold) -> str:
    """Return a sentence on the target where the held-out split does not confirm it."""
    if chosen.error.value is None:
        return " So it is not verified."
    if chosen.error.value > found.max_error:
        return " On the held-out split the error is above the target."
    if chosen.error.high is not None and chosen.error.high > found.max_error:
        return " The interval on the held-out split reaches above the target."
    return ""


def _of_parents(frontier: Frontier, found: Answering) -> str:
    """Return what share of questions the parents answer at the same target."""
    parts = []
    for point in _points(frontier, found):
        if point.role is None or point is frontier.selected:
            continue
        chosen = found.points[point.id].chosen
        if chosen is None:
            parts.append(f"{point.role} can answer none")
        elif chosen.threshold == 0:
            parts.append(f"{point.role} can answer all")
        else:
            margin = "" if chosen.safe else ", without a margin"
            share = _with_interval(chosen.coverage, interval=False)
            parts.append(f"{point.role} answers {share} (from {_threshold(chosen)}{margin})")
    return f" With the same target, {formatting.listed(parts)}." if parts else ""


def _left_out(found: Answering) -> str:
    if not found.left_out:
        return ""
    verb = "has" if len(found.left_out) == 1 else "have"
    return f" Without {formatting.listed(found.left_out)}, which {verb} no choices and so no confidence."


def _points(frontier: Frontier, found: Answering) -> list[PointResult]:
    points = [frontier.selected, *frontier.parents]
    unique = {p.id: p for p in points if p is not None and p.id in found.points}
    return list(unique.values())


def _threshold(chosen: AnsweringThreshold) -> str:
    if chosen.threshold == 0:
        return "0"  # everything is answered
    from mergekit_calib.metrics.answering import printed_decimals  # here, since it imports scipy

    return f"{chosen.threshold:.{printed_decimals(chosen.threshold)}f}"


def _with_interval(estimate: Estimate, interval: bool = True) -> str:
    """Return a share as `4.1 % [2.9, 5.6]`."""
    if estimate.value is None:
        return formatting.UNDEFINED
    text = f"{100 * estimate.value:.1f} %"
    if not interval or estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
