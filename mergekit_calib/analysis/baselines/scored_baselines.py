"""The baselines of a sweep with their answers: of the parents, and of the chosen point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mergekit_calib.analysis.baselines.baseline_choice import Alternative, choose_among
from mergekit_calib.analysis.baselines.mixtures import average_probabilities, blend_log_probabilities
from mergekit_calib.analysis.baselines.temperature_scaling import (
    at_temperatures,
    fit_temperatures,
    fit_temperatures_without_labels,
)
from mergekit_calib.analysis.choices import Chooser
from mergekit_calib.analysis.estimation import Estimator
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import Split
from mergekit_calib.results.baseline_findings import Baseline

_BASE = "base"


@dataclass(frozen=True)
class ScoredBaseline:
    """A baseline with its answers.

    Attributes:
        baseline: the baseline, fitted on the selection split.
        fitted: a split → the scores of the baseline that is fitted, or whose λ is chosen, on it; None if there is none.
    """

    baseline: Baseline
    fitted: Callable[[Split], Tables | None]


@dataclass(frozen=True)
class BaselineMaker:
    """Makes the baselines of one sweep from the scores of its points.

    Attributes:
        estimator: computes the metrics that the rule looks at.
        chooser: the sweep's rule, which chooses the λ of a blend.
        tables: point id → its scores.
        parents: role → point id of the scored parents, in the order of the sweep.
        lambdas: the values of λ that blends are chosen among.
    """

    estimator: Estimator
    chooser: Chooser
    tables: Mapping[str, Tables]
    parents: Mapping[str, str]
    lambdas: Sequence[float]

    def of_parents(self) -> Iterator[list[ScoredBaseline]]:
        """Yield the baselines of the parents, those of one kind together."""
        if not self.parents:
            return  # every one failed
        (role, first), *others = self.parents.items()
        # Without a base model the first parent is a tuned model like the others.
        tuned = others if role == _BASE and others else [(role, first), *others]
        with_labels = [self._with_temperature(name, point) for name, point in tuned]
        yield [scored for scored in with_labels if scored is not None]
        if role == _BASE:
            yield [self._without_labels(name, point, first) for name, point in others]
        yield [self._average((role, first), other) for other in others]
        blends = [self._blend((role, first), other) for other in others]
        yield [scored for scored in blends if scored is not None]

    def _with_temperature(self, name: str, point: str) -> ScoredBaseline | None:
        tables = self.tables[point]
        if not (temperatures := fit_temperatures(tables)):
            return None
        baseline = Baseline(id=f"{name}+T", kind="temperature", of=[point], temperatures=temperatures)

        def fitted(split: Split) -> Tables:
            return at_temperatures(tables, temperatures if split == "selection" else fit_temperatures(tables, split))

        return ScoredBaseline(baseline, fitted)

    def _without_labels(self, name: str, point: str, base: str) -> ScoredBaseline:
        tables, reference = self.tables[point], self.tables[base]
        temperatures = fit_temperatures_without_labels(tables, reference)
        baseline = Baseline(
            id=f"{name}+T*", kind="temperature", of=[point], temperatures=temperatures, uses_labels=False
        )

        def fitted(split: Split) -> Tables:
            of_split = temperatures
            if split != "selection":
                of_split = fit_temperatures_without_labels(tables, reference, split)
            return at_temperatures(tables, of_split)

        return ScoredBaseline(baseline, fitted)

    def _average(self, first: tuple[str, str], other: tuple[str, str]) -> ScoredBaseline:
        mean = average_probabilities(self.tables[first[1]], self.tables[other[1]])
        baseline = Baseline(id=f"{first[0]}&{other[0]}", kind="average", of=[first[1], other[1]], models_run=2)
        return ScoredBaseline(baseline, lambda split: mean)

    def _blend(self, first: tuple[str, str], other: tuple[str, str]) -> ScoredBaseline | None:
        """Return the blend at the λ that the rule chooses; the parents are its ends, and run alone if chosen."""
        ends = {0.0: first[0], 1.0: other[0]}
        pair = self.tables[first[1]], self.tables[other[1]]
        by_lambda = {at: scores for at in self.lambdas if (scores := blend_log_probabilities(*pair, at)) is not None}
        alternatives = {repr(at): Alternative(scores, ends.get(at)) for at, scores in by_lambda.items()}

        def choose(split: Split) -> float | None:
            chosen = choose_among(self.estimator, self.chooser, alternatives, split)
            return None if chosen is None else float(chosen)

        at = choose("selection")
        if at is None:
            return None
        baseline = Baseline(
            id=f"{first[0]}|{other[0]}",
            kind="blend",
            of=[first[1], other[1]],
            at=at,
            models_run=1 if at in ends else 2,
        )

        def fitted(split: Split) -> Tables | None:
            its_lambda = at if split == "selection" else choose(split)
            return None if its_lambda is None else by_lambda[its_lambda]

        return ScoredBaseline(baseline, fitted)

    def of_choice(self, chosen: str, of_split: Mapping[Split, str] | None) -> ScoredBaseline | None:
        """Return the chosen point with a temperature; None if it has no choices to fit one on.

        Args:
            chosen: the id of the chosen point.
            of_split: split → the id of the point that the rule chooses on it, which is what is fitted on that split;
                None if that is always the chosen point.
        """
        roles = {point: role for role, point in self.parents.items()}
        scored = self._with_temperature(roles.get(chosen, chosen), chosen)
        if scored is None or of_split is None:
            return scored

        def fitted(split: Split) -> Tables:
            tables = self.tables[of_split[split]]
            return at_temperatures(tables, fit_temperatures(tables, split))

        return ScoredBaseline(scored.baseline, fitted)
