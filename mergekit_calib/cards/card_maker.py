"""Make cards from the item tables of models: intervals, and paired differences to the first model."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from mergekit_calib import plugins
from mergekit_calib.analysis import reliability_diagram
from mergekit_calib.analysis.empty_texts import empty_text_shares, notes_of_empty_texts
from mergekit_calib.analysis.estimation import Estimator, ResultsByScope
from mergekit_calib.analysis.paired import differences, of_objectives
from mergekit_calib.cards.calibration_card import ModelScores, Scores
from mergekit_calib.items.scopes import Scopes, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.results.findings import SUITE, Difference, Objective
from mergekit_calib.versions import versions


class CardMaker:
    """A card to which models are added one after another.

    Args:
        higher_is_better: task → the directions of its own metrics, as lm-eval states them.
        level: the confidence level of intervals.
        n_resamples: the number of resamples of intervals.
        n_bins: the number of bins of binned calibration errors and of diagrams.
        seed: the seed of resamples.

    Attributes:
        card: the card with the models added so far.
    """

    def __init__(
        self,
        higher_is_better: Mapping[str, Mapping[str, bool]],
        level: float = 0.95,
        n_resamples: int = 1000,
        n_bins: int = 15,
        seed: int = 0,
    ) -> None:
        self._higher_is_better = higher_is_better
        self.card = Scores(
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            level=level,
            n_resamples=n_resamples,
            n_bins=n_bins,
            seed=seed,
            versions=versions(),
        )
        self._first: tuple[dict[str, list[list[str]]], Estimator, ResultsByScope] | None = None

    def add(self, name: str, tables: Tables, seconds: float | None = None) -> ModelScores:
        """Add a model to the card, and return its metrics and their differences to the first model's.

        Args:
            name: the model's name on the card.
            tables: task → its item tables.
            seconds: how long scoring took.

        Raises:
            CalibError: a metric cannot be computed from the scores.
        """
        hashes = {task: [table.doc_hashes for table in some] for task, some in tables.items()}
        paired = self._first is not None and self._first[0] == hashes
        estimator = self._first[1] if self._first and paired else self._estimator()
        results = estimator.bootstrap(tables, splits=("all",))
        model = ModelScores(name=name, seconds=seconds)
        for scope, splits in estimator.estimates(results, tables).items():
            model.metrics[scope] = {metric: estimates["all"] for metric, estimates in splits.items()}
            self._note_directions(scope, tables)
            of_scope = [t for entry, some in tables.items() for t in some if scope in (SUITE, entry)]
            if diagram := reliability_diagram(of_scope, self.card.n_bins, "all"):
                model.reliability[scope] = diagram
        if self._first is None:
            self._first = (hashes, estimator, results)
        elif paired:
            model.differences = self._differences(results, self._first[2], model)
        else:
            self.card.notes.append(
                f"{name} was scored on other items than {self.card.models[0].name}: they cannot be compared in pairs."
            )
        self.card.notes += notes_of_empty_texts({name: empty_text_shares(tables)})
        self.card.models.append(model)
        return model

    def _estimator(self) -> Estimator:
        return Estimator(
            of_choices=list(plugins.metrics().values()),
            macro_weights=None,
            level=self.card.level,
            n_resamples=self.card.n_resamples,
            n_bins=self.card.n_bins,
            seed=self.card.seed,
        )

    def _note_directions(self, scope: str, tables: Tables) -> None:
        scopes = Scopes(describe_tables(tables, self._higher_is_better), plugins.metrics().values())
        directions = {name: metric.direction for name, metric in scopes.metrics(scope).items()}
        self.card.directions.setdefault(scope, {}).update(directions)

    def _differences(
        self, mine: ResultsByScope, first: ResultsByScope, model: ModelScores
    ) -> dict[str, dict[str, Difference]]:
        """Return scope → metric → the paired difference of a model's results to the first model's."""
        by_scope = {}
        for scope, directions in self.card.directions.items():
            objectives = [Objective(metric=m, task=scope, direction=way) for m, way in directions.items()]
            values = [of_objectives(results, objectives, "all") for results in (mine, first)]
            counts = {o.name: model.metrics[scope][o.metric].n for o in objectives if o.metric in model.metrics[scope]}
            by_name = differences(values[0], values[1], objectives, self.card.level, counts)
            by_scope[scope] = {o.metric: by_name[o.name] for o in objectives if o.name in by_name}
        return by_scope
