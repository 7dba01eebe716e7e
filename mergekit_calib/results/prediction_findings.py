"""Findings about the points of an axis that were predicted and not scored."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mergekit_calib.results.findings import SUITE, Objective


class PredictionCheck(BaseModel, frozen=True):
    """One scored point, beside its prediction from points that were scored before it.

    Attributes:
        point: its id.
        n_nodes: how many points it was predicted from.
        predicted: name of a metric, as an objective is named → the predicted value on the held-out split.
        errors: the same names → predicted minus scored value there, in bootstrap standard errors of the scored value.
    """

    point: str
    n_nodes: int
    predicted: dict[str, float]
    errors: dict[str, float]


class PredictedCurve(BaseModel, frozen=True):
    """Metrics along an axis as predicted from a few scored points. They are no measurements.

    Attributes:
        axis: the axis's name.
        values: (n,) values of the axis, ascending; those of the scored points are among them.
        nodes: the ids of the points that each was predicted from those before it, in that order. All other scored
            points were predicted from these.
        known: whether the predictions agreed with the points that were scored after them; if not, the curve is empty.
        went_on: whether they did not with all nodes scored, so that the search went on as another strategy.
        metrics: scope → metric → split → (n,) values, predicted from every scored point; None for one that is not a
            number. A metric whose predictions did not agree with the scored points is left out.
        typical_errors: name of a metric, as an objective is named → the root mean square of its errors at the scored
            points that are no nodes or were the last nodes, in standard errors.
        checks: each scored point that was predicted before, in the order of the points.
    """

    axis: str
    values: list[float]
    nodes: list[str]
    known: bool
    went_on: bool = False
    metrics: dict[str, dict[str, dict[str, list[float | None]]]] = Field(default_factory=dict)
    typical_errors: dict[str, float] = Field(default_factory=dict)
    checks: list[PredictionCheck] = Field(default_factory=list)

    def typical_error(self, scope: str, metric: str) -> float | None:
        """Return the typical error of a scope's metric; None if it is not known."""
        return self.typical_errors.get(metric if scope == SUITE else f"{scope}/{metric}")

    def along(self, objective: Objective, split: str = "held_out") -> list[float | None] | None:
        """Return the (n,) predicted values of a metric, None for one that is not a number; None if it has no line."""
        return self.metrics.get(objective.scope, {}).get(objective.key, {}).get(split)
