"""Selection rules: the base class, its decorator, and choosing a point by a rule's name.

A rule is one module in `rules/` with one class; its fields are the options that the YAML gives beside `rule:`:

    @selection_rule("max")
    class WithinBounds(SelectionRule):
        objective: ObjectiveName
        def choose(self, candidates): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mergekit_calib.errors import near_names, option_problems
from mergekit_calib.pareto.candidates import Candidates, Choice


class SelectionRule(BaseModel, ABC):
    """A way to choose one point; its fields are the rule's options.

    Attributes:
        name: what `select: {rule: …}` names; set by `selection_rule`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    @abstractmethod
    def choose(self, candidates: Candidates) -> Choice:
        """Return the chosen point with a reason.

        Args:
            candidates: at least one point; all values are finite.
        """


SELECTION_RULES: dict[str, type[SelectionRule]] = {}
"""Name → registered rule."""

_Rule = TypeVar("_Rule", bound=type[SelectionRule])


def selection_rule(name: str) -> Callable[[_Rule], _Rule]:
    """Return a decorator that registers a `SelectionRule` under a name.

    Args:
        name: what `select: {rule: …}` names.
    """

    def register(rule: _Rule) -> _Rule:
        rule.name = name
        SELECTION_RULES[name] = rule
        return rule

    return register


def select(
    rule: str,
    candidates: Candidates,
    options: Mapping[str, Any],
    rules: Mapping[str, type[SelectionRule]] = SELECTION_RULES,
) -> Choice:
    """Choose a point by a rule. Points with a value that is not finite are ignored; parents may be chosen.

    Args:
        rule: a name in `rules`.
        candidates: the points.
        options: the rule's own options.
        rules: the rules to look in, where there are more than the built-in ones.

    Raises:
        ValueError: the rule is unknown or cannot use its options, or no point has finite values.

    Example:
        >>> import numpy as np
        >>> points = Candidates(("base", "lambda=0.5", "aligned"), ("acc", "ece"), ("maximize", "minimize"),
        ...                     np.array([[0.58, 0.02], [0.70, 0.04], [0.71, 0.12]]), ("base", "aligned"))
        >>> select("max", points, {"objective": "acc", "bounds": {"ece": {"max": 0.05}}}).id
        'lambda=0.5'
    """
    chosen_rule = _rule_named(rule, rules)
    try:
        validated = chosen_rule.model_validate(options, context={"objectives": candidates.objectives})
    except ValidationError as error:
        raise ValueError(f"selection rule {rule}: {'; '.join(_problems(error, chosen_rule))}") from None
    usable = candidates.with_finite_values()
    if not usable.ids:
        raise ValueError(
            f"none of {len(candidates.ids)} points has finite values of {', '.join(candidates.objectives)}"
        )
    return validated.choose(usable)


def rule_problems(
    rule: str,
    options: Mapping[str, Any],
    objectives: Sequence[str],
    rules: Mapping[str, type[SelectionRule]] = SELECTION_RULES,
) -> list[str]:
    """Return one line for each mistake in a rule's options.

    Args:
        rule: a name in `rules`.
        options: as the recipe gives them, without `rule`.
        objectives: the names of the sweep's objectives.
        rules: the rules to look in.

    Raises:
        ValueError: the rule is unknown.
    """
    chosen_rule = _rule_named(rule, rules)
    try:
        chosen_rule.model_validate(options, context={"objectives": objectives})
    except ValidationError as error:
        return _problems(error, chosen_rule)
    return []


def _rule_named(rule: str, rules: Mapping[str, type[SelectionRule]]) -> type[SelectionRule]:
    if rule not in rules:
        raise ValueError(f"no selection rule {rule!r}{near_names(rule, rules)}; there are {', '.join(sorted(rules))}")
    return rules[rule]


def _problems(error: ValidationError, rule: type[SelectionRule]) -> list[str]:
    return option_problems(error, rule.model_fields)
