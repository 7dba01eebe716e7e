"""The choice of the sweep's rule among points of which only item scores are there, measured or predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mergekit_calib.analysis.choices import RULE_SCORES, Chooser
from mergekit_calib.analysis.estimation import Estimator, ResultsByScope
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.results.frontier import PointResult


@dataclass
class ItemScoreChooser:
    """The choices of a sweep's rule, from item scores alone.

    Attributes:
        estimator: computes the metrics.
        chooser: the rule.
        splits: the items to choose on, each by itself.
    """

    estimator: Estimator
    chooser: Chooser
    splits: Sequence[Split]
    _results: dict[int, tuple[Tables, ResultsByScope]] = field(default_factory=dict)

    def choose(self, tables: Sequence[Tables], roles: Sequence[str | None]) -> list[int]:
        """Return the index of the point that the rule chooses on each of `splits`.

        Args:
            tables: (n_points,) the item scores of the points.
            roles: (n_points,) which parent each point is, if it is one.

        Raises:
            CalibError: the points have different items, or an objective cannot be computed.
        """
        kept = {}
        points, results = [], {}
        for i, (scores, role) in enumerate(zip(tables, roles, strict=True)):
            if id(scores) not in self._results:  # kept with its tables, so that no others get the same id
                self._results[id(scores)] = scores, self.estimator.bootstrap(scores, self.splits, self._is_wanted)
            kept[id(scores)] = self._results[id(scores)]
            of_point = kept[id(scores)][1]
            metrics = self.estimator.estimates(of_point, scores)
            points.append(PointResult(id=str(i), role=role, recipe="", metrics=metrics))
            results[str(i)] = self.chooser.results_of(of_point)
        self._results = kept
        return [int(self.chooser.choose(points, results, split).point) for split in self.splits]

    def _is_wanted(self, table: ItemTable, metric: Metric) -> bool:
        return metric.name in {*RULE_SCORES, *(o.key for o in self.chooser.objectives)}
