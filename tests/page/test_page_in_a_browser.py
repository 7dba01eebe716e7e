"""The page in a real browser, opened from disk without network: it works with pointer, keys and screen readers."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.report_factory import make_frontier
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.results.frontier import Baseline, Frontier

ATTACK = "</script><img src=x onerror=alert(1)>"
GRID = {"lambda": [0.25, 0.5, 0.75, 1.0, 1.25], "density": [0.3, 0.6]}


@pytest.fixture(scope="module")
def frontier() -> Frontier:
    """A run of five points, one of which failed, with baselines."""
    made = make_frontier({"lambda": [0.0, 0.3, 0.6, 0.8, 1.0, 1.3]}, failed=("lambda=0.8",), select="lambda=0.3")
    aligned = made.point("lambda=1").metrics["suite"]
    kinds: list[tuple[str, Any]] = [("aligned+T", "temperature"), ("base&aligned", "average")]
    made.baselines = [
        Baseline(id=name, kind=kind, of=["lambda=1"], temperatures={"calib_demo": 1.8}, metrics={"suite": aligned})
        for name, kind in kinds
    ]
    return made


def marks(opened: Any) -> Any:
    return opened.page.locator("#frontier-chart [role=radio]")


def rows(opened: Any) -> list[str]:
    return opened.page.locator("#points-table tbody tr").evaluate_all("rows => rows.map(r => r.dataset.point)")


def saved(opened: Any, button: str, folder: Path) -> list[dict[str, str]]:
    with opened.page.expect_download() as download:
        opened.page.locator(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == ".csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_it_opens_on_the_answer_with_the_chosen_point_in_full(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    assert opened.text(".lead") == answer_lines(frontier)[0]
    assert opened.page.locator(".answer .rest").all_inner_texts() == list(answer_lines(frontier)[1:])
    assert (opened.chosen, opened.picked) == ("lambda=0.3", "lambda=0.3")
    assert marks(opened).count() == 5
    assert "merge_method: linear" in opened.text("#recipe")
    assert opened.page.locator("#reliability-chart svg").first.is_visible()
    assert opened.page.locator("#curve-figures figure").count() == 4


def test_a_failed_point_is_shown_with_its_reason(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    assert "OutOfMemoryError: tried to allocate 2 GiB" in opened.text('tr[data-point="lambda=0.8"]')
    assert "1 of 6 points failed λ = 0.8: OutOfMemoryError" in opened.text(".notice.bad")


def test_hovering_shows_values_with_intervals(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    tip = opened.page.locator("#frontier-chart .tip")
    assert not tip.is_visible()
    opened.page.locator('#frontier-chart [data-point="lambda=0.6"]').hover(force=True)
    acc = frontier.point("lambda=0.6").estimate(frontier.objectives[0])
    assert f"acc {acc.value:.3f} ({acc.low:.3f} to {acc.high:.3f})" in tip.inner_text()
    opened.page.mouse.move(2, 2)
    assert not tip.is_visible()


def test_a_point_is_selected_by_click_key_or_row(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    opened.page.locator('#frontier-chart [data-point="lambda=1.3"]').click(force=True)
    assert opened.picked == "lambda=1.3"
    assert opened.text("#point-name") == "λ = 1.3"
    assert "# {'lambda': 1.3}" in opened.text("#recipe")
    mark = opened.page.locator("#frontier-chart [aria-checked=true]")
    assert mark.get_attribute("data-point") == "lambda=1.3"
    mark.focus()
    opened.page.keyboard.press("ArrowLeft")
    assert opened.picked == "lambda=1"
    assert opened.page.evaluate("document.activeElement.dataset.point") == "lambda=1"
    opened.page.get_by_role("button", name="λ = 0.6", exact=True).click()
    assert opened.picked == "lambda=0.6"
    assert opened.chosen == "lambda=0.3"


def test_a_point_is_compared_with_the_parents_by_paired_differences(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    difference = frontier.point("lambda=0.3").differences["aligned"]["ece"]
    words = f"{difference.value:+.3f} better ({difference.low:+.3f} to {difference.high:+.3f})".replace("-", "−")
    assert f"vs aligned {words}" in opened.text("#point-panel")
    row = opened.page.locator("#metrics-table tbody tr").filter(has_text="ece ↓").first
    assert f"{difference.value:+.3f}".replace("-", "−") in row.inner_text()


def test_arrow_keys_read_a_curve_and_a_reliability_diagram_out(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    opened.page.locator("#curve-ece svg").focus()
    opened.page.keyboard.press("ArrowRight")
    value = frontier.point("lambda=0.6").estimate(frontier.objectives[1]).value
    assert f"λ = 0.6, ece {value:.3f}" in opened.page.locator("body > .hidden[role=status]").text_content()
    opened.page.keyboard.press("Enter")
    assert opened.picked == "lambda=0.6"
    opened.page.locator("#reliability-chart svg").first.focus()
    opened.page.keyboard.press("ArrowRight")
    assert "confidence 0.00 to" in opened.page.locator("#reliability-chart .tip").inner_text()


def test_any_measure_can_be_drawn_against_any_other(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    opened.page.locator("#x").select_option("brier")
    assert opened.text("#frontier-chart h3").startswith("acc against brier")
    assert "brier" in marks(opened).first.get_attribute("aria-label")
    reloaded = opened.page.url
    assert "x=brier" in reloaded


def test_the_table_sorts_both_ways_with_failed_points_last(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    button = opened.page.locator("#points-table thead button").filter(has_text=re.compile(r"^ece ↓ \(15 bins"))
    points = frontier.complete_points
    ascending = [p.id for p in sorted(points, key=lambda p: p.estimate(frontier.objectives[1]).value)]
    button.click()
    assert rows(opened)[:6] == [*ascending, "lambda=0.8"]
    assert rows(opened)[6:] == [None, None]
    button.click()
    assert rows(opened)[:6] == [*ascending[::-1], "lambda=0.8"]
    assert opened.page.locator("#points-table th[aria-sort=descending]").count() == 1
    opened.page.locator("#points-table thead button").first.click()
    assert rows(opened)[:6] == [f"lambda={v}" for v in ("0", "0.3", "0.6", "0.8", "1", "1.3")]


def test_every_chart_and_table_can_be_downloaded_as_csv(
    open_report: Callable, frontier: Frontier, tmp_path: Path
) -> None:
    opened = open_report(frontier)
    table = {row["id"]: row for row in saved(opened, "#points-csv", tmp_path)}
    assert set(table) == {p.id for p in frontier.points} | {b.id for b in frontier.baselines}
    estimate = frontier.point("lambda=0.6").estimate(frontier.objectives[0])
    assert float(table["lambda=0.6"]["suite.acc.held_out.value"]) == estimate.value
    assert table["lambda=0.8"]["reason"] == frontier.point("lambda=0.8").reason
    difference = frontier.point("lambda=0.6").differences["aligned"]["ece"]
    assert float(table["lambda=0.6"]["minus.aligned.ece.p"]) == difference.p
    assert set(points_frame(frontier).columns) - {"seconds"} <= set(table["lambda=0.6"])
    for chart in ("frontier-chart", "reliability-chart", "curve-ece"):
        opened.page.locator(f"#{chart} summary").click()
        opened.page.locator(f"#{chart} tbody tr").first.wait_for()
        shown = opened.page.locator(f"#{chart} tbody tr").count()
        assert len(saved(opened, f"#{chart} details button", tmp_path)) == shown > 0
    shown = opened.page.locator("#metrics-table td:last-child").count()
    assert len(saved(opened, "#point-metrics button", tmp_path)) == shown > 0


def test_the_recipe_is_copied(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier, permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy: Plain mergekit recipe").click()
    assert opened.page.evaluate("navigator.clipboard.readText()") == frontier.point("lambda=0.3").recipe


def test_a_point_with_the_weights_of_another_has_its_diagram(open_report: Callable) -> None:
    frontier = make_frontier(select="lambda=0.3")
    frontier.point("lambda=0.6").same_as = "lambda=0.3"
    del frontier.reliability["lambda=0.6"]
    opened = open_report(frontier)
    opened.page.locator('#points-table tr[data-point="lambda=0.6"] th').click()
    assert opened.picked == "lambda=0.6"
    assert opened.page.locator("#reliability-chart svg").first.is_visible()


def test_a_long_point_name_leaves_room_for_the_values(open_report: Callable) -> None:
    axes = {f"lambda_of_a_part_with_a_long_name_{i}": [0.25, 0.75] if i == 1 else [0.5] for i in range(1, 7)}
    opened = open_report(make_frontier({"lambda": [0.5], "density": [0.3], **axes}))
    row = opened.page.locator("#metrics-table tbody tr:has(td)").first
    assert row.locator("td").first.bounding_box()["x"] < 400


def test_there_are_curves_along_either_axis_and_lambda_above_1_is_shaded(open_report: Callable) -> None:
    opened = open_report(make_frontier(GRID, objectives=("acc", "ece", "brier")))
    assert opened.page.locator("#curve-acc .extrapolated").count() == 1
    opened.page.locator("#axis").select_option("density")
    assert opened.text("#curves-title") == "Every metric along density"
    assert opened.page.locator("#curve-acc .extrapolated").count() == 0
    assert opened.page.locator("#frontier-chart [data-point=base]").count() == 1


def test_names_that_look_like_markup_are_shown_and_do_not_run(open_report: Callable) -> None:
    frontier = make_frontier(failed=("lambda=0.6",), name=ATTACK, method=ATTACK, notes=[ATTACK])
    frontier.models = {"base": ATTACK, ATTACK: ATTACK}
    for point in frontier.points:
        point.recipe, point.reason = ATTACK, ATTACK if point.status == "failed" else None
        point.id = f"{point.id} {ATTACK}"
        if point.metrics:
            point.metrics |= {ATTACK: {ATTACK: point.metrics["suite"]["ece"]}}
    frontier.suite = [*frontier.suite, frontier.suite[0].model_copy(update={"name": ATTACK})]
    frontier.reliability = {f"{name} {ATTACK}": diagram for name, diagram in frontier.reliability.items()}
    opened = open_report(frontier)
    opened.page.locator("#scope").select_option(ATTACK)
    opened.page.locator("#x").select_option(f"{ATTACK}/{ATTACK}")
    for summary in opened.page.locator("summary").all():
        summary.click()
    marks(opened).first.hover(force=True)
    opened.page.locator("#rule").select_option("knee")
    assert opened.page.locator("img").count() == 0
    assert opened.text("h1") == ATTACK
    assert ATTACK in opened.text("#curve-figures")


def test_the_page_of_a_running_sweep_says_so_and_its_reloading_can_be_switched_off(open_report: Callable) -> None:
    opened = open_report(make_frontier(finished=False))
    assert "The sweep is still running: 5 points so far" in opened.text("#running")
    opened.page.get_by_label("reload automatically").uncheck()
    assert opened.page.evaluate("sessionStorage.getItem('calib-follow')") == "no"


@pytest.mark.parametrize(
    "empty", [{"points": [], "select": None}, {"objectives": ("acc",)}], ids=["no point", "one objective"]
)
def test_a_page_without_points_or_with_one_objective_opens(open_report: Callable, empty: dict) -> None:
    opened = open_report(make_frontier(finished=False, **empty))
    assert opened.page.locator("#points-table").is_visible()


def test_without_scripts_the_answer_and_the_table_are_there(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier, java_script_enabled=False)
    assert opened.text(".lead") == answer_lines(frontier)[0]
    assert not opened.page.locator("#explore").is_visible()
    assert "The charts need scripts" in opened.text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_its_window_in_either_colour_scheme(
    open_report: Callable, frontier: Frontier, tmp_path: Path, width: int, scheme: str
) -> None:
    opened = open_report(frontier, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour))) < 150) == (scheme == "dark")
    over = opened.page.evaluate(
        """() => [...document.querySelectorAll("#frontier-chart .name")].filter((name) => {
            const box = name.getBBox(), svg = name.ownerSVGElement;
            return box.x < 0 || box.x + box.width > svg.clientWidth + 1;
        }).map((name) => name.textContent)"""
    )
    assert over == []
    opened.page.screenshot(path=tmp_path / f"{scheme}_{width}.png", full_page=True)


def test_every_control_and_chart_has_a_name(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    nameless = opened.page.evaluate(
        """() => [...document.querySelectorAll("svg[role], [role=radio], button, select, input, [role=region]")]
            .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert opened.page.locator("#frontier-chart [role=radio][tabindex='0']").count() == 1
    assert opened.page.locator("details.numbers").count() == 6
