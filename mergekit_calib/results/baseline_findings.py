"""Alternatives to merging in a sweep's result, which need no merge."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mergekit_calib.results.findings import Difference, WithMetrics


class Blend(BaseModel, frozen=True):
    """Two parents' log-probabilities blended, `(1 − λ) ll_base + λ ll_other`, at many λ: no merge, but both models run.

    Also a forecast of the merge, available as soon as the two parents are scored.

    Attributes:
        of: the ids of the two points, λ = 0 first.
        lambdas: (n,) ascending.
        values: objective name → split → (n,) values; None where one is not defined. Only objectives of the choices'
            probabilities.
    """

    of: tuple[str, str]
    lambdas: list[float]
    values: dict[str, dict[str, list[float | None]]]


class Baseline(WithMetrics):
    """An alternative to merging, computed from item scores alone. It is not a point and never on the frontier.

    Attributes:
        id: `aligned+T`, `lambda=0.6+T` (log-likelihoods divided by a temperature), `aligned+T*` (a temperature fitted
            without labels), `base&aligned` (the average of two models' probabilities), `base|aligned` (the blend of
            their log-probabilities).
        kind: temperature scaling, averaging, or blending.
        of: the ids of the points that it is computed from.
        temperatures: suite entry → the temperature fitted on its selection split; empty for averages and blends.
        uses_labels: whether the temperature was fitted to the labels; if not, to the items on which the parents agree.
        at: the λ of a blend, chosen by the sweep's rule on the selection split; None for the others.
        models_run: how many models run for each answer: 2 for an average or a blend of two.
        shown: whether it stands in short tables; with three or more parents, only the best of each kind does.
        metrics: as a point's, on the held-out split; only metrics of the choices' probabilities.
        differences: id of the chosen point, or of its own baseline → objective name → paired difference, the other
            minus this baseline: on the held-out split or, if the point was chosen on all items, cross-fitted over all
            items, as in `CrossFitted`.
    """

    id: str
    kind: Literal["temperature", "average", "blend"]
    of: list[str]
    temperatures: dict[str, float] = Field(default_factory=dict)
    uses_labels: bool = True
    at: float | None = None
    models_run: int = 1
    shown: bool = True
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
