"""Charts as they are laid out: nothing covers an axis label, leaves its chart or is drawn without a legend entry."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from helpers.predicted_sweeps import predicted_sweep
from helpers.report_factory import make_frontier
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier

WIDTHS = (400, 800, 1280)
LONG = {f"lambda_of_the_layers_of_part_{i}": [0.25, 0.5] if i == 1 else [0.512345] for i in range(1, 4)}
FORTY = {"lambda": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.2], "density": [0.2, 0.4, 0.6, 0.8]}


def changed(frontier: Frontier, of: Callable[[str, str, Estimate], Estimate]) -> Frontier:
    """Return the frontier with `of(point, metric, estimate)` for each estimate."""
    for point in frontier.complete_points:
        point.metrics = {
            scope: {
                metric: {split: of(point.id, metric, estimate) for split, estimate in splits.items()}
                for metric, splits in metrics.items()
            }
            for scope, metrics in point.metrics.items()
        }
    return frontier


def rescaled(frontier: Frontier, metric: str, factor: float, shift: float = 0.0) -> Frontier:
    """Return the frontier with `shift + factor * value` for a metric's values and intervals."""

    def of(_: str, name: str, e: Estimate) -> Estimate:
        if name != metric:
            return e
        value, *ends = (shift + factor * number for number in (e.value, e.low, e.high))
        return Estimate(value=value, low=min(ends), high=max(ends), n=e.n)

    return changed(frontier, of)


def widened(frontier: Frontier, point: str, factor: float) -> Frontier:
    """Return the frontier with intervals of one point that are `factor` times as wide."""

    def of(name: str, _: str, e: Estimate) -> Estimate:
        if name != point:
            return e
        low, high = (e.value + factor * (end - e.value) for end in (e.low, e.high))
        return Estimate(value=e.value, low=low, high=high, n=e.n)

    return changed(frontier, of)


CASES: dict[str, Callable[[], Frontier]] = {
    "plain": make_frontier,
    "many decimals in a tiny range": lambda: rescaled(
        rescaled(make_frontier(), "ece", 1e-6, 0.0312345), "acc", 1e-5, 0.7
    ),
    "huge values": lambda: rescaled(rescaled(make_frontier(), "ece", 3.3e8), "acc", -2e7),
    "all points the same": lambda: rescaled(make_frontier(), "ece", 0.0, 0.123456789),
    "a wide interval": lambda: widened(make_frontier(), "lambda=0.3", 40.0),
    "long names": lambda: make_frontier(LONG, objectives=("acc", "ece", "brier")),
    "one objective": lambda: make_frontier(objectives=("ece",)),
    "forty points on two axes": lambda: make_frontier(FORTY, objectives=("acc", "ece", "brier")),
    "five parents": lambda: make_frontier({"lambda": [0.25, 0.5]}, roles=("base", "aligned", "code", "maths", "chat")),
    "a predicted curve": predicted_sweep,
}

_TEXTS = """() => [...document.querySelectorAll(".chart > svg")].filter((s) => s.getClientRects().length).map((svg) => {
    const box = (node) => {
        const { left, right, top, bottom } = node.getBoundingClientRect();
        return { left, right, top, bottom };
    };
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const bars = [...svg.querySelectorAll(".whisker, .curve-whisker line, .curve-band path")];
    return {
        chart: svg.closest("figure").id, frame: box(svg), bars: bars.map(box),
        texts: texts.map((text) => ({ words: text.textContent, ...box(text) })),
    };
})"""

_UNEXPLAINED = """() => {
    const kinds = [
        "staircase", "trail", "predicted-line", "blend-line", "curve-line", "curve-band", "curve-whisker",
        "parent-line", "diagonal", "gap-rules", "picked-line", "whisker",
    ];
    const look = (node) => [...node.classList].filter((name) => name !== "cut").sort().join(" ");
    const missing = [];
    for (const figure of document.querySelectorAll("figure")) {
        const shared = figure.closest("#curves")?.querySelector("#curves-legend");
        const legends = [figure.querySelector(".legend"), shared].filter(Boolean);
        const explained = legends.flatMap((legend) => [...legend.querySelectorAll("svg [class]")].map(look));
        for (const node of figure.querySelectorAll(".chart [class]")) {
            if (!kinds.some((kind) => node.classList.contains(kind))) continue;
            if (node.tagName === "g" && !node.querySelector("path, line, rect")) continue;
            if (!explained.includes(look(node))) missing.push(`${figure.id}: ${look(node)}`);
        }
    }
    return [...new Set(missing)];
}"""


def outside(box: dict[str, float], frame: dict[str, float], margin: float = 1.5) -> bool:
    return (
        box["left"] < frame["left"] - margin
        or box["right"] > frame["right"] + margin
        or box["top"] < frame["top"] - margin
        or box["bottom"] > frame["bottom"] + margin
    )


def overlap(a: dict[str, float], b: dict[str, float], margin: float = 1.0) -> bool:
    return (
        min(a["right"], b["right"]) - max(a["left"], b["left"]) > margin
        and min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]) > margin
    )


def flaws(page: Any) -> list[str]:
    """Return texts that leave their chart or cover each other, and intervals that leave their chart."""
    found = []
    for chart in page.evaluate(_TEXTS):
        name, texts = chart["chart"], chart["texts"]
        found += [f"{name}: {text['words']!r} leaves the chart" for text in texts if outside(text, chart["frame"])]
        found += [f"{name}: an interval leaves the chart" for bar in chart["bars"] if outside(bar, chart["frame"])]
        found += [
            f"{name}: {a['words']!r} and {b['words']!r} overlap"
            for i, a in enumerate(texts)
            for b in texts[i + 1 :]
            if overlap(a, b)
        ]
    return found


@pytest.mark.parametrize("case", CASES)
def test_labels_are_inside_their_chart_and_cover_nothing(open_report: Callable, case: str) -> None:
    frontier = CASES[case]()
    opened = open_report(frontier, viewport={"width": WIDTHS[0], "height": 900})
    assert opened.page.evaluate(_TEXTS)
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        opened.page.evaluate("() => new Promise((laid) => setTimeout(laid, 120))")
        assert flaws(opened.page) == [], f"{width} px"
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(_UNEXPLAINED) == []


def test_an_interval_that_does_not_fit_ends_in_a_mark_and_others_do_not(open_report: Callable) -> None:
    opened = open_report(CASES["a wide interval"]())
    opened.page.locator('#points-table tr[data-point="lambda=0.3"] button').click()
    assert opened.page.locator("#frontier-chart .chart .whisker.cut.picked").count() == 4
    opened.page.locator('#points-table tr[data-point="lambda=0.6"] button').click()
    assert opened.page.locator("#frontier-chart .chart .whisker.picked").count() == 2
    opened = open_report(make_frontier())
    for row in opened.page.locator("#points-table tbody th button").all():
        row.click()
        assert opened.page.locator("#frontier-chart .chart .whisker.picked:not(.cut)").count() == 2
        assert opened.page.locator("#frontier-chart .chart .whisker.cut").count() == 0


def test_the_labels_of_an_axis_differ(open_report: Callable) -> None:
    opened = open_report(CASES["many decimals in a tiny range"]())
    for axis in ("x", "y"):
        words = opened.page.locator(f'#frontier-chart [aria-label="{axis}-axis tick label"] text').all_text_contents()
        assert len(words) > 1
        assert all(a != b for a, b in pairwise(words))
