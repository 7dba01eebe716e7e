"""A comparison of sweeps: what each choice gains over each of its parents, and how much calibration it recovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mergekit_calib.analysis.between_sweeps import ScoredPoint, compared_points
from mergekit_calib.analysis.measures import with_measures
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import signed_difference
from mergekit_calib.results.findings import SUITE, Difference, Estimate, Objective
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.result_reader import load_sweep

_ACCURACY = ("acc", "acc_norm", "exact_match")
_DIVERSITY = (
    "distinct_k",
    "vendi_score",
    "expectation_adjusted_distinct",
    "distinct_2",
    "distinct_1",
    "self_bleu",
    "rouge_l",
    "compression_ratio",
    "answer_entropy",
    "distinct_k_ngrams",
)
_PAIR = ("base", "aligned")


@dataclass(frozen=True)
class Compared:
    """One sweep in a comparison, on its held-out split.

    Attributes:
        label: its name, or its folder if another sweep has the same name.
        frontier: its result.
        chosen: the point that it chose.
        accuracy: the objective or metric that is compared as accuracy.
        calibration: the objective or metric that is compared as calibration error.
        diversity: the first objective that measures diversity, if there is one.
        folder: its output folder.
        asked: the metrics that are asked for; none if accuracy and calibration are compared.
    """

    label: str
    frontier: Frontier
    chosen: PointResult
    accuracy: Objective
    calibration: Objective
    diversity: Objective | None
    folder: Path
    asked: tuple[Objective, ...] = ()

    @property
    def measures(self) -> tuple[Objective, ...]:
        """The metrics that are compared."""
        return self.asked or (self.accuracy, self.calibration)

    @property
    def parents(self) -> dict[str, PointResult]:
        """The parents that were scored, by role."""
        return {p.role: p for p in self.frontier.parents if p.role is not None and p.status == "complete"}

    def gain(self, objective: Objective, parent: str) -> Difference:
        """Return the choice minus a parent, with its paired interval if the run has one."""
        paired = self.chosen.differences.get(parent, {}).get(objective.name)
        if paired is not None and paired.value is not None:
            return paired
        other = self.parents.get(parent)
        mine, theirs = self.chosen.estimate(objective).value, other.estimate(objective).value if other else None
        return Difference(value=None if mine is None or theirs is None else mine - theirs)

    def recovered(self, objective: Objective, point: PointResult | None = None) -> Estimate | None:
        """Return the share of aligned's loss in `objective` that a point recovers: 0 is aligned's value, 1 is base's.

        It has an interval if the run has one: only if aligned is significantly worse than base.

        Args:
            objective: the objective or metric.
            point: the point; the choice, if None.

        Returns:
            None if aligned is no worse than base, and in a sweep of other parents.
        """
        point = point or self.chosen
        if tuple(self.frontier.models) != _PAIR:
            return None
        base, aligned = (self.parents.get(role) for role in _PAIR)
        values = [p.estimate(objective).value if p else None for p in (base, aligned, point)]
        if values[0] is None or values[1] is None or values[2] is None:
            return None
        sign = 1.0 if objective.direction == "maximize" else -1.0
        cost = sign * (values[0] - values[1])
        if cost <= 0:
            return None
        return point.recovered.get(objective.name) or Estimate(value=sign * (values[2] - values[1]) / cost)


def compared(paths: Sequence[str | Path], metrics: str = "") -> list[Compared]:
    """Read sweeps for a comparison.

    Args:
        paths: their output folders.
        metrics: names of metrics, separated by commas, to compare beside accuracy and calibration. What a sweep did not
            compute is computed from its item scores.

    Returns:
        The sweeps in the order of `paths`.

    Raises:
        CalibError: a folder holds no sweep, or one without a choice, without the scores of any parent, or without a
            measure of accuracy or calibration; or a metric is unknown.
    """
    frontiers = [load_sweep(path) for path in paths]
    asked: list[list[Objective]] = [[] for _ in paths]
    if metrics:
        for i, path in enumerate(paths):
            folder = Path(path) if Path(path).is_dir() else None
            frontiers[i], asked[i] = with_measures(frontiers[i], folder, metrics)
    names = [frontier.name for frontier in frontiers]
    labels = [n if names.count(n) == 1 else str(path) for n, path in zip(names, paths, strict=True)]
    each = zip(labels, frontiers, paths, asked, strict=True)
    return [_compared(label, frontier, path, measures) for label, frontier, path, measures in each]


def comparison_frame(sweeps: Sequence[Compared]) -> pd.DataFrame:
    """Return one row for each sweep: parents, method, choice, gains over each parent, and shares recovered.

    A column about a parent is named by its role, and is empty for the sweeps that have no parent of that role.

    Args:
        sweeps: the sweeps.
    """
    roles = list(dict.fromkeys(role for sweep in sweeps for role in sweep.frontier.models))
    rows = []
    for sweep in sweeps:
        row: dict[str, object] = {
            "sweep": sweep.label,
            **{f"parent.{role}": sweep.frontier.models.get(role) for role in roles},
            "method": sweep.frontier.method,
            "suite": ", ".join(entry.name for entry in sweep.frontier.suite),
            "chosen": sweep.chosen.id,
        }
        for title, objective in (("accuracy", sweep.accuracy), ("calibration", sweep.calibration)):
            row[title] = objective.name
            row[f"{title}.value"] = sweep.chosen.estimate(objective).value
            for parent in roles:
                gain = sweep.gain(objective, parent)
                for part in ("value", "low", "high"):
                    row[f"{title}.minus_{parent}.{part}"] = getattr(gain, part)
        for measure in sweep.asked:
            for part in ("value", "low", "high"):
                row[f"{measure.name}.{part}"] = getattr(sweep.chosen.estimate(measure), part)
                for parent in roles:
                    row[f"{measure.name}.minus_{parent}.{part}"] = getattr(sweep.gain(measure, parent), part)
        row["diversity"] = sweep.diversity.name if sweep.diversity else None
        for title, recovering in (("calibration", sweep.calibration), ("diversity", sweep.diversity)):
            share = sweep.recovered(recovering) if recovering else None
            for part in ("value", "low", "high"):
                row[f"{title}.recovered.{part}"] = getattr(share, part, None)
        row["level"] = sweep.frontier.level
        rows.append(row)
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def comparison_table(sweeps: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of the table that people read: one row for each parent of each sweep.

    The cells about the sweep as a whole stand in the first of its rows; in the others they are empty.
    """
    diverse = any(sweep.diversity for sweep in sweeps)
    recovered = any(tuple(sweep.frontier.models) == _PAIR for sweep in sweeps)
    titles = ["sweep", "method", "chosen", *(["ECE recovered"] if recovered else [])]
    titles += ["diversity recovered"] if diverse and recovered else []
    rows = []
    for sweep in sweeps:
        head = [sweep.label, sweep.frontier.method, formatting.name_with_role(sweep.chosen)]
        if recovered:
            head.append(_share(sweep.recovered(sweep.calibration)))
        if diverse and recovered:
            head.append(_share(sweep.recovered(sweep.diversity)) if sweep.diversity else formatting.UNDEFINED)
        for i, (role, model) in enumerate(sweep.frontier.models.items()):
            gains = [signed_difference(sweep.gain(o, role)) for o in sweep.measures]
            if sweep.chosen is sweep.parents.get(role):
                gains = ["chosen itself"] * len(gains)
            rows.append([*(head if i == 0 else [""] * len(head)), f"{role}: {model}", *gains])
    named = [f"{m.name} {formatting.arrow(m)}".rstrip() for m in sweeps[0].asked] if sweeps else []
    return [*titles, "against the parent", *(named or ["accuracy", "ECE"])], rows


