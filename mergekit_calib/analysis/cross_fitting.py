"""Cross-fitting: the rule's choices, measured on items that they were not chosen on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split, joined
from mergekit_calib.results.choice_findings import CrossFitted
from mergekit_calib.results.findings import Objective

_OTHER: dict[Split, Split] = {"selection": "held_out", "held_out": "selection"}


def cross_fit(
    estimator: Estimator,
    objectives: Sequence[Objective],
    choices: Mapping[Split, str],
    tables: Mapping[str, Tables],
    parents: Mapping[str, Results],
) -> CrossFitted:
    """Return the estimates of the rule's choices over all items, each answered by the choice of the other split.

    Args:
        estimator: computes the metrics.
        objectives: the metrics to estimate.
        choices: split → the id of the point that the rule chooses on it.
        tables: id → scores, of those points.
        parents: role → results of the objectives on all items, to compare with.
    """
    answers = answers_of_other_splits({split: tables[point] for split, point in choices.items()})
    by_scope = estimator.bootstrap(answers, ("all",))
    results = paired.of_objectives(by_scope, objectives, "all")
    by_metric = estimator.estimates(by_scope, answers)
    estimates = {o.name: by_metric[o.scope][o.key]["all"] for o in objectives if o.name in results}
    n = {name: estimate.n for name, estimate in estimates.items()}
    return CrossFitted(
        choices={str(split): point for split, point in choices.items()},
        estimates=estimates,
        differences={
            role: paired.differences(results, theirs, objectives, estimator.level, n)
            for role, theirs in parents.items()
        },
    )


def answers_of_other_splits(chosen_on: Mapping[Split, Tables]) -> Tables:
    """Return scores of all items, those of each split from what was chosen, or fitted, on the other one.

    Args:
        chosen_on: split → scores of all items by what was chosen, or fitted, on that split.
    """
    first, second = chosen_on.values()
    if first is second:
        return first
    of_split = {_OTHER[split]: tables for split, tables in chosen_on.items()}
    mixed = {}
    for entry, some in first.items():
        mixed[entry] = [
            joined([of[entry][i].take(of[entry][i].rows(split)) for split, of in of_split.items()])
            for i in range(len(some))
        ]
    return mixed
