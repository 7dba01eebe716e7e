"""The baselines of a sweep, each compared with the chosen point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mergekit_calib.analysis import paired
from mergekit_calib.analysis.baselines.baseline_choice import Alternative, choose_among
from mergekit_calib.analysis.baselines.blend_curves import of_probabilities
from mergekit_calib.analysis.baselines.scored_baselines import BaselineMaker, ScoredBaseline
from mergekit_calib.analysis.baselines.temperature_scaling import at_temperatures
from mergekit_calib.analysis.choices import Chooser
from mergekit_calib.analysis.cross_fitting import answers_of_other_splits
from mergekit_calib.analysis.estimation import Estimator, Results
from mergekit_calib.analysis.scoped_statistics import BOTH_SPLITS, MetricFilter
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.results.baseline_findings import Baseline
from mergekit_calib.results.findings import Difference


@dataclass(frozen=True)
class BaselineComputer:
    """Computes the baselines of one sweep.

    Attributes:
        estimator: computes the metrics.
        chooser: the sweep's rule.
        tables: point id → its scores.
        parents: role → point id of the scored parents, in the order of the sweep.
        lambdas: the values of λ that blends are chosen among.
    """

    estimator: Estimator
    chooser: Chooser
    tables: Mapping[str, Tables]
    parents: Mapping[str, str]
    lambdas: Sequence[float]

    def compute(self, chosen: str, of_split: Mapping[Split, str] | None) -> list[Baseline]:
        """Return the baselines, each compared with the chosen point with and without a temperature.

        They are, of the first parent (base) with each other one: the other with a temperature fitted to labels, and
        with one fitted without labels to base; their averaged probabilities; their blended log-probabilities, at the λ
        that the sweep's rule chooses. Of several of a kind, the one that the rule chooses is shown. A sweep of one
        parent has temperatures alone.

        Temperatures and λ are those of the selection split, and metrics are on the held-out split. So are differences,
        if the point was chosen on the selection split. If it was chosen on all items, they are cross-fitted over all
        items: each split is answered by the rule's choice, and by the baseline, of the other split.

        Args:
            chosen: the id of the chosen point.
            of_split: split → the id of the point that the rule chooses on it, if the point was chosen on all items.
        """
        if not any(table.has_choices for some in self.tables[chosen].values() for table in some):
            return []
        maker = BaselineMaker(self.estimator, self.chooser, self.tables, self.parents, self.lambdas)
        kinds = list(maker.of_parents())
        for kind in kinds:
            self._show_the_best(kind)
        of_parents = {scored.baseline.id: scored for kind in kinds for scored in kind}
        own = maker.of_choice(chosen, of_split)
        if own is not None:
            own = of_parents.setdefault(own.baseline.id, own)
            own.baseline.shown = True
        for scored in of_parents.values():
            self._fill_in_metrics(scored)
        self._compare(list(of_parents.values()), own, chosen, of_split)
        return [scored.baseline for scored in of_parents.values()]

    def _show_the_best(self, kind: Sequence[ScoredBaseline]) -> None:
        """Mark all baselines of a kind but one as not shown, the one that the rule chooses on the selection split."""
        if len(kind) < 2:
            return
        answers = {each.baseline.id: each.fitted("selection") for each in kind}
        alternatives = {name: Alternative(tables) for name, tables in answers.items() if tables is not None}
        best = choose_among(self.estimator, self.chooser, alternatives, "selection") or kind[0].baseline.id
        for each in kind:
            each.baseline.shown = each.baseline.id == best

    def _fill_in_metrics(self, scored: ScoredBaseline) -> None:
        baseline = scored.baseline
        # The temperature of a point that was chosen on all items is its own, whatever the rule chooses on one split.
        answers = (
            at_temperatures(self.tables[baseline.of[0]], baseline.temperatures)
            if baseline.kind == "temperature"
            else scored.fitted("selection")
        )
        assert answers is not None
        wanted = _of_choices if baseline.kind == "temperature" else of_probabilities
        by_scope = self.estimator.bootstrap(answers, ("held_out",), wanted)
        baseline.metrics = self.estimator.estimates(by_scope, answers)

    def _compare(
        self,
        scored: Sequence[ScoredBaseline],
        own: ScoredBaseline | None,
        chosen: str,
        of_split: Mapping[Split, str] | None,
    ) -> None:
        """Fill in the differences of the choice, and of the choice with a temperature, to each baseline."""
        split: Split = "held_out" if of_split is None else "all"
        keys = {objective.key for objective in self.chooser.objectives}

        def objectives_of(fitted: Callable[[Split], Tables | None], of_metric: MetricFilter) -> _Compared | None:
            answers = fitted("selection") if of_split is None else _crossed(fitted)
            if answers is None:
                return None
            by_scope = self.estimator.bootstrap(
                answers, (split,), lambda table, metric: metric.name in keys and of_metric(table, metric)
            )
            estimates = self.estimator.estimates(by_scope, answers)
            results = paired.of_objectives(by_scope, self.chooser.objectives, split)
            n = {o.name: estimates[o.scope][o.key][split].n for o in self.chooser.objectives if o.name in results}
            return _Compared(results, n)

        mine = objectives_of(lambda s: self.tables[chosen if of_split is None else of_split[s]], _every_metric)
        of_baselines = {
            each.baseline.id: objectives_of(
                each.fitted, _of_choices if each.baseline.kind == "temperature" else of_probabilities
            )
            for each in scored
        }
        compared = {chosen: mine} | ({own.baseline.id: of_baselines[own.baseline.id]} if own else {})
        for each in scored:
            theirs = of_baselines[each.baseline.id]
            for name, one in compared.items():
                if name != each.baseline.id and one is not None and theirs is not None:
                    each.baseline.differences[name] = self._differences(one, theirs)

    def _differences(self, one: _Compared, other: _Compared) -> dict[str, Difference]:
        level, objectives = self.estimator.level, self.chooser.objectives
        return paired.differences(one.results, other.results, objectives, level, one.n)


@dataclass(frozen=True)
class _Compared:
    """Results of objectives, and objective name → the number of items."""

    results: Results
    n: Mapping[str, int]


def _crossed(fitted: Callable[[Split], Tables | None]) -> Tables | None:
    by_split = {split: fitted(split) for split in BOTH_SPLITS}
    complete = {split: tables for split, tables in by_split.items() if tables is not None}
    return answers_of_other_splits(complete) if len(complete) == len(by_split) else None


def _every_metric(table: ItemTable, metric: Metric) -> bool:
    return True


def _of_choices(table: ItemTable, metric: Metric) -> bool:
    """Return whether the metric is computed from the choices' scores, and is not one of the task's own metrics."""
    return table.has_choices and metric.name not in table.values
