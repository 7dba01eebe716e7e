"""The page printed on A4: the first sheet has the answer, the frontier and the table, and it is full."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from pypdf import PageObject, PdfReader

from helpers.report_factory import make_frontier
from mergekit_calib.report.page.prose import MOST_SENTENCES, n_sentences, shown_and_folded
from mergekit_calib.report.text.answer import answer_lines
from mergekit_calib.report.text.statements import statements

A4 = (595, 842)  # points
MARGIN = 31  # points: the 11 mm of the page's style
AXES = {
    5: {"lambda": [0.0, 0.3, 0.6, 1.0, 1.3]},
    14: {"lambda": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]},
    42: {"lambda": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.2], "density": [0.2, 0.4, 0.6, 0.8]},
}


def printed(opened: Any) -> list[PageObject]:
    return list(PdfReader(io.BytesIO(opened.page.pdf(prefer_css_page_size=True, print_background=True))).pages)


def lowest(page: PageObject) -> float:
    """Return the height of the lowest line of text above the lower edge of a sheet, in points."""
    heights = []

    def visit(text: str, cm: list[float], tm: list[float], *_: Any) -> None:
        if text.strip():
            heights.append(tm[4] * cm[1] + tm[5] * cm[3] + cm[5])

    page.extract_text(visitor_text=visit)
    return min(heights)


@pytest.mark.parametrize("n_points", AXES)
def test_the_first_sheet_is_full_of_the_answer_the_frontier_and_the_table(open_report: Callable, n_points: int) -> None:
    frontier = make_frontier(AXES[n_points])
    sheets = printed(open_report(frontier))
    first = " ".join(sheets[0].extract_text().split())
    assert tuple(round(float(side)) for side in sheets[0].mediabox[2:]) == A4
    places = [first.find(words) for words in (answer_lines(frontier)[0], "acc against ece", "Every point")]
    assert -1 not in places
    names = [f"{point.axes['lambda']:g}" for point in frontier.points if point.axes] if n_points < 20 else ["0.1"]
    for name in names:
        assert f"λ = {name}" in first[places[-1] :]
    assert "all metrics" not in first
    used = A4[1] - MARGIN - lowest(sheets[0])
    assert used / (A4[1] - 2 * MARGIN) > 0.85


def test_charts_are_as_before_after_printing(open_report: Callable) -> None:
    opened = open_report(make_frontier())
    width = "document.querySelector('#frontier-chart .chart > svg').getBoundingClientRect().width"
    before = opened.page.evaluate(width)
    printed(opened)
    assert opened.page.evaluate(width) == before


def test_the_page_shows_at_most_six_sentences_and_folds_the_rest_below_the_charts(open_report: Callable) -> None:
    frontier = make_frontier()
    opened = open_report(frontier)
    words = opened.page.locator("main p:not([role=status]), main li").evaluate_all(
        "all => all.filter((p) => p.checkVisibility() && !p.closest('table')).map((p) => p.innerText)"
    )
    prose = [text for text in words if text.rstrip().endswith((".", "!", "?"))]
    assert set(answer_lines(frontier)) <= set(prose)
    assert sum(map(n_sentences, prose)) <= MOST_SENTENCES
    below = opened.page.locator("#statements").bounding_box()["y"]
    assert below > opened.page.locator("#curve-figures").bounding_box()["y"]
    for summary in opened.page.locator("details.words summary").all():
        summary.click()
    said = opened.page.locator("#statements li").all_inner_texts()
    assert [" ".join(text.split()) for text in said] == [" ".join(text.split()) for text in statements(frontier)]


def test_statements_are_shown_whole_while_there_is_room() -> None:
    assert n_sentences("No gain (p = 1.00). With T = 1.36, ECE falls to 0.02!") == 2
    assert n_sentences("the lead without a full stop") == 1
    said = ["One. Two.", "Three. Four. Five.", "Six."]
    assert shown_and_folded(["A. B."], said) == (said[:1], said[1:])
    assert shown_and_folded([], said) == (said, [])
    assert shown_and_folded(["A. B. C. D. E. F. G."], said) == ([], said)


def test_a_point_of_an_earlier_run_is_marked_on_the_page_and_in_its_csv(open_report: Callable) -> None:
    frontier = make_frontier()
    frontier.point("lambda=0.3").reused = True
    opened = open_report(frontier)
    assert opened.page.locator("#points-table .reused").count() == 1
    assert "reused" in opened.text('#points-table tr[data-point="lambda=0.3"] th')
    opened.page.locator('#points-table tr[data-point="lambda=0.3"] button').click()
    assert "scored by an earlier run" in opened.text("#point-panel")
    opened.page.locator('#points-table tr[data-point="lambda=0.6"] button').click()
    assert "earlier run" not in opened.text("#point-panel")
