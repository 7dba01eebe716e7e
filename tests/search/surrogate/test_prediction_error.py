"""The error of a prediction: in which scores, and in whose standard errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import choice_table
from mergekit_calib.results.findings import Objective
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.surrogate.prediction_error import checked_scores, prediction_errors

ACC = Objective(metric="acc", direction="maximize")
ECE_OF_T = Objective(metric="ece", direction="minimize", task="t")
SHARE = Objective(metric="share", direction="maximize", task="texts")


def scores(seed=0, n=400, share=0.0):
    rng = np.random.default_rng(seed)
    hashes = [f"{i:04d}" for i in range(n)]
    choices = replace(choice_table(rng.normal(-5, 2, (n, 4)), [[0]] * n), task="t", doc_hashes=hashes)
    texts = replace(choice_table([[]] * n, [[]] * n), task="texts", doc_hashes=hashes)
    return {"t": [choices], "texts": [replace(texts, values={"share": rng.random(n) + share})]}


def test_the_scores_are_the_proper_ones_in_the_objectives_scopes_else_the_objectives():
    def names(*objectives):
        return [score.name for score in checked_scores(objectives, BUILT_IN, scores())]

    assert names(ACC) == ["brier", "nll"]
    assert names(ACC, ECE_OF_T, SHARE) == ["brier", "nll", "t/brier", "t/nll"]
    assert names(SHARE) == ["texts/share"]


def test_an_error_is_counted_in_standard_errors_of_the_scored_mean():
    scored, predicted = scores(), scores(share=0.01)
    (error,) = prediction_errors(Evaluator([SHARE], BUILT_IN, 15, 0), predicted, scored).values()
    table = scored["texts"][0]
    shares = table.values["share"][table.in_selection_split]
    assert error == pytest.approx(0.01 / (shares.std() / len(shares) ** 0.5), rel=0.1)


def test_a_perfect_prediction_has_no_error_and_a_score_that_is_infinite_is_left_out():
    evaluator = Evaluator([ACC], BUILT_IN, 15, 0)
    assert prediction_errors(evaluator, scores(), scores()) == {"brier": 0.0, "nll": 0.0}
    impossible = scores()
    impossible["t"][0].log_likelihoods[:, 0] = -np.inf
    assert prediction_errors(evaluator, impossible, impossible).keys() == {"brier"}
