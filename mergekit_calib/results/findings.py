"""The numbers and statements that a frontier is made of: estimates, differences, baselines, and the work of chance."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

SUITE = "suite"
MACRO = "macro"


class Estimate(BaseModel, frozen=True):
    """A number with its interval over resampled items; None where it is not defined (no items)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Difference(Estimate, frozen=True):
    """A paired difference, this point minus a parent, on the held-out split.

    `p` is one-sided: the chance of so large a gain (in the objective's direction) if there were none.
    """

    p: float | None = None


class Objective(BaseModel, frozen=True):
    """A metric of one task, or of the whole suite (`task` None), and its direction.

    Attributes:
        average: of the whole suite: of all items pooled, or the average of the tasks' values.
        weights: task → its weight in a `macro` average; alike where empty.
    """

    metric: str
    task: str | None = None
    direction: Literal["maximize", "minimize"]
    average: Literal["pooled", "macro"] = "pooled"
    weights: dict[str, float] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.metric if self.scope == SUITE else f"{self.scope}/{self.metric}"

    @property
    def scope(self) -> str:
        """The key of this objective's metrics in `PointResult.metrics`."""
        return self.task or (MACRO if self.average == "macro" else SUITE)


class Measured(BaseModel):
    """What has metrics."""

    metrics: dict[str, dict[str, dict[str, Estimate]]] = Field(default_factory=dict)

    def estimate(self, objective: Objective, split: str = "held_out") -> Estimate:
        """The estimate of `objective` on `split`; an empty estimate where there is none."""
        found = self.metrics.get(objective.scope, {}).get(objective.metric, {}).get(split)
        return found or Estimate(value=None)


class Selection(BaseModel, frozen=True):
    """Which point was chosen, by which rule, and why, in one sentence."""

    rule: str
    point: str
    reason: str


class Baseline(Measured):
    """What can be had without a new merge, computed from item scores alone; no point, and never on the frontier.

    Attributes:
        id: `aligned+T`, `lambda=0.6+T` (its log-likelihoods divided by a temperature), `base&aligned` (the average of
            two models' probabilities).
        of: the ids of the points that it is made from.
        temperatures: suite entry → the T that was fitted on its selection split, by likelihood; none for an average.
        models_run: how many models each answer takes: 2 for an average of two.
        metrics: as a point's, on the held-out split; those that the probabilities of choices give.
        differences: what is compared with it (a point's id, or another baseline's) → objective name → paired
            difference, that minus this baseline, on the held-out split.
    """

    id: str
    kind: Literal["temperature", "average"]
    of: list[str]
    temperatures: dict[str, float] = Field(default_factory=dict)
    models_run: int = 1
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)


class BothSplits(BaseModel, frozen=True):
    """What each split of the items would choose by the sweep's rule, and what it scores on the other.

    Attributes:
        choices: split chosen on (`selection`, `report`) → the choice.
        elsewhere: split chosen on → objective name → the choice's estimate on the other split, where it was not chosen.
        differences: split measured on → objective name → paired difference, the selection split's choice minus the
            held-out split's; empty where both choose the same point.
        chosen_in: point id → the share of resamples of the selection split in which it is the choice; those above 0.
        apart: objective name → how much more it changes from base to aligned on the selection split than on the report
            split, with intervals that hold for all objectives together. Where suite entries name their splits: those
            by hash are alike.
    """

    choices: dict[str, Selection]
    elsewhere: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    chosen_in: dict[str, float] = Field(default_factory=dict)
    apart: dict[str, Difference] = Field(default_factory=dict)

    @property
    def agree(self) -> bool:
        """Whether both splits choose the same point."""
        return len({choice.point for choice in self.choices.values()}) == 1


class Attainment(BaseModel, frozen=True):
    """What a share of resamples' frontiers attains: the corners of its boundary, objectives in their order."""

    share: float
    points: list[list[float]]


class FrontierChance(BaseModel, frozen=True):
    """What chance makes of the frontier, on the held-out split.

    Attributes:
        reference: objective name → what the hypervolume is measured from: the worse parent's value.
        hypervolume: of the frontier, in the product of the objectives' units.
        of_parents: of the two parents alone, from the same reference.
        attainment: quantiles of the frontier over resamples; of 2 objectives only.
    """

    reference: dict[str, float]
    hypervolume: Estimate
    of_parents: Estimate
    attainment: list[Attainment] = Field(default_factory=list)


class Trend(BaseModel, frozen=True):
    """How an objective goes along λ from 1 on, on the held-out split.

    Attributes:
        lambdas: (n,) the settings, ascending.
        tau: Kendall's τ-b with λ; its n is that of the settings.
        fitted: (n,) the nearest monotone sequence (isotonic regression), rising where τ ≥ 0.
        p_monotone: of the null that the objective is monotone there: small where it is not.
    """

    objective: str
    lambdas: list[float]
    tau: Estimate
    fitted: list[float]
    p_monotone: float


class Optimum(BaseModel, frozen=True):
    """The value of an axis at which an objective is best, with its interval over resamples; on the held-out split."""

    objective: str
    axis: str
    at: float
    low: float
    high: float
