"""The registry of metrics: one new module adds a metric, names are unique, and a context reaches the function."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mergekit_calib import metrics
from mergekit_calib.items.item_metrics.accuracies import correct
from mergekit_calib.items.metric_registry import BUILT_IN, MetricContext, metrics_of_votes
from mergekit_calib.items.table import ItemTable, choice_table, confidence_table

BY_NAME = {each.name: each for each in BUILT_IN}

ONE_MORE = """
from mergekit_calib.items.metric_definition import metric
from mergekit_calib.metrics import mean_statistic

@metric("{name}", direction="minimize", meaning="share of items with a likeliest choice above one half")
def confident(table, context):
    return mean_statistic((table.probabilities > 0.5).any(axis=1))
"""
READ = """
import sys
from mergekit_calib.items import item_metrics
item_metrics.__path__.append(sys.argv[1])
from mergekit_calib.items.metric_registry import BUILT_IN
print(*[each.name for each in BUILT_IN])
"""


@pytest.fixture
def table() -> ItemTable:
    rng = np.random.default_rng(0)
    return choice_table(rng.normal(size=(50, 4)).tolist(), [[int(i)] for i in rng.integers(0, 4, 50)])


def names_with(folder) -> subprocess.CompletedProcess[str]:
    """Read the registry in a process of its own, with the modules of a folder among those of `item_metrics`."""
    return subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=False)


def test_a_module_with_a_decorated_function_adds_a_metric(tmp_path):
    (tmp_path / "confident_share.py").write_text(ONE_MORE.format(name="confident"))
    names = [each.name for each in BUILT_IN]
    after = names.index("rms_ce_debiased") + 1  # the modules stand in alphabetical order
    assert names_with(tmp_path).stdout.split() == [*names[:after], "confident", *names[after:]]


def test_two_metrics_of_one_name_are_an_error(tmp_path):
    (tmp_path / "another_ece.py").write_text(ONE_MORE.format(name="ece"))
    assert "defines metric ece" in names_with(tmp_path).stderr


def test_sweeps_report_first_the_metrics_that_every_point_has():
    always = ["acc", "acc_norm", "ece", "rms_ce_debiased", "brier", "nll", "overconfidence"]
    others = ["ece_mass", "rms_ce", "smooth_ece", "kl", "negative_flips", "auroc", "aurc"]
    assert [each.name for each in BUILT_IN] == [*always, *others]
    assert [each.name for each in BUILT_IN if each.always] == always


def test_the_context_reaches_the_function(table):
    for n_bins in (1, 7):
        expected = metrics.expected_calibration_error(table.probabilities, table.labels, n_bins)
        assert BY_NAME["ece"].statistic(table, MetricContext(n_bins)).value() == expected


def test_a_metric_is_at_most_its_largest_value(table):
    other = replace(table, log_likelihoods=-table.log_likelihoods)
    for each in BUILT_IN:
        if each.of_probabilities:
            assert each.statistic(table, MetricContext(reference=other)).value() <= each.most


def test_auroc_is_not_defined_if_every_answer_is_correct(table):
    assert BY_NAME["auroc"].statistic(table.take(correct(table)), MetricContext()) is None


def test_metrics_of_confidences_are_those_of_the_top_choice(table):
    answers = confidence_table(np.nanmax(table.probabilities, axis=1), correct(table))
    for each in BUILT_IN:
        if each.of_confidences:
            of_answers, of_choices = (each.statistic(t, MetricContext()).value() for t in (answers, table))
            assert of_answers == pytest.approx(of_choices)


def test_answers_of_each_filter_have_their_own_metrics():
    names = ["acc", "confidence", "acc,last", "confidence,last", "confidence,lost"]
    per_filter = [each.name for each in BUILT_IN if each.of_confidences]
    assert list(metrics_of_votes(names)) == [*per_filter, *[f"{name},last" for name in per_filter]]
    assert metrics_of_votes(["acc", "nll"]) == {}
