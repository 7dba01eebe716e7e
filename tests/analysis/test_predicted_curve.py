"""The predicted metrics along an axis: which values they have, how they are checked, and which are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.analysis.predicted_curve import predicted_curve
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import choice_table
from mergekit_calib.search.surrogate.leja import leja_points

N = 300


def scores(value, noise=None):
    rng = np.random.default_rng(0)
    start, slope, bend = rng.normal(0, 1, (3, N, 4))
    hashes = [f"{i:04d}" for i in range(N)]
    logits = -6.0 + start + slope * value + bend * value**2
    table = replace(choice_table(logits, [[0]] * N), task="t", doc_hashes=hashes)
    texts = replace(choice_table([[]] * N, [[]] * N), task="texts", doc_hashes=hashes)
    share = np.full(N, value) if noise is None else noise.normal(0, 1, N) + 5.0 * noise.normal()
    return {"t": [table], "texts": [replace(texts, values={"share": share + rng.normal(0, 0.1, N)})]}


def points(n_nodes=7, others=(0.3,), noise=None):
    values = [*leja_points(0.0, 1.5, [0.0, 1.5], n_nodes, lambda x: round(x, 3)), *others]
    return {f"lambda={value:g}": (value, scores(value, noise)) for value in values}


@pytest.fixture
def estimator():
    return Estimator(BUILT_IN, None, level=0.95, n_resamples=100, n_bins=15, seed=0)


def test_smooth_items_give_the_values_that_scoring_gives(estimator):
    scored = points()
    curve = predicted_curve(estimator, "lambda", scored, list(scored)[:7], known=True)
    assert curve.nodes == list(scored)[:7]
    for at in (10, 33, 50):
        measured = estimator.bootstrap(scores(curve.values[at]))
        for scope, metric in (("suite", "brier"), ("t", "acc"), ("texts", "share")):
            for split in ("all", "selection", "held_out"):
                expected = measured[scope][split][metric].value
                assert curve.metrics[scope][metric][split][at] == pytest.approx(expected, abs=2e-3)


def test_each_later_node_and_every_other_point_is_checked_against_its_prediction(estimator):
    scored = points(n_nodes=7, others=(0.3, 1.2))
    nodes = list(scored)[:7]
    curve = predicted_curve(estimator, "lambda", scored, nodes, known=True)
    assert [(check.point, check.n_nodes) for check in curve.checks] == [
        *((node, i) for i, node in enumerate(nodes) if i >= 2),
        ("lambda=0.3", 7),
        ("lambda=1.2", 7),
    ]
    first = curve.checks[0]  # a straight line through the ends misses the bend
    measured = estimator.bootstrap(scored[first.point][1])["suite"]["held_out"]["nll"]
    assert first.errors["nll"] == pytest.approx((first.predicted["nll"] - measured.value) / measured.standard_error)
    assert abs(first.errors["nll"]) > 1.0 > 0.05 > abs(curve.checks[-1].errors["nll"])
    assert curve.typical_errors["t/nll"] < 0.5


def test_a_metric_that_jumps_from_point_to_point_is_left_out(estimator):
    scored = points(noise=np.random.default_rng(3))
    curve = predicted_curve(estimator, "lambda", scored, list(scored)[:7], known=True)
    assert curve.typical_errors["texts/share"] > 1.0
    assert "texts" not in curve.metrics
    assert "brier" in curve.metrics["suite"]


def test_a_curve_that_is_not_known_has_no_values_and_few_nodes_give_none(estimator):
    scored = points()
    curve = predicted_curve(estimator, "lambda", scored, list(scored)[:7], known=False)
    assert curve.metrics == {}
    assert curve.checks
    assert predicted_curve(estimator, "lambda", scored, list(scored)[:2], known=False) is None
