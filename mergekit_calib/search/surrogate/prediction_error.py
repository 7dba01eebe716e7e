"""How far a predicted point is from the scored one, in standard errors of the scored one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.scopes import Scopes, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.results.findings import Objective
from mergekit_calib.search.evaluation import Evaluator

PROPER_SCORES = ("brier", "nll")


def checked_scores(objectives: Sequence[Objective], of_choices: Iterable[Metric], tables: Tables) -> list[Objective]:
    """Return the scores that tell whether a prediction is good.

    They are the proper scores in each scope of an objective. Where no scope has one, they are the objectives.

    Args:
        objectives: the objectives.
        of_choices: the metrics of items with choices.
        tables: the item scores of any point.
    """
    scopes = Scopes(describe_tables(tables), of_choices)
    proper = {
        (o.scope, metric): o.model_copy(update={"metric": metric, "direction": "minimize", "to": None})
        for o in objectives
        for metric in PROPER_SCORES
        if metric in scopes.metrics(o.scope)
    }
    return list(proper.values()) or list(objectives)


def prediction_errors(evaluator: Evaluator, predicted: Tables, scored: Tables) -> dict[str, float]:
    """Return name of a score → its absolute error on the selection split, in bootstrap standard errors.

    Args:
        evaluator: computes objectives; the scores are those of `checked_scores`, without those that are not finite.
        predicted: the item scores that were predicted.
        scored: the item scores of the same point, measured.
    """
    errors = {}
    for score in checked_scores(evaluator.objectives, evaluator.of_choices, scored):
        of_score = replace(evaluator, objectives=[score])
        try:
            measured, expected = of_score.evaluate(scored), of_score.evaluate(predicted)
        except CalibError:
            continue
        difference, error = abs(expected.values[0] - measured.values[0]), measured.replicates[:, 0].std(ddof=1)
        errors[score.name] = float(difference / error) if error > 0 else float(np.where(difference > 0, np.inf, 0.0))
    return errors
