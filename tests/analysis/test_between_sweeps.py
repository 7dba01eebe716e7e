"""Points of different sweeps are compared on the held-out items that both were scored on, by task and document."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mergekit_calib.analysis.between_sweeps import LEAST_COMMON, ScoredPoint, compared_points
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.items.table import in_split
from mergekit_calib.results.findings import Objective

MEASURES = [Objective(metric="acc", direction="maximize"), Objective(metric="ece", direction="minimize")]


@pytest.fixture(scope="module")
def whole(finished_demo: Path) -> StoredSweep:
    return StoredSweep.load(finished_demo)


def of_items(whole: StoredSweep, chosen, change=lambda table: table) -> StoredSweep:
    """The sweep as if it had been scored on some of its documents only; `chosen` maps a table to row numbers."""
    sweep = StoredSweep(whole.folder, whole.frontier, whole.record)
    for point in whole.frontier.complete_points:
        (table,) = whole.tables(point.id)["calib_demo"]
        sweep._tables[point.id] = {"calib_demo": [change(table.take(chosen(table)))]}
    return sweep


def test_the_same_items_give_the_differences_that_the_sweep_itself_has(whole: StoredSweep) -> None:
    chosen, aligned = whole.frontier.selected, whole.frontier.parent("aligned")
    found = compared_points(ScoredPoint(whole, chosen.id), ScoredPoint(whole, aligned.id), MEASURES)
    assert found.same_items
    assert found.n == whole.frontier.suite[0].n_held_out
    for name in ("acc", "ece"):
        expected = chosen.differences["aligned"][name]
        assert found.differences[name].value == pytest.approx(expected.value)
        assert found.differences[name].n == expected.n
    # A mean's interval does not depend on the resamples.
    assert found.differences["acc"].low == pytest.approx(chosen.differences["aligned"]["acc"].low)


def test_other_items_leave_those_in_common_whatever_their_order(whole: StoredSweep) -> None:
    first = of_items(whole, lambda table: np.arange(0, 450))
    second = of_items(whole, lambda table: np.arange(150, 600)[::-1])
    (table,) = whole.tables("lambda=0")["calib_demo"]
    held_out = table.rows("held_out")
    both = np.flatnonzero(held_out)[(np.flatnonzero(held_out) >= 150) & (np.flatnonzero(held_out) < 450)]
    found = compared_points(ScoredPoint(first, "lambda=0.5"), ScoredPoint(second, "lambda=1"), MEASURES)
    assert found.n == len(both)
    assert found.n_of == (held_out[:450].sum(), held_out[150:].sum())
    assert not found.same_items

    def correct(point: str) -> np.ndarray:
        (of_point,) = whole.tables(point)["calib_demo"]
        likeliest = of_point.probabilities[both].argmax(axis=1)
        return of_point.labels[both][np.arange(len(both)), likeliest]

    gain = correct("lambda=0.5").mean() - correct("lambda=1").mean()
    assert found.differences["acc"].value == pytest.approx(gain)
    assert found.differences["acc"].low < gain < found.differences["acc"].high


def test_a_split_that_the_suite_entry_names_does_not_hide_a_document(whole: StoredSweep) -> None:
    def named(table):
        return replace(table, doc_hashes=[in_split(doc, "held_out") for doc in table.doc_hashes])

    second = of_items(whole, lambda table: np.arange(len(table)), named)
    found = compared_points(ScoredPoint(whole, "lambda=0"), ScoredPoint(second, "lambda=0"), MEASURES)
    assert found.n == found.n_of[0] < found.n_of[1] == 600
    assert found.differences["acc"].value == 0.0


def test_too_few_common_items_or_none_are_not_compared_and_the_number_needed_is_said(whole: StoredSweep) -> None:
    few = of_items(whole, lambda table: np.arange(0, 100))
    found = compared_points(ScoredPoint(whole, "lambda=0"), ScoredPoint(few, "lambda=1"), MEASURES)
    assert 0 < found.n < LEAST_COMMON
    assert not found.differences
    assert f"{found.n} held-out items are in common; at least 100 are needed" in found.reason
    other = of_items(whole, lambda table: np.arange(len(table)), lambda table: replace(table, task="another"))
    assert (
        "no held-out item"
        in compared_points(ScoredPoint(whole, "lambda=0"), ScoredPoint(other, "lambda=1"), MEASURES).reason
    )


def test_other_prompts_are_said_and_missing_item_scores_are_the_reason(whole: StoredSweep, tmp_path: Path) -> None:
    frontier = whole.frontier.model_copy(deep=True)
    frontier.suite[0] = frontier.suite[0].model_copy(update={"num_fewshot": 5})
    second = StoredSweep(whole.folder, frontier, whole.record)
    found = compared_points(ScoredPoint(whole, "lambda=0"), ScoredPoint(second, "lambda=1"), MEASURES)
    assert found.unshared == ("calib_demo: 0 and 5 examples in the prompt",)
    shutil.copytree(whole.folder / "calibration", tmp_path / "calibration", ignore=shutil.ignore_patterns("items"))
    bare = StoredSweep.load(tmp_path)
    assert (
        "no item scores"
        in compared_points(ScoredPoint(bare, "lambda=0"), ScoredPoint(whole, "lambda=0"), MEASURES).reason
    )
