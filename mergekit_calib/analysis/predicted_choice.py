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

_ON: Split = "selection"


@dataclass
class ItemScoreChooser:
    """The rule's choice on the selection split, from item scores alone.

    Attributes:
        estimator: computes the metrics; of the points that are scored, as the report does.
        chooser: the rule.
    """

    estimator: Estimator
    chooser: Chooser
    _results: dict[int, tuple[Tables, ResultsByScope]] = field(default_factory=dict)

    def choose(self, tables: Sequence[Tables], roles: Sequence[str | None]) -> int:
        """Return the index of the point that the rule chooses.

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
                self._results[id(scores)] = scores, self.estimator.bootstrap(scores, [_ON], self._is_wanted)
            kept[id(scores)] = self._results[id(scores)]
            of_point = kept[id(scores)][1]
            metrics = self.estimator.estimates(of_point, scores)
            points.append(PointResult(id=str(i), role=role, recipe="", metrics=metrics))
            results[str(i)] = self.chooser.results_of(of_point)
        self._results = kept
        return int(self.chooser.choose(points, results, _ON).point)

    def _is_wanted(self, table: ItemTable, metric: Metric) -> bool:
        return metric.name in {*RULE_SCORES, *(o.key for o in self.chooser.objectives)}
