"""Numbers and names as readers see them: how many decimals, which sign, and nothing in a name taken for markup."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable

from mergekit_calib.results.frontier import AxisValue, Difference, Estimate, Frontier, Objective, PointResult

UNDEFINED = "–"
_MARKDOWN = re.compile(r"[&<>|*_`\[\]\\~$#]")
_BINNED = re.compile(r"(^|_)(ece|ce|mce)(_|,|$)")


def decimals(estimates: Iterable[Estimate], fewest: int = 3) -> int:
    """The decimals that intervals of this width carry: two digits of the median width, `fewest` to 6."""
    widths = [e.high - e.low for e in estimates if e.low is not None and e.high is not None and e.high > e.low]
    if not widths:
        return fewest
    return max(fewest, min(6, 1 + math.ceil(-math.log10(statistics.median(widths)))))


def number(value: float | None, places: int = 3, signed: bool = False) -> str:
    """`value` with a true minus sign; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''}.{places}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(estimate: Estimate, places: int = 3, signed: bool = False) -> str:
    """`0.712 to 0.741`; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low, places, signed)} to {number(estimate.high, places, signed)}"


def bracketed(estimate: Estimate, places: int = 3) -> str:
    """`[0.712, 0.741]`; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low, places)}, {number(estimate.high, places)}]"


def outcome(objective: Objective, difference: Difference) -> str:
    """`better` or `worse`, or `open` where the interval holds 0, whichever way the value points."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "open"
    return "better" if (difference.low > 0) == (objective.direction == "maximize") else "worse"


def difference(frontier: Frontier, objective: Objective, found: Difference) -> str:
    """`ece (−0.051, 95 % interval −0.060 to −0.040)`."""
    places = decimals([found])
    span = interval(found, places, signed=True)
    level = f", {percent(frontier.level)} interval {span}" if span else ", no interval"
    return f"{objective.name} ({number(found.value, places, signed=True)}{level})"


def p_value(p: float) -> str:
    """`< 0.001` or `= 0.027`, to follow a `p`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def percent(share: float) -> str:
    """A share as `95 %`, without the digits of binary fractions."""
    return f"{round(100 * share, 6):g} %"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def is_binned(metric: str) -> bool:
    """Whether a metric's value depends on the number of bins, so that it must be printed with it."""
    return bool(_BINNED.search(metric)) and not metric.startswith("smooth")


def arrow(objective: Objective) -> str:
    return "↑" if objective.direction == "maximize" else "↓"


def axis_label(axis: str) -> str:
    return "λ" if axis == "lambda" else axis


def axis_value(value: AxisValue) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def settings(point: PointResult) -> str:
    """`λ = 0.6, density = 0.3`; empty for a parent that stands on no axis."""
    return ", ".join(f"{axis_label(axis)} = {axis_value(value)}" for axis, value in point.axes.items())


def is_on_frontier(point: PointResult) -> bool:
    """On the held-out split, from which everything else that is printed comes."""
    return point.on_frontier.get("held_out", point.on_frontier.get("all", False))


def point_order(point: PointResult) -> tuple[object, ...]:
    """Sort key: parents that stand on no axis first, base before aligned, then along the axes."""
    if not point.axes:
        return (0, point.role != "base", point.id)
    return (1, tuple((isinstance(v, str), v) for v in point.axes.values()), point.id)


def item_counts(frontier: Frontier, objective: Objective) -> int | None:
    """How many held-out-split items an objective was measured on; None where points differ or none is scored."""
    counts = {p.estimate(objective).n for p in frontier.complete_points if p.estimate(objective).value is not None}
    return counts.pop() if len(counts) == 1 else None


def escape_markdown(text: str) -> str:
    """`text` as data in Markdown, also within a table cell: no markup, no HTML, one line.

    Character references are used, not backslashes: they are never structure, in Markdown, in tables or in HTML.
    """
    text = " ".join(text.split())
    spans = [(m.start(), m.group()) for m in _MARKDOWN.finditer(text)]
    for start, character in reversed(spans):
        within_word = character == "_" and text[start - 1 : start].isalnum() and text[start + 1 : start + 2].isalnum()
        if not within_word:
            text = f"{text[:start]}&#{ord(character)};{text[start + 1 :]}"
    return text


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
