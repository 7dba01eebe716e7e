"""The uncertainty of the frontier on the held-out split, over the resamples that all points share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mergekit_calib import metrics, pareto
from mergekit_calib.analysis import paired
from mergekit_calib.analysis.estimation import Results, estimate
from mergekit_calib.results.findings import Attainment, Estimate, FrontierUncertainty, Objective


def frontier_probabilities(points: Sequence[Results], objectives: Sequence[Objective]) -> list[float]:
    """Return the share of resamples in which each point is on the frontier: (n_points,)."""
    drawn = paired.comparable_replicates(points, objectives)
    shares = pareto.frontier_probabilities(drawn, [o.direction for o in objectives])
    return [float(share) for share in shares]


def hypervolume_and_attainment(
    points: Mapping[str, Results], parents: Sequence[str], objectives: Sequence[Objective], level: float, n: int
) -> FrontierUncertainty | None:
    """Return the frontier's hypervolume and attainment surfaces; None unless both parents were scored.

    The reference point of the hypervolume is the worse parent's value in each objective. It does not depend on the
    other points, so sweeps of the same parents over different axes can be compared. If neither parent dominates the
    other, the parents alone have a hypervolume of 0, and all of it is gained by merging.

    Args:
        points: id → results of the objectives on the held-out split.
        parents: the ids of the parents among them.
        objectives: the objectives.
        level: the confidence level of intervals.
        n: the number of items.
    """
    if len(parents) < 2:
        return None
    directions = [o.direction for o in objectives]
    both = [points[parent] for parent in parents]
    worst = pareto.gains(paired.values(both, objectives), directions).min(axis=0)
    reference = pareto.gains(worst, directions)
    everything = list(points.values())
    tails = [round(share, 9) for share in ((1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0)]
    surfaces = pareto.attainment_surfaces(paired.comparable_replicates(everything, objectives), directions, tails)

    def hypervolume(some: Sequence[Results]) -> Estimate:
        value = pareto.hypervolume(paired.values(some, objectives), directions, reference)
        drawn = pareto.resampled_hypervolume(paired.comparable_replicates(some, objectives), directions, reference)
        low, high = metrics.centred_interval(drawn, value, level)
        return estimate(value, max(low, 0.0), max(high, 0.0), n)

    return FrontierUncertainty(
        reference={o.name: float(value) for o, value in zip(objectives, reference, strict=True)},
        hypervolume=hypervolume(everything),
        of_parents=hypervolume(both),
        attainment=[
            Attainment(share=s.share, points=[[float(f"{x:.6g}") for x in p] for p in s.points]) for s in surfaces
        ],
    )
