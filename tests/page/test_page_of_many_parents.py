"""The page of a sweep of one to eight parents, with blends, baselines, and what changes for users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers.report_factory import add_blends, make_frontier
from mergekit_calib.results.frontier import Baseline, CrossFitted, Difference, Estimate, Frontier, Superiority

EIGHT = ("base", "instruct", "math-7b", "a-coder-with-a-long-name", "roleplay", "medical", "de", "fr")


def of_parents(n: int) -> Frontier:
    frontier = make_frontier({"weight": [0.1, 0.3, 0.45, 0.7, 0.9]}, roles=EIGHT[:n], select="weight=0.45")
    return add_blends(frontier)


def overlapping_names(opened: Any) -> list[list[str]]:
    boxes: list[tuple[str, float, float, float, float]] = opened.page.locator("#frontier-chart text.name").evaluate_all(
        "names => names.map(n => [n.textContent, ...['x', 'y', 'width', 'height'].map(part => n.getBBox()[part])])"
    )
    return [
        [one, other]
        for i, (one, x, y, width, height) in enumerate(boxes)
        for other, left, top, wide, high in boxes[:i]
        if x < left + wide - 1 and left < x + width - 1 and y < top + high - 1 and top < y + height - 1
    ]


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_each_parent_has_a_mark_a_label_and_a_difference(open_report: Callable, n: int, width: int) -> None:
    frontier = of_parents(n)
    opened = open_report(frontier, viewport={"width": width, "height": 900})
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.page.locator("#frontier-chart [role=radio].parent").count() == n
    labels = opened.page.locator("#frontier-chart text.name").all_text_contents()
    assert set(EIGHT[:n]) <= set(labels)
    assert overlapping_names(opened) == []
    panel = opened.text("#point-panel .card")
    for role in EIGHT[:n]:
        value = frontier.point("weight=0.45").differences[role]["acc"].value
        assert f"{value:+.3f}".replace("-", "−") in panel
    assert opened.page.locator("#changes-table tbody tr").count() == n
    titles = opened.page.locator("#metrics-table thead th").all_inner_texts()
    assert [title for title in titles if title.startswith("minus ")] == [f"minus {role}" for role in EIGHT[:n]]


def test_parents_look_different_from_each_other(open_report: Callable) -> None:
    opened = open_report(of_parents(8))
    marks = opened.page.locator("#frontier-chart [role=radio].parent")
    shapes = marks.evaluate_all("marks => marks.map(m => `${m.tagName} ${m.getAttribute('d')}`)")
    colours = marks.evaluate_all("marks => marks.map(m => getComputedStyle(m).fill)")
    assert len(set(shapes)) == len(set(colours)) == 8


def test_what_changes_for_users_is_given_for_each_parent(open_report: Callable) -> None:
    frontier = make_frontier(select="lambda=0.6")
    opened = open_report(frontier)
    changes = frontier.point("lambda=0.6").changes["aligned"]
    row = opened.page.locator("#changes-table tbody tr").filter(has_text="aligned").inner_text()
    for share in (changes.differ, changes.wrong_to_correct, changes.correct_to_wrong):
        assert f"{100 * (share.value or 0.0):.1f} %" in row
    assert f"{changes.kl.value:.3f}" in row
    assert "not that quality is kept" in opened.text("#changes-table caption")
    opened.page.locator('#points-table tr[data-point="lambda=1"] th button').click()
    assert opened.page.locator("#changes-table tbody tr").count() == 1


def test_the_blend_is_a_curve_as_soon_as_both_parents_are_scored(open_report: Callable) -> None:
    frontier = add_blends(make_frontier({"lambda": [0.0, 1.0]}, finished=False, select=None))
    frontier.axes = {"lambda": [0.0, 0.5, 1.0, 1.5]}
    frontier.baselines = []
    opened = open_report(frontier)
    for chart in ("frontier-chart", "curve-acc", "curve-ece"):
        assert opened.page.locator(f"#{chart} .chart .blend-line path, #{chart} .chart path.blend-line").count() == 1
    words = "both parents' log-probabilities blended (runs two models)"
    assert words in opened.text("#frontier-chart .legend")
    assert words in opened.text("#curves-legend")
    opened.page.locator("#frontier-chart summary").click()
    assert "parents blended, λ = 0.4" in opened.text("#frontier-chart table")
    assert opened.page.locator("#curve-brier .blend-line").count() == 0


def test_a_place_on_the_blends_curve_says_its_lambda(open_report: Callable) -> None:
    frontier = add_blends(make_frontier({"lambda": [0.0, 0.5, 1.0]}, select="lambda=0.5"))
    frontier.baselines = []
    opened = open_report(frontier)
    place = opened.page.evaluate(
        """() => {
            const [line] = document.querySelectorAll("#frontier-chart .chart :is(path.blend-line, .blend-line path)");
            const end = line.getPointAtLength(line.getTotalLength()), at = line.getScreenCTM();
            return [end.x + at.e, end.y + at.f];
        }"""
    )
    opened.page.mouse.move(*place)
    assert "parents blended, λ = 1.5" in opened.page.locator("#frontier-chart .tip").inner_text()


def test_of_several_blends_the_others_are_drawn_on_demand(open_report: Callable) -> None:
    opened = open_report(of_parents(3))
    curves = opened.page.locator("#frontier-chart .chart .blend-line")
    one = curves.count()
    opened.page.get_by_role("button", name="show 1 other blend").click()
    assert curves.count() == 2 * one
    opened.page.get_by_role("button", name="hide 1 other blend").click()
    assert curves.count() == one


def test_every_baseline_stands_in_the_table_those_of_short_tables_first(open_report: Callable) -> None:
    frontier = of_parents(3)
    metrics = frontier.baselines[0].metrics
    frontier.baselines.append(
        Baseline(id="instruct+T", kind="temperature", of=["instruct"], temperatures={"t": 1.5}, metrics=metrics)
    )
    assert [b.shown for b in frontier.baselines] == [True, False, True]
    opened = open_report(frontier)
    names = opened.page.locator("#points-table tr.baseline th").all_inner_texts()
    assert len(names) == 3
    assert "instruct" in names[0]
    assert "T = 1.50" in names[1]
    assert "math-7b" in names[2]


def test_a_point_that_another_dominates_is_faint_and_says_so(open_report: Callable) -> None:
    frontier = make_frontier(select="lambda=0.3")
    for point in frontier.points:
        point.dominated_by = {"selection": [], "held_out": []}
    frontier.point("lambda=0.6").dominated_by["held_out"] = ["lambda=0.3", "lambda=1"]
    opened = open_report(frontier)
    faint = opened.page.locator("#frontier-chart .mark.dominated[role=radio]")
    assert faint.evaluate_all("marks => marks.map(m => m.dataset.point)") == ["lambda=0.6"]
    opened.page.locator('#points-table tr[data-point="lambda=0.6"] th button').click()
    assert "dominated by λ = 0.3 and aligned" in opened.text("#point-panel .badges")


def test_the_table_has_both_splits_and_only_a_tick_for_a_superior_point(open_report: Callable) -> None:
    frontier = make_frontier(select="lambda=0.3")
    frontier.point("lambda=0.6").superiority = Superiority(shown=True, p=0.001, p_adjusted=0.004)
    opened = open_report(frontier)
    titles = opened.page.locator("#points-table thead tr:last-child th").all_inner_texts()
    column = next(i for i, title in enumerate(titles) if "superior" in title)
    ticks = opened.page.locator(f"#points-table tbody tr[data-point] td:nth-child({column + 1})").all_inner_texts()
    assert sorted(ticks) == ["", "", "", "", "✓"]
    selection = frontier.point("lambda=0.6").estimate(frontier.objectives[0], "selection").value
    assert f"{selection:.3f}" in opened.text('#points-table tr[data-point="lambda=0.6"]')
    opened.page.locator('#points-table tr[data-point="lambda=0.6"] th button').click()
    assert "better than both parents (p = 0.004)" in opened.text("#point-panel .badges")
    row = opened.page.locator("#metrics-table tbody tr").filter(has_text="acc").first
    assert row.locator("td").all_inner_texts()[1] == f"{selection:.3f}"
    smallest = frontier.detectable["acc"]
    assert f"acc {smallest:.3f}" in opened.text("#metrics-table caption")


@pytest.mark.parametrize("split", ["selection", "all"])
def test_the_items_that_the_point_is_chosen_on_have_a_column(open_report: Callable, split: str) -> None:
    frontier = make_frontier(select="lambda=0.6")
    assert frontier.selection is not None
    frontier.selection = frontier.selection.model_copy(update={"split": split})
    for i, point in enumerate(frontier.points):
        point.metrics["suite"]["acc"][split] = Estimate(value=0.1 + i / 100)
    opened = open_report(frontier)
    row = opened.page.locator("#metrics-table tbody tr").filter(has_text="acc").first
    assert row.locator("td").all_inner_texts()[1] == "0.120"
    assert "0.120" in opened.text('#points-table tr[data-point="lambda=0.6"]')
    words = {"selection": "selection split", "all": "all items"}[split]
    assert words in opened.page.locator("#metrics-table thead").inner_text()
    assert words in opened.page.locator("#points-table thead tr.splits").inner_text()


def test_a_choice_on_all_items_has_its_cross_fitted_numbers(open_report: Callable) -> None:
    frontier = make_frontier(select="lambda=0.6")
    assert frontier.selection is not None
    frontier.selection = frontier.selection.model_copy(update={"split": "all"})
    assert open_report(frontier).page.locator("#cross-fitted-table").count() == 0
    frontier.cross_fitted = CrossFitted(
        choices={"selection": "lambda=0.6", "held_out": "lambda=0.3"},
        estimates={"acc": Estimate(value=0.7, low=0.6, high=0.8, n=1200)},
        differences={"aligned": {"acc": Difference(value=-0.012, low=-0.02, high=-0.004, n=1200)}},
    )
    opened = open_report(frontier)
    (row,) = opened.page.locator("#cross-fitted-table tbody tr").all_inner_texts()
    assert row.split("\t") == ["acc ↑", "0.700 [0.600, 0.800]", "−0.012 [−0.020, −0.004]"]
    assert "λ = 0.3, chosen on the held-out split" in opened.text("#cross-fitted-table caption")