def caption(sweeps: Sequence[Compared]) -> str:
    """Return how to read the table."""
    levels = {formatting.percent(sweep.frontier.level) for sweep in sweeps}
    compared_in = "Metrics" if any(sweep.asked for sweep in sweeps) else "Accuracy and ECE"
    measured = "; ".join(f"{sweep.label} on {_items(sweep)}" for sweep in sweeps)
    return (
        f"Measured on each sweep's held-out split: {measured}. {compared_in} are the choice's minus the parent's, "
        f"with paired {' or '.join(sorted(levels))} intervals in brackets. Recovered, between a base and an "
        "aligned model: how much of aligned's loss against base the choice recovers; 0 % is aligned's value, 100 % is "
        f"base's. It has no brackets if aligned is not significantly worse than base, and is {formatting.UNDEFINED} if "
        "aligned is no worse, or if the parents are others."
    )


def _items(sweep: Compared) -> str:
    """Return what a sweep was measured on, as `calib_demo, n = 2,499, ece in 15 bins`."""
    n = formatting.item_counts(sweep.frontier, sweep.accuracy)
    parts = [", ".join(entry.name for entry in sweep.frontier.suite), *([f"n = {n:,}"] if n else [])]
    if formatting.is_binned(sweep.calibration.metric):
        parts.append(f"{sweep.calibration.name} in {sweep.frontier.n_bins} bins")
    return ", ".join(parts)


