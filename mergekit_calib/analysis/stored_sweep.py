"""A sweep read from its output folder with its item scores, so that it can be asked again without scoring anything."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib import plugins
from mergekit_calib.analysis.scoped_statistics import SPLITS
from mergekit_calib.analysis.sweep_analysis import SEED_OF_RESAMPLES, SweepAnalysis
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import Metric, with_references
from mergekit_calib.items.store import ItemStore, Tables
from mergekit_calib.items.table import Split
from mergekit_calib.results.findings import MACRO, SUITE
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.result_reader import load_sweep

_AGAIN = "run the sweep's command again, which writes it anew"


@dataclass(frozen=True)
class StoredSweep:
    """The result of a sweep and the item scores that it was computed from.

    Attributes:
        folder: the sweep's output folder.
        frontier: its result. Methods of this class do not change it.
        record: the contents of `calibration/sweep.yml`: the sweep with everything that was resolved.
    """

    folder: Path
    frontier: Frontier
    record: dict[str, Any]
    _tables: dict[str, Tables] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path) -> StoredSweep:
        """Read a sweep from its output folder; item scores are read when they are asked for.

        Raises:
            CalibError: the folder holds no sweep, or no record of it, or they cannot be read.
        """
        return cls(Path(folder), load_sweep(folder), read_record(folder))

    @property
    def keys(self) -> dict[str, str]:
        """Point id → content key, with which the name of the file of its item scores ends."""
        return {str(point): str(key) for point, key in self.record["points"].items()}

    def tables(self, point: str) -> Tables:
        """Return the item scores of a point: suite entry → the tables of its tasks.

        Args:
            point: the point's id.

        Raises:
            CalibError: the point was not scored to the end, or its item scores are missing or damaged.
        """
        if point not in self._tables:
            key = self.keys.get(point)
            stored = self._store.load(key) if key is not None else None
            if stored is None:
                raise CalibError(
                    f"{self.folder}: no item scores of point {point!r} in calibration/items that can be read; "
                    "the sweep's command scores it again"
                )
            self._tables[point] = stored.tables
        return self._tables[point]

    def analysis(self, metrics: Iterable[Metric] | None = None) -> SweepAnalysis:
        """Return the sweep's statistics with all its points, chosen from and resampled as the sweep did.

        Args:
            metrics: the metrics of items with choices; all that are registered if None.

        Raises:
            CalibError: as `tables`.
        """
        frontier = self.frontier.model_copy(deep=True)
        analysis = self._without_points(metrics)
        first_with: dict[str | None, PointResult] = {}
        for point in frontier.complete_points:
            twin = first_with.setdefault(point.digest, point)
            if twin is point:
                analysis.add(point, self.tables(point.id))
            else:
                analysis.copy_results(point, twin)
        return analysis

    def with_metrics(
        self,
        names: Iterable[str],
        *,
        scopes: Collection[str] = (SUITE,),
        splits: Sequence[Split] = SPLITS,
        frontier: Frontier | None = None,
    ) -> Frontier:
        """Return the result with estimates of more metrics, computed from the item scores for every complete point.

        Args:
            names: the metrics' registered names, or `kl_to_aligned` for one that compares with a parent.
            scopes: a metric that every complete point has in each of these, and in each of `splits`, is not computed
                again. Another is computed for all suite entries and for all items pooled, and for the macro average if
                that is among `scopes`. Numbers that a point has stay.
            splits: the splits to compute the metrics on.
            frontier: the result to add to, if it is another than this sweep's own.

        Raises:
            CalibError: a metric is not registered and no point has it, or item scores are missing.
        """
        frontier = (frontier or self.frontier).model_copy(deep=True)
        pairs = [(name, role) for name in plugins.metrics() for role in frontier.models]
        known = {metric.name: metric for metric in with_references(plugins.metrics().values(), pairs)}
        present = {m for p in frontier.complete_points for scope in p.metrics.values() for m in scope}
        wanted: dict[str, Metric] = {}
        for name in dict.fromkeys(names):
            # `ece,filter` is `ece` of the answers that a filter extracts.
            metric = known.get(name) or known.get(name.partition(",")[0])
            if metric is None and name not in present:
                others = ", ".join(sorted(present | known.keys()))
                raise CalibError(f"this sweep has no metric {name!r}; there are {others}")
            has_all = all(
                split in p.metrics.get(scope, {}).get(name, {})
                for p in frontier.complete_points
                for scope in scopes
                for split in splits
            )
            if metric is not None and not has_all:
                wanted[name] = metric
        if wanted:
            self._add_metrics(frontier, wanted, splits, MACRO in scopes)
        return frontier

    def _add_metrics(
        self, frontier: Frontier, wanted: Mapping[str, Metric], splits: Sequence[Split], macro: bool
    ) -> None:
        """Add estimates of metrics to the complete points, in every scope; numbers that a point has stay."""
        compared_with = {metric.to for metric in wanted.values() if metric.to is not None}
        analysis = self._without_points({m.name: m for m in wanted.values()}.values(), compared_with)
        first_with: dict[str, PointResult] = {}
        for point in frontier.complete_points:
            twin = first_with.setdefault(point.digest or point.id, point)
            if twin is not point:
                point.metrics = twin.metrics
                continue
            for scope, metrics in analysis.estimates_of(self.tables(point.id), wanted, splits, macro).items():
                own = point.metrics.setdefault(scope, {})
                for name, estimates in metrics.items():
                    own[name] = {**estimates, **own.get(name, {})}

    def _without_points(self, metrics: Iterable[Metric] | None, compared_with: Collection[str] = ()) -> SweepAnalysis:
        frontier = self.frontier
        roles = {o.to for o in frontier.objectives if o.to is not None} | set(compared_with)
        parents = {role: frontier.parent(role) for role in roles}
        return SweepAnalysis(
            objectives=frontier.objectives,
            of_choices=list(plugins.metrics().values() if metrics is None else metrics),
            level=frontier.level,
            n_resamples=frontier.n_resamples,
            n_bins=frontier.n_bins,
            seed=SEED_OF_RESAMPLES,
            references={role: self.tables(parent.id) for role, parent in parents.items() if parent is not None},
            choose_on=frontier.selection.split if frontier.selection else "selection",
        )

    @functools.cached_property
    def _store(self) -> ItemStore:
        store = ItemStore(self.folder / "calibration" / "items")
        store.entries = {task: entry.name for entry in self.frontier.suite for task in entry.tasks}
        return store


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return the contents of a sweep's `calibration/sweep.yml`; its `points` map a point's id to its content key.

    Raises:
        CalibError: it is missing or cannot be read.
    """
    file = Path(folder) / "calibration" / "sweep.yml"
    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError) as problem:
        raise CalibError(f"{file} is missing or cannot be read; {_AGAIN}") from problem
    if not isinstance(record, dict) or not isinstance(record.get("points"), Mapping):
        raise CalibError(f"{file} is missing or cannot be read; {_AGAIN}")
    return record
