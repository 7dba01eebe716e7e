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
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mergekit_calib.errors import near_names, option_problems
from mergekit_calib.pareto.candidates import Candidates, Choice, NoChoice


class SelectionRule(BaseModel, ABC):
    """A way to choose one point; its fields are the rule's options.

    Attributes:
        name: what `select: {rule: …}` names; set by `selection_rule`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    @abstractmethod
    def choose(self, candidates: Candidates) -> Choice | NoChoice:
        """Return the chosen point with a reason, or why there is none; the default rule then chooses.

        Args:
            candidates: at least one point; all values are finite, and no point dominates another beyond chance.
        """


SELECTION_RULES: dict[str, type[SelectionRule]] = {}
"""Name → registered rule."""

DEFAULT_RULE = "one_se"
"""The rule where a recipe names none, and where its rule can choose none: the best of `tests/benchmarks/choice.py`."""

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


def make_rule(
    rule: str,
    options: Mapping[str, Any],
    objectives: Sequence[str],
    scores: Sequence[str] = (),
    rules: Mapping[str, type[SelectionRule]] = SELECTION_RULES,
) -> SelectionRule:
    """Return a rule with its options.

    Args:
        rule: a name in `rules`.
        options: as the recipe gives them, without `rule`.
        objectives: the names of the sweep's objectives.
        scores: the names of the metrics that rules may look at beside the objectives.
        rules: the rules to look in, where there are more than the built-in ones.

    Raises:
        ValueError: the rule is unknown, or cannot use its options.
    """
    rule_class = _rule_named(rule, rules)
    try:
        return rule_class.model_validate(options, context={"objectives": objectives, "scores": scores})
    except ValidationError as error:
        raise ValueError(f"selection rule {rule}: {'; '.join(_problems(error, rule_class))}") from None


def choose(rule: SelectionRule, candidates: Candidates) -> Choice:
    """Choose a point by a rule, or by the default rule where the rule can choose none.

    Points with a value that is not finite are ignored, and so are points that another one dominates beyond chance.
    Parents may be chosen.

    Args:
        rule: as `make_rule` returns it.
        candidates: the points.

    Raises:
        ValueError: no point has finite values.
    """
    usable = candidates.with_finite_values()
    if not usable.ids:
        raise ValueError(
            f"none of {len(candidates.ids)} points has finite values of {', '.join(candidates.objectives)}"
        )
    usable = usable.without_dominated()
    choice = rule.choose(usable)
    if isinstance(choice, Choice):
        return choice
    instead = SELECTION_RULES[DEFAULT_RULE]().choose(usable)
    assert isinstance(instead, Choice)
    return replace(instead, gave_way=choice.reason)


def select(
    rule: str,
    candidates: Candidates,
    options: Mapping[str, Any],
    rules: Mapping[str, type[SelectionRule]] = SELECTION_RULES,
) -> Choice:
    """Choose a point by the name of a rule and its options: `make_rule`, then `choose`.

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
    return choose(make_rule(rule, options, candidates.objectives, list(candidates.scores), rules), candidates)


def rule_problems(
    rule: str,
    options: Mapping[str, Any],
    objectives: Sequence[str],
    scores: Sequence[str] = (),
    rules: Mapping[str, type[SelectionRule]] = SELECTION_RULES,
) -> list[str]:
    """Return one line for each mistake in a rule's options.

    Args:
        rule: a name in `rules`.
        options: as the recipe gives them, without `rule`.
        objectives: the names of the sweep's objectives.
        scores: the names of the metrics that rules may look at beside the objectives.
        rules: the rules to look in.

    Raises:
        ValueError: the rule is unknown.
    """
    chosen_rule = _rule_named(rule, rules)
    try:
        chosen_rule.model_validate(options, context={"objectives": objectives, "scores": scores})
    except ValidationError as error:
        return _problems(error, chosen_rule)
    return []


def _rule_named(rule: str, rules: Mapping[str, type[SelectionRule]]) -> type[SelectionRule]:
    if rule not in rules:
        raise ValueError(f"no selection rule {rule!r}{near_names(rule, rules)}; there are {', '.join(sorted(rules))}")
    return rules[rule]


def _problems(error: ValidationError, rule: type[SelectionRule]) -> list[str]:
    return option_problems(error, rule.model_fields)
