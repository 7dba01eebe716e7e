"""The page of a sweep that predicts what lies between its points: scored points are marks, predicted values a line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.predicted_sweeps import AROUND, DIVERSITY, NODES, predicted_sweep
from mergekit_calib import Frontier
from mergekit_calib.report.text.prediction_texts import prediction

SCORED = sorted([*NODES, *AROUND])


@pytest.fixture(scope="module")
def known() -> Frontier:
    return predicted_sweep()


def between(opened: Any, chart: str, left: float, right: float) -> tuple[float, float, float]:
    """Return the λ in the middle of two scored points, and a place in the chart above it."""
    opened.page.locator(chart).scroll_into_view_if_needed()
    dots = opened.page.locator(f"{chart} .curve-dot circle")
    boxes = [dots.nth(SCORED.index(value)).bounding_box() for value in (left, right)]
    x = sum(box["x"] + box["width"] / 2 for box in boxes) / 2
    return (left + right) / 2, x, boxes[0]["y"] + 20


def predicted_rows(opened: Any, chart: str) -> list[str]:
    """Return the names of the rows of predicted values, in the table under a chart."""
    opened.page.locator(f"{chart} summary").click()
    opened.page.locator(f"{chart} tbody tr").first.wait_for()
    names = opened.page.locator(f"{chart} tbody th").all_inner_texts()
    return [name for name in names if name.endswith("predicted")]


def test_curves_have_a_dot_for_each_scored_point_and_a_predicted_line(known: Frontier, open_report: Callable) -> None:
    opened = open_report(known)
    assert opened.text("#curves-legend").startswith("scored 95 % interval predicted")
    for metric in ("acc", "ece", "nll"):
        chart = f"#curve-{metric}"
        assert opened.page.locator(f"{chart} .curve-dot circle").count() == len(SCORED)
        assert opened.page.locator(f"{chart} .curve-whisker line").count() == len(SCORED)
        assert opened.page.locator(f"{chart} .predicted-line path").count() == 1
        assert opened.page.locator(f"{chart} .curve-line, {chart} .curve-band").count() == 0
    assert prediction(known) in opened.page.locator(".statements li").all_text_contents()
    error = known.predicted.typical_errors["acc"]
    assert f"typical error {error:.2f} SE" in opened.text("#curve-acc h3")


def test_hovering_between_points_tells_the_predicted_value_and_its_typical_error(
    known: Frontier, open_report: Callable
) -> None:
    opened = open_report(known)
    at, x, y = between(opened, "#curve-acc", 1.0, 1.305)
    opened.page.mouse.move(x, y)
    name, value, error = opened.page.locator("#curve-acc .tip").inner_text().split("\n")
    nearest = min(known.predicted.values, key=lambda each: abs(each - at))
    assert name == f"λ = {nearest:.6g}, predicted"
    predicted = known.predicted.along(known.objectives[0])[known.predicted.values.index(nearest)]
    assert value == f"acc {predicted:.3f}"
    assert error == f"typical error {known.predicted.typical_errors['acc']:.2f} standard errors"


def test_a_predicted_value_can_not_be_chosen(known: Frontier, open_report: Callable) -> None:
    opened = open_report(known)
    picked = opened.picked
    _, x, y = between(opened, "#curve-ece", 1.0, 1.305)
    opened.page.mouse.click(x, y)
    assert opened.picked == picked
    dot = opened.page.locator("#curve-ece .curve-dot circle").last.bounding_box()
    opened.page.mouse.click(dot["x"] + 2, dot["y"] + 2)
    assert opened.picked == "lambda=1.5"
    assert opened.page.locator("#frontier-chart [role=radio]").count() == len(SCORED)
    assert opened.page.locator("#points-table [data-point]").count() == len(SCORED)


def test_arrow_keys_go_from_scored_point_to_scored_point(known: Frontier, open_report: Callable) -> None:
    opened = open_report(known)
    opened.page.locator("#curve-nll svg").focus()
    for _ in SCORED:
        opened.page.keyboard.press("ArrowLeft")
    said = [opened.page.locator("body > .hidden[role=status]").text_content()]
    for _ in SCORED[1:]:
        opened.page.keyboard.press("ArrowRight")
        said.append(opened.page.locator("body > .hidden[role=status]").text_content())
    assert [words.split(",")[0].partition(" (")[0] for words in said] == [f"λ = {value:g}" for value in SCORED]


def test_the_tables_under_the_charts_list_what_is_predicted_in_rows_of_its_own(
    known: Frontier, open_report: Callable, tmp_path: Path
) -> None:
    opened = open_report(known)
    unscored = [value for value in known.predicted.values if value not in SCORED]
    for chart in ("#curve-brier", "#frontier-chart"):
        assert predicted_rows(opened, chart) == [f"λ = {value:.6g}, predicted" for value in unscored]
    with opened.page.expect_download() as download:
        opened.page.locator("#points-csv").click()
    download.value.save_as(tmp_path / "points.csv")
    with (tmp_path / "points.csv").open(encoding="utf-8-sig", newline="") as file:
        scored = [row for row in csv.DictReader(file) if row["status"] != "baseline"]
    assert [row["id"] for row in scored] == [p.id for p in known.points]


def test_in_the_trade_off_the_predicted_path_takes_the_place_of_the_trail(
    known: Frontier, open_report: Callable
) -> None:
    opened = open_report(known)
    assert opened.page.locator("#frontier-chart .predicted-line path").count() == 1
    assert opened.page.locator("#frontier-chart .trail").count() == 0
    assert "predicted" in opened.text("#frontier-chart .legend")
    path = opened.page.locator("#frontier-chart .predicted-line path")
    i = min(range(len(known.predicted.values)), key=lambda k: abs(known.predicted.values[k] - 1.15))
    x, y = path.evaluate(
        """(path, i) => {
            const [x, y] = path.getAttribute("d").slice(1).split("L")[i].split(",").map(Number);
            const box = path.ownerSVGElement.getBoundingClientRect();
            return [box.x + x, box.y + y];
        }""",
        i,
    )
    opened.page.mouse.move(x, y)
    name, acc, ece = opened.page.locator("#frontier-chart .tip").inner_text().split("\n")
    assert name.endswith(", predicted")
    for words, metric in ((acc, "acc"), (ece, "ece")):
        error = known.predicted.typical_errors[metric]
        assert words.startswith(metric)
        assert words.endswith(f"typical error {error:.2f} standard errors")


def test_without_a_known_curve_there_is_no_line_and_the_page_says_so(open_report: Callable) -> None:
    opened = open_report(predicted_sweep(known=False))
    assert "no line: the points do not predict each other" in opened.text("#curves-legend")
    assert opened.page.locator("#curve-acc .curve-dot circle").count() == len(SCORED)
    assert opened.page.locator(".chart .predicted-line, .chart .trail, #curve-figures .curve-line").count() == 0


def test_a_metric_that_is_not_predicted_has_dots_alone(open_report: Callable) -> None:
    opened = open_report(predicted_sweep(texts=True))
    opened.page.locator("#scope").select_option(DIVERSITY.task)
    chart = f"#curve-{DIVERSITY.metric}"
    assert "not predicted" in opened.text(f"{chart} h3")
    assert opened.page.locator(f"{chart} .curve-dot circle").count() == len(SCORED)
    assert opened.page.locator(f"{chart} .predicted-line, {chart} .curve-line").count() == 0
    opened.page.locator("#x").select_option(DIVERSITY.name)
    assert opened.page.locator("#frontier-chart .predicted-line, #frontier-chart .trail").count() == 0
