"""Scopes of metrics: pools, averages and their weights, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.simulated_models import Model, items, without_choices
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.scopes import Scopes, TaskDescription, describe_tables
from mergekit_calib.results.findings import MACRO, SUITE

OF_CHOICES = {metric.name for metric in BUILT_IN if not metric.needs_reference}


def task(name: str, entry: str | None = None, choices: bool = True, **own: str) -> TaskDescription:
    """A task of two documents; `own` are its own metrics with their directions."""
    return TaskDescription(name, entry or name, choices, own, [f"{name}-0", f"{name}-1"])


def scopes(*tasks: TaskDescription) -> Scopes:
    return Scopes(tasks, BUILT_IN)


def terms(of: Scopes, scope: str, metric: str, weights: dict[str, float] | None = None) -> list[tuple]:
    """Each term as its scope, its tasks' names and its weight."""
    return [(term.scope, [t.task for t in term.pool.tasks], term.weight) for term in of.terms(scope, metric, weights)]


def test_the_suite_pools_all_tasks_with_choices():
    of = scopes(task("a"), task("b"), task("texts", choices=False, exact="maximize"))
    assert terms(of, SUITE, "acc") == [(SUITE, ["a", "b"], 1.0)]
    assert of.terms(SUITE, "acc")[0].pool.doc_hashes == ["a-0", "a-1", "b-0", "b-1"]
    assert "exact" not in of.metrics(SUITE)


def test_the_suite_pools_all_tasks_where_none_has_choices():
    of = scopes(task("x", choices=False, exact="maximize", wer="minimize"), task("y", choices=False, wer="minimize"))
    assert terms(of, SUITE, "wer") == [(SUITE, ["x", "y"], 1.0)]
    assert of.metrics(SUITE).keys() == {"wer"}
    assert of.averaged_entries == ["x", "y"]


def test_an_entry_is_one_pool_of_its_tasks():
    of = scopes(task("a1", "a"), task("b"), task("a2", "a"))
    assert of.entries == ["a", "b"]
    assert terms(of, "a", "ece") == [("a", ["a1", "a2"], 1.0)]


def test_an_entry_with_choices_and_without_is_two_pools():
    of = scopes(task("texts", "group", choices=False, exact="maximize", wer="minimize"), task("choices", "group"))
    assert [[t.task for t in pool.tasks] for pool in of.pools["group"]] == [["choices"], ["texts"]]
    assert terms(of, "group", "acc") == [("group", ["choices"], 1.0)]
    assert terms(of, "group", "exact") == [("group", ["texts"], 1.0)]
    assert of.metrics("group").keys() == OF_CHOICES | {"exact", "wer"}
    assert (of.metrics("group")["exact"].direction, of.metrics("group")["wer"].direction) == ("maximize", "minimize")


def test_a_metric_that_both_pools_yield_is_computed_from_the_pool_with_choices():
    votes = task("votes", "group", choices=False, acc="maximize", confidence="maximize")
    of = scopes(votes, task("choices", "group"))
    for metric in ("acc", "ece"):
        assert terms(of, "group", metric) == [("group", ["choices"], 1.0)]
    assert of.pools["group"][1].metrics.keys() == {"confidence"}


def test_answers_with_a_confidence_yield_calibration_errors():
    of = scopes(task("votes", choices=False, acc="maximize", confidence="maximize"))
    assert {"acc", "confidence", "ece", "rms_ce_debiased"} <= of.metrics("votes").keys()
    assert not {"acc_norm", "nll"} & of.metrics("votes").keys()
    assert of.metrics("votes")["ece"].direction == "minimize"


def test_answers_without_a_confidence_yield_only_the_tasks_own_metrics():
    assert scopes(task("texts", choices=False, acc="maximize")).metrics("texts").keys() == {"acc"}


def test_a_pool_yields_the_own_metrics_that_all_its_tasks_have():
    of = scopes(task("a1", "a", f1="maximize", brier="maximize"), task("a2", "a", f1="maximize"))
    assert of.metrics("a").keys() == OF_CHOICES | {"f1"}
    assert of.metrics("a")["brier"].direction == "minimize"


def test_a_tasks_own_metric_precedes_one_of_choices_of_that_name():
    of = scopes(task("a", brier="maximize"))
    assert of.metrics("a")["brier"].direction == "maximize"


def test_a_macro_average_weighs_entries_alike_unless_weights_say_otherwise():
    of = scopes(task("a1", "a"), task("a2", "a"), task("b"), task("texts", choices=False, acc="maximize"))
    assert of.averaged_entries == ["a", "b"]
    assert terms(of, MACRO, "acc") == [("a", ["a1", "a2"], 1.0), ("b", ["b"], 1.0)]
    assert terms(of, MACRO, "acc", {}) == terms(of, MACRO, "acc")
    assert terms(of, MACRO, "acc", {"b": 3.0}) == [("a", ["a1", "a2"], 0.0), ("b", ["b"], 3.0)]


def test_a_macro_average_of_a_mixed_entry_is_of_its_choices():
    of = scopes(task("plain"), task("texts", "group", choices=False, exact="maximize"), task("choices", "group"))
    assert terms(of, MACRO, "acc") == [("plain", ["plain"], 1.0), ("group", ["choices"], 1.0)]


def test_a_macro_average_is_only_of_metrics_that_every_entry_yields():
    of = scopes(task("a", f1="maximize"), task("b"))
    assert of.metrics(MACRO).keys() == OF_CHOICES
    with pytest.raises(KeyError, match="f1"):
        of.terms(MACRO, "f1")


def test_a_scope_that_the_suite_does_not_have_yields_nothing():
    assert scopes(task("a")).metrics("b") == {}
    assert scopes().metrics(SUITE) == scopes().metrics(MACRO) == {}


def test_tables_are_described_as_their_tasks_were():
    table = replace(items({"m": Model()}, 4, task="choices")["m"], values={"f1": np.ones(4)})
    texts = without_choices(items({"m": Model()}, 3, task="texts")["m"], {"wer": np.ones(3), "exact": np.ones(3)})
    described = describe_tables({"group": [texts, table]}, {"group": {"wer": False}})
    assert described == [
        TaskDescription("texts", "group", False, {"wer": "minimize", "exact": "maximize"}, texts.doc_hashes),
        TaskDescription("choices", "group", True, {"f1": "maximize"}, table.doc_hashes),
    ]


def test_a_pool_takes_its_tables_from_the_scores_of_a_suite():
    tables = {name: [items({"m": Model()}, 40, task=name)["m"]] for name in ("a", "b")}
    (pool,) = Scopes(describe_tables(tables), BUILT_IN).pools[SUITE]
    assert [len(part) for _, part in pool.parts(tables)] == [40, 40]
    selection = pool.parts(tables, ["selection"])
    assert [key for key, _ in selection] == [("a", "a"), ("b", "b")]
    assert all(part.in_selection_split.all() for _, part in selection)
    both = pool.parts(tables, ["selection", "held_out"])
    assert [key[0] for key, _ in both] == ["a", "a", "b", "b"]
    assert sum(len(part) for _, part in both) == 80
