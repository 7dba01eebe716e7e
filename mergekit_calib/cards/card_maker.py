"""Make cards from the item tables of models: intervals, and paired differences to the first model."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mergekit_calib import plugins
from mergekit_calib.analysis import reliability_diagram
from mergekit_calib.analysis.empty_texts import (
    cut_off_shares,
    empty_text_shares,
    notes_of_cut_off_answers,
    notes_of_empty_texts,
)
from mergekit_calib.analysis.estimation import Estimator, ResultsByScope
from mergekit_calib.analysis.paired import differences, of_objectives
from mergekit_calib.cards.calibration_card import ModelScores, Scores
from mergekit_calib.items.scopes import Scopes, describe_tables
from mergekit_calib.items.store import Tables
from mergekit_calib.report.text.safe_text import storable
from mergekit_calib.results.findings import SUITE, Difference, Objective
from mergekit_calib.versions import versions


@dataclass(frozen=True)
class _Scored:
    """The first model of a card: its tables, and their metrics on resamples."""

    tables: Tables
    estimator: Estimator
    results: ResultsByScope

    def has_items_of(self, tables: Tables, task: str) -> bool:
        """Return whether the first model was scored on the same items of a task."""
        mine = self.tables.get(task)
        return mine is not None and [t.doc_hashes for t in mine] == [t.doc_hashes for t in tables[task]]


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
        self._first: _Scored | None = None

    def add(self, name: str, tables: Tables, seconds: float | None = None) -> ModelScores:
        """Add a model to the card, and return its metrics and their differences to the first model's.

        Args:
            name: the model's name on the card.
            tables: task → its item tables.
            seconds: how long scoring took.

        Raises:
            CalibError: a metric cannot be computed from the scores.
        """
        first = self._first
        same = [] if first is None else [task for task in tables if first.has_items_of(tables, task)]
        all_same = first is not None and len(same) == len(tables) == len(first.tables)
        estimator = first.estimator if first and all_same else self._estimator()
        results = estimator.bootstrap(tables, splits=("all",))
        name = storable(name)
        model = ModelScores(name=name, seconds=seconds)
        for scope, splits in estimator.estimates(results, tables).items():
            model.metrics[scope] = {metric: estimates["all"] for metric, estimates in splits.items()}
            self._note_directions(scope, tables)
            of_scope = [t for entry, some in tables.items() for t in some if scope in (SUITE, entry)]
            if diagram := reliability_diagram(of_scope, self.card.n_bins, "all"):
                model.reliability[scope] = diagram
        if first is None:
            self._first = _Scored(tables, estimator, results)
        elif all_same:
            model.differences = self._differences(results, first.results, model, [*tables, SUITE])
        else:
            if same:
                alone = self._estimator()
                pair = [alone.bootstrap({task: of[task] for task in same}, ("all",)) for of in (first.tables, tables)]
                model.differences = self._differences(pair[1], pair[0], model, same)
            self.card.notes.append(_other_items(name, tables, self.card.models[0].name, first.tables, same))
        self.card.notes += notes_of_empty_texts({name: empty_text_shares(tables)})
        self.card.notes += notes_of_cut_off_answers({name: cut_off_shares(tables)})
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
        self, mine: ResultsByScope, first: ResultsByScope, model: ModelScores, scopes: Collection[str]
    ) -> dict[str, dict[str, Difference]]:
        """Return scope → metric → the paired difference of a model's results to the first model's, for some scopes."""
        by_scope = {}
        for scope, directions in self.card.directions.items():
            if scope not in scopes or scope not in model.metrics:
                continue
            objectives = [Objective(metric=m, task=scope, direction=way) for m, way in directions.items()]
            values = [of_objectives(results, objectives, "all") for results in (mine, first)]
            counts = {o.name: model.metrics[scope][o.metric].n for o in objectives if o.metric in model.metrics[scope]}
            by_name = differences(values[0], values[1], objectives, self.card.level, counts)
            by_scope[scope] = {o.metric: by_name[o.name] for o in objectives if o.name in by_name}
        return by_scope


def _other_items(name: str, tables: Tables, first_name: str, first: Tables, same: Collection[str]) -> str:
    """Return a note on the tasks in which a model cannot be compared with the first in pairs."""
    parts = []
    for task in dict.fromkeys([*first, *tables]):
        if task not in tables or task not in first:
            parts.append(f"{task} is of {name if task in tables else first_name} alone")
        elif task not in same:
            mine, theirs = ({h for t in some for h in t.doc_hashes} for some in (tables[task], first[task]))
            parts.append(f"of {task} they share {len(mine & theirs):,} of {len(mine):,} and {len(theirs):,} items")
    shown = "; ".join(parts[:5]) + (f"; and {len(parts) - 5} tasks more" if len(parts) > 5 else "")
    return f"{name} was scored on other items than {first_name}, so there are no paired differences there: {shown}."
