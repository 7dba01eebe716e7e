"""The result of a sweep: its points with their numbers, and the choice. The schema of `frontier.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, model_validator
from typing_extensions import Self

from mergekit_calib.results.answering_findings import Answering
from mergekit_calib.results.baseline_findings import Baseline, Blend
from mergekit_calib.results.checksum import with_checksum, without_checksum
from mergekit_calib.results.choice_findings import BothSplits, CrossFitted, RuleScore, Selection
from mergekit_calib.results.findings import (
    MACRO,
    SUITE,
    Attainment,
    Changes,
    Difference,
    Estimate,
    FrontierUncertainty,
    Objective,
    Optimum,
    Trend,
    WithMetrics,
)
from mergekit_calib.results.names import point_name
from mergekit_calib.results.prediction_findings import PredictedCurve
from mergekit_calib.results.served_findings import ServedCheck
from mergekit_calib.results.upgrade import upgrade_fields

__all__ = [
    "MACRO",
    "SUITE",
    "Attainment",
    "AxisValue",
    "Baseline",
    "Blend",
    "BothSplits",
    "Changes",
    "CrossFitted",
    "Difference",
    "Estimate",
    "Frontier",
    "FrontierUncertainty",
    "Objective",
    "Optimum",
    "PointResult",
    "Reliability",
    "RuleScore",
    "Selection",
    "SuiteEntrySummary",
    "Superiority",
    "Trend",
    "WithMetrics",
]

SCHEMA_VERSION: Final = 3

AxisValue = int | float | str


class Superiority(BaseModel, frozen=True):
    """The test that a point beats every parent on every objective, on the held-out split.

    Attributes:
        shown: whether it does, at the sweep's level.
        p: the point's own p-value.
        p_adjusted: the p-value adjusted for testing every point.
    """

    shown: bool
    p: float
    p_adjusted: float


class PointResult(WithMetrics):
    """One point: one setting of all axes, and so one plain recipe and one model.

    Attributes:
        id: unique in the sweep, as `lambda=0.6`; its role for a parent that is not on the axes.
        role: which parent this point is, if it is one: a key of `Frontier.models`.
        axes: axis → its value; empty for a parent that is not on the axes.
        recipe: the plain mergekit YAML that rebuilds this model.
        status: `complete`; `failed`; or `stopped` before its last item, because another point dominates it.
        reason: why it failed or was stopped.
        metrics: scope (a suite entry's name, `suite` for all items pooled, `macro` for the average of the entries) →
            metric → split → estimate.
        differences: role of a parent → objective name → paired difference on the held-out split, of a parent too. Once
            all points are scored, every other metric too, named as an objective would be, without p-values.
        changes: role of a parent → how the answers differ from that parent's; for a point without choices, empty.
        recovered: name of an objective or a pooled metric → the share of the difference between the parents that this
            point recovers on the held-out split: 0 is aligned's value, 1 is base's. Once all points are scored, in a
            sweep of the two parents `base` and `aligned`.
        on_frontier: split → whether, by the values alone, no other point is as good in every objective and better in
            one.
        dominated_by: split → the ids of the points that dominate this one on it, beyond chance (`pareto.dominates`).
        frontier_probability: the share of resamples of the held-out split in which it is on the frontier.
        superiority: the test that it beats every parent; None until all points are scored, and for parents.
        selected: whether this is the point that was chosen.
        same_as: the id of an earlier point with identical weights, whose scores this point shares.
        digest: a hash of its weights.
        seconds: stage (`merge`, `score`) → its duration.
        reused: whether an earlier run scored it; then `seconds` are that run's.
        asked: whether a person asked for it after the sweep, which had not scored it.
    """

    id: str
    role: str | None = None
    axes: dict[str, AxisValue] = Field(default_factory=dict)
    recipe: str
    status: Literal["complete", "failed", "stopped"] = "complete"
    reason: str | None = None
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    changes: dict[str, Changes] = Field(default_factory=dict)
    recovered: dict[str, Estimate] = Field(default_factory=dict)
    on_frontier: dict[str, bool] = Field(default_factory=dict)
    dominated_by: dict[str, list[str]] = Field(default_factory=dict)
    frontier_probability: float | None = None
    superiority: Superiority | None = None
    selected: bool = False
    same_as: str | None = None
    digest: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    reused: bool = False
    asked: bool = False

    @property
    def name(self) -> str:
        """Return the point's name as people read it, as `λ = 0.6`; its id is for files."""
        return point_name(self.id)


class SuiteEntrySummary(BaseModel, frozen=True):
    """One entry of the suite, as it was run.

    Attributes:
        name: the entry, as the recipe names it.
        tasks: the lm-eval tasks in it.
        n_items: how many items each point was scored on.
        n_selection, n_held_out: how many of them are in each split.
        num_fewshot, limit: lm-eval's options of these names.
    """

    name: str
    tasks: list[str]
    n_items: int
    n_selection: int
    n_held_out: int
    num_fewshot: int | None = None
    limit: int | float | None = None


class Reliability(BaseModel, frozen=True):
    """A reliability diagram on the held-out split.

    Attributes:
        edges: (n_bins + 1,) the edges of the bins of confidence, of equal width.
        counts: (n_bins,) how many items are in each bin.
        confidence: (n_bins,) their mean confidence; None for an empty bin.
        accuracy: (n_bins,) the share of them that was answered correctly; None for an empty bin.
    """

    edges: list[float]
    counts: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]