def _compared(label: str, frontier: Frontier, path: str | Path, asked: Sequence[Objective]) -> Compared:
    chosen = frontier.selected
    if chosen is None:
        raise CalibError(f"{path}: no point is chosen yet; let the sweep finish first")
    if not any(p.status == "complete" for p in frontier.parents):
        raise CalibError(f"{path}: no parent was scored, so there is nothing to compare the choice with")
    accuracy = _measure(frontier, chosen, _ACCURACY, "maximize")
    calibration = _measure(frontier, chosen, ("ece",), "minimize")
    if accuracy is None or calibration is None:
        raise CalibError(
            f"{path}: there is no {'accuracy' if accuracy is None else 'ece'} to compare by; its objectives are "
            f"{formatting.listed([o.name for o in frontier.objectives])}"
        )
    diversity = next((o for o in frontier.objectives if o.metric in _DIVERSITY), None)
    _add_gains(Path(path), frontier, chosen, asked)
    return Compared(label, frontier, chosen, accuracy, calibration, diversity, Path(path), tuple(asked))


def _add_gains(folder: Path, frontier: Frontier, chosen: PointResult, asked: Sequence[Objective]) -> None:
    """Add the choice's paired differences to the parents in metrics that the sweep did not compare them in."""
    stored: StoredSweep | None = None
    for parent in frontier.parents:
        known = chosen.differences.setdefault(str(parent.role), {})
        new = [measure for measure in asked if measure.name not in known and measure.to is None]
        if not new or parent.status != "complete" or parent is chosen:
            continue
        try:
            stored = stored or StoredSweep.load(folder)
        except CalibError:
            return  # without item scores, gains in these metrics have no interval
        known |= compared_points(ScoredPoint(stored, chosen.id), ScoredPoint(stored, parent.id), new).differences


def _measure(
    frontier: Frontier, chosen: PointResult, metrics: Sequence[str], direction: Literal["maximize", "minimize"]
) -> Objective | None:
    """Return the first objective among `metrics`, or else the first of them that was measured on all items pooled."""
    pooled = [Objective(metric=m, direction=direction) for m in metrics if m in chosen.metrics.get(SUITE, {})]
    return next((o for o in [*frontier.objectives, *pooled] if o.metric in metrics), None)


def _share(share: Estimate | None) -> str:
    if share is None or share.value is None:
        return formatting.UNDEFINED
    percent = [None if x is None else 100 * x for x in (share.value, share.low, share.high)]
    return f"{formatting.with_interval(Estimate(value=percent[0], low=percent[1], high=percent[2]), 0)} %"
