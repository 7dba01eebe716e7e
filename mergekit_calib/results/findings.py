"""The parts of a sweep's result: estimates, differences, objectives, uncertainty of the frontier, trends."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mergekit_calib.results.names import metric_key

SUITE = "suite"
MACRO = "macro"
WORST = "worst"


class Estimate(BaseModel, frozen=True):
    """A number with its bootstrap interval over items.

    Attributes:
        value: None if it is not defined, for instance because there are no items.
        low, high: the ends of the interval; None if there is none.
        n: how many items it was computed from.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Difference(Estimate, frozen=True):
    """A paired difference, this point minus a parent, on the held-out split.

    Attributes:
        p: one-sided p-value of a gain in the objective's direction.
    """

    p: float | None = None


class Objective(BaseModel, frozen=True):
    """A metric that the search optimises, and its direction.

    Attributes:
        metric: the metric's name.
        task: the suite entry that it is computed on; None for the whole suite.
        direction: whether more or less of it is better.
        average: for the whole suite: the metric of all items `pooled`, the average of the entries' values
            (`macro`), or the worst value of a task (`worst`).
        weights: suite entry → its weight in a `macro` average; empty for equal weights.
        to: the role of the parent that the metric compares with (`kl` to `aligned`); None for most metrics.
    """

    metric: str
    task: str | None = None
    direction: Literal["maximize", "minimize"]
    average: Literal["pooled", "macro", "worst"] = "pooled"
    weights: dict[str, float] = Field(default_factory=dict)
    to: str | None = None

    @property
    def name(self) -> str:
        """The name in recipes, tables and files: `ece` for the whole suite, else `<scope>/ece`."""
        return self.key if self.scope == SUITE else f"{self.scope}/{self.key}"

    @property
    def key(self) -> str:
        """The metric's name in `PointResult.metrics`: `ece`, or `kl_to_aligned` with a reference."""
        return metric_key(self.metric, self.to)

    @property
    def scope(self) -> str:
        """The key of this objective's metrics in `PointResult.metrics`."""
        return self.task or {"macro": MACRO, "worst": WORST}.get(self.average, SUITE)


class Measure(Objective, frozen=True):
    """A metric that is shown, whether it is optimised or not.

    Attributes:
        has_direction: whether it is known which way is better; if not, `direction` says nothing.
    """

    has_direction: bool = True


class WithMetrics(BaseModel):
    """A base class for results that have metrics.

    Attributes:
        metrics: scope → metric → split → estimate.
    """

    metrics: dict[str, dict[str, dict[str, Estimate]]] = Field(default_factory=dict)

    def estimate(self, objective: Objective, split: str = "held_out") -> Estimate:
        """Return the estimate of `objective` on `split`, without a value if there is none."""
        estimate = self.metrics.get(objective.scope, {}).get(objective.key, {}).get(split)
        return estimate or Estimate(value=None)


class Changes(BaseModel, frozen=True):
    """What changes for users of a parent, on the held-out split's items with choices.

    Attributes:
        differ: the share of items with another answer.
        wrong_to_correct: the share of items that the parent answers wrongly and the point correctly.
        correct_to_wrong: the share of items that the parent answers correctly and the point wrongly.
        kl: the mean Kullback-Leibler divergence over the choices, in nats, KL(parent ‖ point).
    """

    differ: Estimate
    wrong_to_correct: Estimate
    correct_to_wrong: Estimate
    kl: Estimate


class Attainment(BaseModel, frozen=True):
    """An attainment surface: the boundary of the region that a share of the resampled frontiers attains.

    Attributes:
        share: the share of resamples, 0 to 1.
        points: the corners of the boundary, each with the objectives in their order.
    """

    share: float
    points: list[list[float]]


class FrontierUncertainty(BaseModel, frozen=True):
    """The uncertainty of the frontier over resampled items, on the held-out split.

    Attributes:
        reference: objective name → the reference point's value, from which the hypervolume is measured: the worst
            parent's.
        hypervolume: that of the frontier, in the product of the objectives' units.
        of_parents: that of the parents alone, from the same reference point.
        attainment: quantiles of the frontier over resamples; only for 2 objectives.
    """

    reference: dict[str, float]
    hypervolume: Estimate
    of_parents: Estimate
    attainment: list[Attainment] = Field(default_factory=list)


class Trend(BaseModel, frozen=True):
    """The trend of an objective along λ from 1 upwards, on the held-out split.

    Attributes:
        objective: the objective's name.
        lambdas: (n,) the values of λ, ascending.
        tau: Kendall's τ-b with λ; its `n` counts the values of λ.
        fitted: (n,) the nearest monotone sequence (isotonic regression), rising if τ ≥ 0.
        p_monotone: p-value of the null hypothesis that the objective is monotone there.
    """

    objective: str
    lambdas: list[float]
    tau: Estimate
    fitted: list[float]
    p_monotone: float


class Optimum(BaseModel, frozen=True):
    """The value of an axis at which an objective is best on the held-out split.

    Attributes:
        objective: the objective's name.
        axis: the axis's name.
        at: the value of the axis.
        low, high: its interval over resampled items.
    """

    objective: str
    axis: str
    at: float
    low: float
    high: float
