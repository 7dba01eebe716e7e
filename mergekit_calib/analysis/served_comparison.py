"""Compare models as they will be served with themselves as a sweep scored them, and with the parents as served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergekit_calib.analysis import paired
from mergekit_calib.analysis.sweep_analysis import SweepAnalysis
from mergekit_calib.items.store import Tables
from mergekit_calib.results.frontier import PointResult
from mergekit_calib.results.served_findings import ServedModel


def served_models(
    analysis: SweepAnalysis, points: Sequence[PointResult], served: Mapping[str, Tables], scored: Mapping[str, Tables]
) -> list[ServedModel]:
    """Return the models with their metrics and paired differences on the held-out split.

    Args:
        analysis: the sweep's statistics, whose resamples are used.
        points: the points that were scored as served, the parents first.
        served: point id → its item scores as served.
        scored: point id → its item scores in the sweep.

    Raises:
        CalibError: the items differ, or an objective is not defined.
    """
    # The sweep's own scores lay out the items, so that served ones must be of the same.
    own = {point.id: analysis.measure(scored[point.id])[1] for point in points}
    measured = {point.id: analysis.measure(served[point.id]) for point in points}
    models = []
    for point in points:
        metrics, results = measured[point.id]
        model = ServedModel(point=point.id, role=point.role, metrics=metrics)
        n = {o.name: model.estimate(o).n for o in analysis.objectives}
        model.against_scored = paired.differences(results, own[point.id], analysis.objectives, analysis.level, n)
        for parent in (p for p in points if p.role and p is not point):
            theirs = measured[parent.id][1]
            model.against_parents[str(parent.role)] = paired.differences(
                results, theirs, analysis.objectives, analysis.level, n
            )
        models.append(model)
    return models
