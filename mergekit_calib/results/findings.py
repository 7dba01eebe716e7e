"""The parts of a sweep's result: estimates, differences, baselines, uncertainty of the frontier, trends."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mergekit_calib.results.names import metric_key

SUITE = "suite"
MACRO = "macro"


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
        average: for the whole suite: the metric of all items `pooled`, or the average of the tasks' values (`macro`).
        weights: suite entry → its weight in a `macro` average; empty for equal weights.
        to: the role of the parent that the metric compares with (`kl` to `aligned`); None for most metrics.
    """

    metric: str
    task: str | None = None
    direction: Literal["maximize", "minimize"]
    average: Literal["pooled", "macro"] = "pooled"
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
        return self.task or (MACRO if self.average == "macro" else SUITE)


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


class Selection(BaseModel, frozen=True):
    """A choice of a point.

    Attributes:
        rule: the name of the selection rule that the recipe asks for.
        point: the id of the point.
        reason: one sentence that says why it was chosen.
        gave_way: why the rule that the recipe asks for chose no point; the default rule then chose, and `reason` is
            that rule's. None if the rule chose.
        split: the items that it was chosen on.
    """

    rule: str
    point: str
    reason: str
    gave_way: str | None = None
    split: Literal["all", "selection", "held_out"] = "selection"


class CrossFitted(BaseModel, frozen=True):
    """The rule's choices, measured on items that they were not chosen on: each split's choice on the other split.

    It estimates how good the rule's choice is on new items, from all items. If both splits choose the same point, these
    are that point's numbers on all items.

    Attributes:
        choices: split (`selection`, `held_out`) → the id of the point that the rule chooses on it.
        estimates: objective name → estimate over all items, each answered by the choice of the other split.
        differences: role of a parent → objective name → paired difference, the choices minus that parent.
    """

    choices: dict[str, str]
    estimates: dict[str, Estimate]
    differences: dict[str, dict[str, Difference]]


class RuleScore(BaseModel, frozen=True):
    """A metric that the rules `one_se` and `least` look at, on the items that the point is chosen on.

    Attributes:
        direction: whether more or less of it is better.
        values: id of each point that can be chosen → the metric; None if it is infinite or not defined.
        best: the id of the point with the best value.
        standard_errors: id → the standard error of the paired difference from `best`; None if it is not defined.
        proper: whether it is a proper score of what the objectives measure, which those rules look at by default.
    """

    direction: Literal["maximize", "minimize"]
    values: dict[str, float | None]
    best: str
    standard_errors: dict[str, float | None]
    proper: bool = False


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


class BothSplits(BaseModel, frozen=True):
    """The points that the sweep's rule chooses on each split of the items, and how each scores on the other split.

    Attributes:
        choices: split chosen on (`selection`, `held_out`) → the choice.
        on_other_split: split chosen on → objective name → the choice's estimate on the other split.
        differences: split measured on → objective name → paired difference, the selection split's choice minus the
            held-out split's; empty if both are the same point.
        choice_shares: point id → the share of resamples of the items that the point is chosen on in which it is the
            choice; without points that are never chosen.
        difference_in_differences: objective name → the change from base to aligned on the selection split minus that
            on the held-out split, with intervals that hold for all objectives together. Empty unless suite entries
            name their splits: splits by hash do not differ systematically.
    """

    choices: dict[str, Selection]
    on_other_split: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    choice_shares: dict[str, float] = Field(default_factory=dict)
    difference_in_differences: dict[str, Difference] = Field(default_factory=dict)

    @property
    def agree(self) -> bool:
        """Whether both splits choose the same point."""
        return len({choice.point for choice in self.choices.values()}) == 1


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
