"""Races: the documents of each block, the rate of wrong stops, and early stops of points that are much worse."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib import plugins
from mergekit_calib.items.table import ItemTable, in_selection_split, joined
from mergekit_calib.recipe import Racing
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.racing import Race

ACC, BRIER = Objective(metric="acc", direction="maximize"), Objective(metric="brier", direction="minimize")


def hashes(n: int, seed: int = 0) -> list[str]:
    return [f"doc-{seed}-{i}" for i in range(n)]


def table(strength: np.ndarray, docs: list[str], rows: np.ndarray | None = None) -> ItemTable:
    """Four-choice items; `strength` (n_items,) is how far the correct choice is above the others, in nats."""
    n = len(docs)
    scores = np.zeros((n, 4))
    scores[:, 0] = strength
    whole = ItemTable(
        task="t",
        doc_ids=np.arange(n),
        doc_hashes=docs,
        log_likelihoods=scores,
        labels=np.eye(4, dtype=bool)[np.zeros(n, dtype=int)],
        choice_chars=np.ones((n, 4), dtype=int),
        choice_bytes=np.ones((n, 4), dtype=int),
    )
    return whole if rows is None else whole.take(rows)


def evaluator(*objectives: Objective) -> Evaluator:
    return Evaluator(objectives, list(plugins.metrics().values()), n_bins=15, seed=0)


def race(docs: list[str], blocks: int = 5, error: float = 0.2, *objectives) -> Race:
    return Race(Racing(blocks=blocks, error=error), evaluator(*(objectives or (ACC, BRIER))), {"t": docs})


def run(race: Race, strength: np.ndarray, rivals: list[np.ndarray], order: int = 1):
    docs = race.documents["t"]
    return race.run(
        lambda wanted: {"e": [table(strength, docs, np.array(wanted["t"]))]},
        [(f"rival {i}", {"e": [table(r, docs)]}) for i, r in enumerate(rivals)],
        order,
    )


def test_blocks_hold_every_document_once_and_the_held_out_split_last():
    docs = hashes(500)
    blocks = [block["t"] for block in race(docs, blocks=7).blocks]
    assert sorted(i for block in blocks for i in block) == list(range(500))
    assert all(in_selection_split(docs[i]) for block in blocks[:-1] for i in block)
    assert not any(in_selection_split(docs[i]) for i in blocks[-1])
    sizes = [len(block) for block in blocks[:-1]]
    assert max(sizes) - min(sizes) <= 1


def test_a_point_that_no_other_dominates_is_scored_to_the_end_in_the_tasks_order():
    docs, strength = hashes(600), np.random.default_rng(0).normal(1, 2, 600)
    tables, stopped = run(race(docs), strength, [strength - 1])
    assert stopped is None
    assert tables["e"][0].doc_ids.tolist() == list(range(600))
    np.testing.assert_array_equal(tables["e"][0].log_likelihoods, table(strength, docs).log_likelihoods)


def test_a_point_that_is_far_worse_stops_early_and_keeps_what_was_scored():
    docs, rng = hashes(2000), np.random.default_rng(1)
    strength = rng.normal(1.5, 1, 2000)
    tables, stopped = run(race(docs), strength - 2.0, [strength])
    assert stopped is not None
    assert "dominated by rival 0 after" in stopped
    (kept,) = tables["e"]
    assert len(kept) < 600
    assert kept.in_selection_split.all()


def test_items_that_were_scored_before_are_not_scored_again():
    docs, strength = hashes(400), np.random.default_rng(0).normal(1, 2, 400)
    racing = race(docs)
    first = np.array(sorted(racing.blocks[0]["t"] + racing.blocks[1]["t"]))
    asked: list[int] = []

    def score(wanted):
        asked.extend(wanted["t"])
        return {"e": [table(strength, docs, np.array(wanted["t"]))]}

    tables, _ = racing.run(score, [], 1, earlier={"e": [table(strength, docs, first)]})
    assert sorted(asked) == sorted(set(range(400)) - set(first.tolist()))
    assert len(tables["e"][0]) == 400


@pytest.mark.parametrize("n_points", [1, 10, 10_000])
def test_the_levels_of_all_comparisons_sum_to_no_more_than_the_error_however_many_points_follow(n_points):
    racing = race(hashes(10), 5, 0.05)
    spent = sum(racing.level(order, n_rivals=order + 1) * 5 * (order + 1) for order in range(1, n_points + 1))
    assert spent == pytest.approx(0.05 * n_points / (n_points + 1))


def test_a_point_that_is_better_on_one_objective_is_never_dominated():
    """One objective far worse, the other a little better: no rival is better on both."""
    docs, rng = hashes(2000), np.random.default_rng(3)
    mine = rng.normal(0.3, 0.2, 2000)  # nearly always correct, with little confidence
    theirs = np.where(
        rng.random(2000) < 0.85, 4.0, -4.0
    )  # less often correct, with high confidence: the better Brier score
    _, stopped = run(race(docs), mine, [theirs])
    assert stopped is None


def test_wrong_stops_in_a_whole_race_are_no_more_frequent_than_the_error():
    """Points and rivals come from one distribution: the hardest case, in which any stop is wrong."""
    error, races, n_points, n_rivals = 0.2, 50, 4, 3
    wrong = 0
    for seed in range(races):
        rng = np.random.default_rng(seed)
        docs = hashes(500, seed)
        shared = rng.normal(0.8, 1.0, 500)  # items differ in difficulty, the same for all points
        racing = race(docs, 3, error)
        rivals = [shared + rng.normal(0, 1, 500) for _ in range(n_rivals)]
        wrong += any(run(racing, shared + rng.normal(0, 1, 500), rivals, order)[1] for order in range(1, n_points + 1))
    assert wrong / races <= error  # 10 of 50; the bound is conservative, so this has room


def test_one_objective_is_tested_at_about_its_level():
    """A single comparison with a single objective: Bonferroni and the intersection-union test have no slack here."""
    level, trials = 0.1, 400
    wrong = 0
    for seed in range(trials):
        rng = np.random.default_rng(10_000 + seed)
        docs = hashes(400, seed)
        shared = rng.normal(0.8, 1.0, 400)
        racing = race(docs, 2, level * 2 * 2, BRIER)  # two looks, and half of the error for the first point
        rival = {"e": [table(shared + rng.normal(0, 1, 400), docs)]}
        mine = {"e": [table(shared + rng.normal(0, 1, 400), docs)]}
        wrong += racing.reason_to_stop(mine, 1, [("rival", rival)], 1) is not None
    assert 0.06 <= wrong / trials <= 0.15


def test_tables_of_parts_are_joined_in_the_tasks_order():
    docs, strength = hashes(50), np.arange(50.0)
    odd, even = np.arange(1, 50, 2), np.arange(0, 50, 2)
    whole = joined([table(strength, docs, odd), table(strength, docs, even)])
    assert whole.task == "t"
    assert whole.doc_hashes == docs
    np.testing.assert_array_equal(whole.log_likelihoods, table(strength, docs).log_likelihoods)
