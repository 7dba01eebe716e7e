"""The registry of selection rules: choosing by a rule's name, and checking its options beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mergekit_calib.errors import near_names
from mergekit_calib.pareto import options as checks
from mergekit_calib.pareto import rules as built_in
from mergekit_calib.pareto.candidates import Candidates, Choice, SelectionRule

SELECTION_RULES: dict[str, SelectionRule] = {
    "knee": SelectionRule(built_in.knee),
    "max": SelectionRule(
        built_in.best_within_bounds,
        options={"objective": checks.objective, "bounds": checks.bounds},
        required=("objective",),
    ),
    "pareto_superior": SelectionRule(built_in.pareto_superior),
    "weighted": SelectionRule(built_in.weighted, options={"weights": checks.weights}),
    "nearest": SelectionRule(built_in.nearest, options={"ideal": checks.values}),
}


def select(
    rule: str,
    candidates: Candidates,
    options: Mapping[str, Any],
    rules: Mapping[str, SelectionRule] = SELECTION_RULES,
) -> Choice:
    """Choose a point by a rule. Points with a value that is not finite are ignored; parents may be chosen.

    Args:
        rule: a name in `rules`.
        options: the rule's own, as `validate_options` admits them.
        rules: the rules to look in, where there are more than the built-in ones.

    Raises:
        ValueError: an unknown rule, options it cannot use, or no point with finite values.

    Example:
        >>> import numpy as np
        >>> points = Candidates(("base", "lambda=0.5", "aligned"), ("acc", "ece"), ("maximize", "minimize"),
        ...                     np.array([[0.58, 0.02], [0.70, 0.04], [0.71, 0.12]]), ("base", "aligned"))
        >>> select("max", points, {"objective": "acc", "bounds": {"ece": {"max": 0.05}}}).id
        'lambda=0.5'
    """
    if problems := validate_options(rule, options, candidates.objectives, rules):
        raise ValueError(f"selection rule {rule}: {'; '.join(problems)}")
    usable = candidates.with_numbers()
    if not usable.ids:
        raise ValueError(
            f"none of {len(candidates.ids)} points has finite values of {', '.join(candidates.objectives)}"
        )
    return rules[rule].choose(usable, options)


def validate_options(
    rule: str,
    options: Mapping[str, Any],
    objectives: Sequence[str],
    rules: Mapping[str, SelectionRule] = SELECTION_RULES,
) -> list[str]:
    """What is wrong with a rule's options, one sentence a problem with the option's key; empty if nothing is.

    Args:
        rule: a name in `rules`.
        options: as the recipe gives them, without `rule`.
        objectives: the names of the sweep's objectives.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in rules:
        raise ValueError(f"no selection rule {rule!r}{near_names(rule, rules)}; there are {', '.join(sorted(rules))}")
    known = rules[rule].options
    takes = f"takes {', '.join(known)}" if known else "takes no options"
    problems = [f"{key}: {rule} {takes}{near_names(str(key), known)}" for key in options if key not in known]
    problems += [f"{key}: {rule} needs it" for key in rules[rule].required if key not in options]
    for key, check in known.items():
        if key in options:
            problems += [f"{key}: {problem}" for problem in check(options[key], objectives)]
    return problems
