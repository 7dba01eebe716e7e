"""The proper scores that selection rules look at beside the objectives."""

from __future__ import annotations

from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier

_RULES_OF_SCORES = ("least", "one_se")


def proper_scores(frontier: Frontier) -> list[Objective]:
    """Return the proper scores that rules look at by default, as objectives would name them; none while it runs.

    They are of the scope that all objectives have in common, else of the whole suite, as for the rules.
    """
    scopes = {objective.scope for objective in frontier.objectives}
    common = frontier.objectives[0] if len(scopes) == 1 else Objective(metric="nll", direction="minimize")
    return [
        common.model_copy(update={"metric": name, "direction": score.direction, "to": None})
        for name, score in frontier.rule_scores.items()
        if score.proper
    ]


def scores_chosen_on(frontier: Frontier) -> list[Objective]:
    """Return the proper scores that the choice was made on, without those that are objectives.

    Other rules than `least` and `one_se` look at the objectives alone, unless they gave way to the default rule.
    """
    selection = frontier.selection
    if selection is None or not (selection.gave_way or selection.rule in _RULES_OF_SCORES):
        return []
    return [score for score in proper_scores(frontier) if score.name not in {o.name for o in frontier.objectives}]
