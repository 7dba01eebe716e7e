"""Metrics that compare a model with a parent: bound to a role, and computed from the same items of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.simulated_models import Model, items, without_choices
from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.item_metrics.accuracies import correct
from mergekit_calib.items.metric_registry import BUILT_IN, MetricContext, metric, with_references
from mergekit_calib.items.pooled_items import PooledItems, same_items
from mergekit_calib.items.scopes import SUITE, Scopes, describe_tables
from mergekit_calib.items.table import ItemTable, joined

BY_NAME = {each.name: each for each in BUILT_IN}
MODELS = {"aligned": Model(1.35, 2.0), "0.5": Model(1.4)}
KEY = ("entry", "made_up")


@pytest.fixture
def tables() -> dict[str, ItemTable]:
    return items(MODELS, 200)


def test_negative_flips_count_the_items_that_the_parent_alone_answers_correctly(tables):
    theirs, mine = correct(tables["aligned"]), correct(tables["0.5"])
    statistic = BY_NAME["negative_flips"].statistic(tables["0.5"], MetricContext(reference=tables["aligned"]))
    assert 0 < statistic.value() == np.mean([a and not b for a, b in zip(theirs, mine, strict=True)])


def test_the_divergence_is_that_of_the_model_from_the_parent(tables):
    statistic = BY_NAME["kl"].statistic(tables["0.5"], MetricContext(reference=tables["aligned"]))
    both = tables["aligned"].log_likelihoods, tables["0.5"].log_likelihoods
    assert statistic.value() == metrics.kl_divergence(*both) != metrics.kl_divergence(*both[::-1])


@pytest.mark.parametrize("name", ["kl", "negative_flips"])
def test_a_model_differs_in_nothing_from_itself(tables, name):
    assert BY_NAME[name].statistic(tables["0.5"], MetricContext(reference=tables["0.5"])).value() == 0.0


def test_each_parent_that_is_named_gives_a_metric_of_its_own():
    wanted = [("acc", None), ("kl", "base"), ("kl", "aligned"), ("kl", "base")]
    bound = {each.name: each for each in with_references(BUILT_IN, wanted)}
    assert [name for name in bound if name.startswith("kl")] == ["kl_to_base", "kl_to_aligned"]
    assert bound["kl_to_aligned"].to == "aligned"
    assert "negative_flips" not in bound
    assert bound["acc"] is BY_NAME["acc"]


def test_a_metric_without_its_reference_is_in_no_scope(tables):
    described = describe_tables({"entry": [tables["0.5"]]})
    assert "kl" not in Scopes(described, BUILT_IN).metrics(SUITE)
    assert "kl_to_base" in Scopes(described, with_references(BUILT_IN, [("kl", "base")])).metrics(SUITE)
    texts = without_choices(tables["0.5"], {"f1": np.ones(200)})
    assert "kl_to_base" not in Scopes(
        describe_tables({"entry": [texts]}), with_references(BUILT_IN, [("kl", "base")])
    ).metrics(SUITE)


def test_until_the_parent_is_scored_its_metric_is_not_defined(tables):
    bound = BY_NAME["kl"].compared_with("aligned")
    references = {}
    pooled = PooledItems([(KEY, tables["0.5"])], references, n_bins=15)
    assert pooled.statistic(bound) is None
    references["aligned"] = {"entry": [tables["aligned"]]}
    assert pooled.statistic(bound).value() > 0


def test_the_parents_items_are_matched_by_document_whatever_its_order_and_width(tables):
    wider = replace(
        tables["aligned"],
        **{
            name: np.pad(getattr(tables["aligned"], name), ((0, 0), (0, 1)), constant_values=fill)
            for name, fill in (("log_likelihoods", np.nan), ("labels", False), ("choice_chars", 0), ("choice_bytes", 0))
        },
    )
    shuffled = wider.take(np.random.default_rng(0).permutation(200))
    some = tables["0.5"].take(np.arange(30, 70))
    matching = same_items({"entry": [shuffled]}, [(KEY, some)])
    assert matching.doc_hashes == some.doc_hashes
    assert np.array_equal(matching.log_likelihoods, tables["aligned"].log_likelihoods[30:70])


def test_parts_of_several_tasks_keep_their_order():
    mine, theirs = ({name: items(MODELS, 40, task=name)[which] for name in "ab"} for which in ("0.5", "aligned"))
    parts = [(("b", "b"), mine["b"]), (("a", "a"), mine["a"].take(np.arange(5)))]
    matching = same_items({name: [table] for name, table in theirs.items()}, parts)
    assert matching.doc_hashes == [*theirs["b"].doc_hashes, *theirs["a"].doc_hashes[:5]]


@pytest.mark.parametrize("change", [lambda t: t.take(np.arange(10)), lambda t: replace(t, doc_hashes=["x"] * len(t))])
def test_a_parent_that_was_scored_on_other_items_is_an_error(tables, change):
    with pytest.raises(CalibError, match="made_up: the model to compare with was scored on other items"):
        same_items({"entry": [change(tables["aligned"])]}, [(KEY, tables["0.5"])])


def test_parts_of_a_table_that_is_scored_in_blocks_have_the_divergence_of_these_items(tables):
    halves = [tables["0.5"].take(np.arange(half, 200, 2)) for half in (0, 1)]
    bound = BY_NAME["kl"].compared_with("aligned")
    references = {"aligned": {"entry": [tables["aligned"]]}}
    values = [PooledItems([(KEY, part)], references, 15).statistic(bound).value() for part in (*halves, joined(halves))]
    assert np.mean(values[:2]) == pytest.approx(values[2])


def test_a_third_partys_metric_gets_the_parents_scores(tables):
    @metric("answers_changed", direction="minimize", meaning="share of other answers", needs_reference=True)
    def answers_changed(table, context):
        theirs = context.reference.probabilities.argmax(axis=1)
        return metrics.mean_statistic(table.probabilities.argmax(axis=1) != theirs)

    assert not answers_changed.always
    pooled = PooledItems([(KEY, tables["0.5"])], {"base": {"entry": [tables["aligned"]]}}, 15)
    expected = tables["0.5"].log_likelihoods.argmax(1) != tables["aligned"].log_likelihoods.argmax(1)
    assert pooled.statistic(answers_changed.compared_with("base")).value() == expected.mean()
