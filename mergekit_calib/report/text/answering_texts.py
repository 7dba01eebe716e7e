"""What a report says about where to stop answering."""

from __future__ import annotations

from mergekit_calib.metrics.answering import printed_decimals
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
    target, chosen = _share(found.max_error), found.points[selected.id].chosen
    if chosen is None:
        text = f"{selected.name}: no confidence on the selection split from which at most {target} of answers are wrong."
    elif chosen.safe:
        text = (
            f"{selected.name}, {_answering(chosen)}: chosen on the selection split so that the error is at most {target}"
            f" with {formatting.percent(found.level)} confidence{_verdict(found, chosen)}."
        )
    else:
        text = (
            f"{selected.name}: the selection split shows no confidence from which at most {target} of answers are "
            f"wrong. Chosen without a margin: {_answering(chosen)}{_verdict(found, chosen)}."
        )
    return f"{text}{_of_parents(frontier, found)}{_left_out(found)}"


def answering_rows(frontier: Frontier) -> list[tuple[str, ...]]:
    """Return the rows of a table with the columns `TITLES`: the choice and the parents; none if not computed."""
    found = frontier.answering
    if found is None:
        return []
    rows = []
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
    text = (
        f"The threshold is chosen on the {found.n_selection:,} items with choices of the selection split, and its numbers "
        f"are from the {found.n_held_out:,} of the held-out split, with Wilson intervals. It is the lowest of up to 20 "
        f"that passes a test, at the {_share(1 - found.level)} level, that at most {_share(found.max_error)} of answers "
        "are wrong; the test begins with the most confident answers. “No margin”: none passes, and the error on the "
        "selection split alone is at most the target; on new items it is above the target about every second time."
    )
    return f"{text}{_left_out(found)}"


def _answering(chosen: AnsweringThreshold) -> str:
    if chosen.threshold == 0:
        return f"answering everything, has an error of {_with_interval(chosen.error)} on the held-out split"
    start = f"answering from a confidence of {_threshold(chosen)}, answers {_with_interval(chosen.coverage, False)} of"
    return f"{start} the held-out questions with an error of {_with_interval(chosen.error)}"


def _verdict(found: Answering, chosen: AnsweringThreshold) -> str:
    """Return what the held-out split says of the target, where it is not met there."""
    if chosen.error.value is None:
        return "; no held-out question is answered, so it is not verified"
    if chosen.error.value > found.max_error:
        return "; on the held-out split the error is above it"
    if chosen.error.high is not None and chosen.error.high > found.max_error:
        return "; the held-out interval reaches above it"
    return ""


def _of_parents(frontier: Frontier, found: Answering) -> str:
    """Return what share of questions the parents answer at the same target."""
    parts = []
    for point in _points(frontier, found):
        if point.role is None or point is frontier.selected:
            continue
        chosen = found.points[point.id].chosen
        if chosen is None:
            parts.append(f"{point.role} none")
        else:
            margin = "" if chosen.safe else " (without a margin)"
            parts.append(f"{point.role} {_with_interval(chosen.coverage, False)} from {_threshold(chosen)}{margin}")
    return f" For the same target, {formatting.listed(parts)}." if parts else ""


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
        return "0"
    return f"{chosen.threshold:.{printed_decimals(chosen.threshold)}f}"


def _with_interval(estimate: Estimate, interval: bool = True) -> str:
    """Return a share as `4.1 % [2.9, 5.6]`."""
    if estimate.value is None:
        return formatting.UNDEFINED
    text = f"{100 * estimate.value:.1f} %"
    if not interval or estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _share(share: float) -> str:
    return formatting.percent(share)
