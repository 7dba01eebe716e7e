"""The result of a sweep: every point, its numbers, and what was chosen. The schema of `frontier.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, model_validator
from typing_extensions import Self

from mergekit_calib.results.findings import (
    MACRO,
    SUITE,
    Attainment,
    Baseline,
    BothSplits,
    Difference,
    Estimate,
    FrontierChance,
    Measured,
    Objective,
    Optimum,
    Selection,
    Trend,
)
from mergekit_calib.results.names import point_name
from mergekit_calib.results.upgrade import upgraded

__all__ = [
    "MACRO",
    "SUITE",
    "Attainment",
    "AxisValue",
    "Baseline",
    "BothSplits",
    "Difference",
    "Estimate",
    "Frontier",
    "FrontierChance",
    "Measured",
    "Objective",
    "Optimum",
    "PointResult",
    "Reliability",
    "Selection",
    "SuiteEntrySummary",
    "Superiority",
    "Trend",
]

SCHEMA_VERSION: Final = 3

AxisValue = int | float | str


class Superiority(BaseModel, frozen=True):
    """The test that a point beats both parents on every objective, on the held-out split."""

    shown: bool
    p: float
    p_adjusted: float


class PointResult(Measured):
    """One point: one setting of all axes, so one plain recipe, so one model.

    Attributes:
        id: unique in the sweep and readable, as `lambda=0.6`; a parent that stands on no axis is `base`, `aligned`.
        role: whether this point is one of the parents.
        axes: the value of each axis; empty for a parent that stands on none.
        recipe: the plain mergekit YAML that rebuilds this model.
        status: `complete`, or with a `reason` `failed`, or `stopped` before its last item, as another dominates it.
        metrics: scope (a suite entry's name, `suite` for all pooled, `macro` for their average) → metric → half →
            estimate.
        differences: parent → objective name → paired difference on the held-out split; once all points are scored, of
            every other metric too, named as an objective would be, without p.
        recovered: objective, or metric of all items pooled → the share of what lies between the parents that this point
            gives back on the held-out split, 0 as aligned, 1 as base; once all points are scored.
        on_frontier: split → whether no other point dominates this one there.
        frontier_probability: the share of resamples of the held-out split in which it is on the frontier.
        same_as: the id of an earlier point whose weights came out identical; its scores are shared.
    """

    id: str
    role: Literal["base", "aligned"] | None = None
    axes: dict[str, AxisValue] = Field(default_factory=dict)
    recipe: str
    status: Literal["complete", "failed", "stopped"] = "complete"
    reason: str | None = None
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    recovered: dict[str, Estimate] = Field(default_factory=dict)
    on_frontier: dict[str, bool] = Field(default_factory=dict)
    frontier_probability: float | None = None
    superiority: Superiority | None = None
    selected: bool = False
    same_as: str | None = None
    digest: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the point's name as people read it, as `λ = 0.6`; its id is for files."""
        return point_name(self.id)


class SuiteEntrySummary(BaseModel, frozen=True):
    """One entry of the suite as it was run."""

    name: str
    tasks: list[str]
    n_items: int
    n_selection: int
    n_held_out: int
    num_fewshot: int | None = None
    limit: int | float | None = None


class Reliability(BaseModel, frozen=True):
    """A reliability diagram on the held-out split: equal-width bins of confidence."""

    edges: list[float]
    counts: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]


class Frontier(BaseModel):
    """A finished (or running) sweep. `frontier.json` is this, as JSON.

    Attributes:
        name: what the run is called, the output folder's name.
        axes: axis → its values, in order.
        models: role → the model as the recipe names it (`base`, `aligned`, and any others by their own name).
        method: the merge method that the points use.
        level: confidence level of every interval; 1 − level is the level of the superiority test.
        n_bins: the bins of `ece`.
        versions: package → version that the run used.
        reliability: point id → diagram of the suite's multiple-choice items pooled, on the held-out split.
        baselines: what the frontier has to be better than; empty without items with choices.
        splits, chance: None until all points are scored.
        trends, optima: along `lambda`, where that is the only axis; trends of at least 3 points from λ = 1 on.
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
    splits: BothSplits | None = None
    chance: FrontierChance | None = None
    trends: list[Trend] = Field(default_factory=list)
    optima: list[Optimum] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, data: Any) -> Any:
        return upgraded(data, SCHEMA_VERSION) if isinstance(data, dict) else data

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run from its output folder, or from a `frontier.json` itself."""
        path = Path(path)
        if path.is_dir():
            path = path / "calibration" / "frontier.json"
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    @property
    def complete_points(self) -> list[PointResult]:
        return [p for p in self.points if p.status == "complete"]

    @property
    def selected(self) -> PointResult | None:
        return next((p for p in self.points if p.selected), None)

    def parent(self, role: Literal["base", "aligned"]) -> PointResult | None:
        return next((p for p in self.points if p.role == role), None)

    def baseline(self, baseline_id: str) -> Baseline | None:
        return next((b for b in self.baselines if b.id == baseline_id), None)

    def point(self, point_id: str) -> PointResult:
        return next(p for p in self.points if p.id == point_id)
