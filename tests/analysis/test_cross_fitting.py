"""A point chosen on all items, and what the rule's choice gains, measured on items that it was not chosen on."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.simulated_models import ACC, ECE, Model, analysed, items

# Two points that are alike, so that the splits choose differently, between a calibrated and an overconfident parent.
NEIGHBOURS = {
    "base": Model(1.0, 1.0),
    "0.4": Model(1.2, 1.0, own=0.4),
    "0.5": Model(1.2, 1.0, own=0.4),
    "aligned": Model(1.1, 2.5),
}


def swept(seed: int, **options):
    return analysed(NEIGHBOURS, rule="least", n_items=800, seed=seed, **options)


@pytest.fixture(scope="module")
def disagreeing():
    """A sweep whose splits choose different points."""
    return next(f for f in (swept(seed, choose_on="all") for seed in range(20)) if not f.splits.agree)


def test_the_point_with_the_least_nll_on_all_items_is_chosen(disagreeing):
    nll = {p.id: p.metrics["suite"]["nll"]["all"].value for p in disagreeing.points}
    assert disagreeing.selected.id == min(nll, key=nll.__getitem__)
    assert disagreeing.selection.split == "all"
    for point_id, value in disagreeing.rule_scores["nll"].values.items():
        assert value == pytest.approx(nll[point_id])


def test_each_item_is_answered_by_the_choice_of_the_other_split(disagreeing):
    choices = {split: choice.point for split, choice in disagreeing.splits.choices.items()}
    assert disagreeing.cross_fitted.choices == choices
    seed = next(s for s in range(20) if not swept(s, choose_on="all").splits.agree)
    tables = {
        f"lambda={0 if n == 'base' else 1 if n == 'aligned' else n}": t for n, t in items(NEIGHBOURS, 800, seed).items()
    }
    correct = {}
    for point_id, table in tables.items():
        correct[point_id] = table.labels[np.arange(800), table.log_likelihoods.argmax(axis=1)]
    in_selection = tables["lambda=0"].in_selection_split
    crossed = np.where(in_selection, correct[choices["held_out"]], correct[choices["selection"]])
    estimate = disagreeing.cross_fitted.estimates["acc"]
    assert estimate.value == pytest.approx(crossed.mean())
    assert estimate.n == 800
    gain = disagreeing.cross_fitted.differences["base"]["acc"]
    assert gain.value == pytest.approx((crossed.astype(float) - correct["lambda=0"]).mean())
    assert gain.low < gain.value < gain.high


def test_where_both_splits_choose_the_same_point_its_numbers_on_all_items_are_quoted():
    models = {"base": Model(0.6, 1.0), "0.5": Model(1.4, 1.0), "aligned": Model(0.9, 3.0)}
    frontier = analysed(models, rule="least", n_items=800, choose_on="all")
    assert frontier.splits.agree
    for objective in (ACC, ECE):
        quoted, own = frontier.cross_fitted.estimates[objective.name], frontier.selected.estimate(objective, "all")
        assert (quoted.value, quoted.low, quoted.high, quoted.n) == pytest.approx((own.value, own.low, own.high, own.n))
    assert frontier.cross_fitted.differences.keys() == {"base", "aligned"}


def test_a_choice_on_the_selection_split_is_not_cross_fitted():
    frontier = swept(0)
    assert frontier.selection.split == "selection"
    assert frontier.cross_fitted is None


def test_dominance_is_known_on_all_items_too(disagreeing):
    assert all(p.dominated_by.keys() == {"all", "selection", "held_out"} for p in disagreeing.points)
    assert disagreeing.selected.dominated_by["all"] == []
