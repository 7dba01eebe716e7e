"""Cross-fitting: the rule's choices, measured on items that they were not chosen on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split, joined
from mergekit_calib.results.findings import CrossFitted, Objective

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
    answers = _answers(choices, tables)
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


def _answers(choices: Mapping[Split, str], tables: Mapping[str, Tables]) -> Tables:
    """Return the scores of all items: those of each split from the point that is chosen on the other one."""
    first, second = choices.values()
    if first == second:
        return tables[first]
    of_split = {_OTHER[split]: tables[point] for split, point in choices.items()}
    mixed = {}
    for entry, some in tables[first].items():
        mixed[entry] = [
            joined([of[entry][i].take(of[entry][i].rows(split)) for split, of in of_split.items()])
            for i in range(len(some))
        ]
    return mixed