class Frontier(BaseModel):
    """The data of a sweep, finished or running: the contents of `frontier.json`.

    `mergekit_calib.SweepResult` has tables and pictures of it.

    Attributes:
        schema_version: the version of this schema; earlier versions are upgraded when they are read.
        name: the output folder's name.
        created: when the sweep was begun, ISO 8601 in UTC.
        finished: whether all points are scored and the chosen model is written.
        axes: axis → its values, in order; the two ends of a range.
        models: role of each parent → the model as the recipe names it, in order. With a base model and one other, the
            roles are `base` and `aligned`. With several others they are `base` and the others' short names; without a
            base model, short names only.
        method: the merge methods that the points use.
        seed: the seed of randomised merge methods.
        suite: what the points were scored on.
        objectives: the metrics that are traded off.
        level: confidence level of every interval; 1 − level is the level of the superiority test.
        n_resamples: bootstrap resamples of the items.
        n_bins: bins of `ece`.
        points: every point, in the order in which they were scored; the parents first.
        selection: the choice; None until all points are scored.
        reliability: point id → diagram of the suite's multiple-choice items pooled, on the held-out split.
        baselines: alternatives to merging; empty for a suite without multiple-choice items.
        blends: the curves of blended log-probabilities, of base with each other parent; as soon as both are scored.
        splits: the choices on both splits; None until all points are scored.
        cross_fitted: the rule's choices as items that they were not chosen on measure them; None unless the point was
            chosen on all items.
        rule_scores: what the rules see beside the objectives: metric → values on the items that the point is chosen on.
        detectable: objective name → the smallest true difference between two points that the items which gains are
            quoted from (the held-out split, or all if they are cross-fitted) would show with 80 % probability, at the
            sweep's level; None where it is not known.
        uncertainty: how uncertain the frontier is; None until all points are scored.
        trends: trends along λ, if it is the only axis and has at least 3 points from λ = 1 upwards.
        optima: the best λ for each objective, if λ is the only axis.
        predicted: metrics between the scored points, as the strategy `curve` predicts them; None for other strategies.
        answering: from which confidence the chosen point and the parents can answer; None until all points are scored,
            for a suite without multiple-choice items, and in results of earlier versions.
        served: the written model and its parents as they will be served, once that was checked.
        versions: package → the version that the run used.
        notes: sentences on what the reader should know about the run.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    name: str
    created: str
    finished: bool
    axes: dict[str, list[AxisValue]]
    models: dict[str, str]
    method: str
    seed: int
    suite: list[SuiteEntrySummary]
    objectives: list[Objective]
    level: float
    n_resamples: int
    n_bins: int
    points: list[PointResult]
    selection: Selection | None = None
    reliability: dict[str, Reliability] = Field(default_factory=dict)
    baselines: list[Baseline] = Field(default_factory=list)
    blends: list[Blend] = Field(default_factory=list)
    splits: BothSplits | None = None
    cross_fitted: CrossFitted | None = None
    rule_scores: dict[str, RuleScore] = Field(default_factory=dict)
    detectable: dict[str, float | None] = Field(default_factory=dict)
    uncertainty: FrontierUncertainty | None = None
    trends: list[Trend] = Field(default_factory=list)
    optima: list[Optimum] = Field(default_factory=list)
    predicted: PredictedCurve | None = None
    answering: Answering | None = None
    served: list[ServedCheck] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, data: Any) -> Any:
        return upgrade_fields(without_checksum(data), SCHEMA_VERSION) if isinstance(data, dict) else data

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a sweep from its output folder or its `frontier.json`, of this schema version or an earlier one.

        Args:
            path: the folder or the file.

        Raises:
            OSError: there is no such file.
            pydantic.ValidationError: the file does not follow the schema, or was damaged since it was written.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "calibration" / "frontier.json"
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def to_json(self) -> str:
        """Return the text of `frontier.json`: these fields and a checksum of them, which `load` compares."""
        return with_checksum(self.model_dump_json(indent=1))

    @property
    def complete_points(self) -> list[PointResult]:
        """The points that were scored on every item."""
        return [p for p in self.points if p.status == "complete"]

    @property
    def selected(self) -> PointResult | None:
        """The point that was chosen; None if there is none yet."""
        return next((p for p in self.points if p.selected), None)

    @property
    def parents(self) -> list[PointResult]:
        """The parents that are among the points, in the order of `models`."""
        found = [self.parent(role) for role in self.models]
        return [point for point in found if point is not None]

    def parent(self, role: str) -> PointResult | None:
        """Return the parent of that role, or None if it is not among the points yet."""
        return next((p for p in self.points if p.role == role), None)

    def baseline(self, baseline_id: str) -> Baseline | None:
        """Return the baseline of that id, or None if there is none."""
        return next((b for b in self.baselines if b.id == baseline_id), None)

    def point(self, point_id: str) -> PointResult:
        """Return the point of that id.

        Raises:
            KeyError: there is no such point.
        """
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(f"no point {point_id!r}; the points are {', '.join(p.id for p in self.points)}")
