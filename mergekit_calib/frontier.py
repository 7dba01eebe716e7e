"""The result of a sweep: every point, its numbers, and what was chosen. The schema of `frontier.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, Field

SCHEMA_VERSION: Final = 1

Axis = int | float | str


class Estimate(BaseModel, frozen=True):
    """A number with its interval over resampled items; None where it is not defined (no items)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Difference(Estimate, frozen=True):
    """A paired difference, this point minus a parent, on the report half.

    `p` is one-sided: the chance of so large a gain (in the objective's direction) if there were none.
    """

    p: float | None = None


class Objective(BaseModel, frozen=True):
    """A metric of one task, or of all items of the suite pooled (`task` None), and its direction."""

    metric: str
    task: str | None = None
    direction: Literal["maximize", "minimize"]

    @property
    def name(self) -> str:
        return f"{self.task}/{self.metric}" if self.task else self.metric

    @property
    def scope(self) -> str:
        """The key of this objective's metrics in `PointResult.metrics`."""
        return self.task or SUITE


SUITE = "suite"


class Superiority(BaseModel, frozen=True):
    """The test that a point beats both parents on every objective, on the report half."""

    shown: bool
    p: float
    p_adjusted: float


class PointResult(BaseModel):
    """One point: one setting of all axes, so one plain recipe, so one model.

    Attributes:
        id: unique in the sweep and readable, as `lambda=0.6`; a parent that stands on no axis is `base`, `aligned`.
        role: whether this point is one of the parents.
        axes: the value of each axis; empty for a parent that stands on none.
        recipe: the plain mergekit YAML that rebuilds this model.
        status: `complete`, or with a `reason` `failed`, or `stopped` before its last item, as another dominates it.
        metrics: scope (a suite entry's name, or `suite` for all pooled) → metric → half → estimate.
        differences: parent → objective name → paired difference on the report half.
        on_frontier: half → whether no other point dominates this one there.
        same_as: the id of an earlier point whose weights came out identical; its scores are shared.
    """

    id: str
    role: Literal["base", "aligned"] | None = None
    axes: dict[str, Axis] = Field(default_factory=dict)
    recipe: str
    status: Literal["complete", "failed", "stopped"] = "complete"
    reason: str | None = None
    metrics: dict[str, dict[str, dict[str, Estimate]]] = Field(default_factory=dict)
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    on_frontier: dict[str, bool] = Field(default_factory=dict)
    superiority: Superiority | None = None
    selected: bool = False
    same_as: str | None = None
    digest: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)

    def estimate(self, objective: Objective, half: str = "report") -> Estimate:
        """The estimate of `objective` on `half`; an empty estimate where this point has none."""
        found = self.metrics.get(objective.scope, {}).get(objective.metric, {}).get(half)
        return found or Estimate(value=None)


class Selection(BaseModel, frozen=True):
    """Which point was chosen, by which rule, and why, in one sentence."""

    rule: str
    point: str
    reason: str


class SuiteEntrySummary(BaseModel, frozen=True):
    """One entry of the suite as it was run."""

    name: str
    tasks: list[str]
    n_items: int
    n_selection: int
    n_report: int
    num_fewshot: int | None = None
    limit: int | float | None = None


class Reliability(BaseModel, frozen=True):
    """A reliability diagram on the report half: equal-width bins of confidence."""

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
        reliability: point id → diagram of the suite's multiple-choice items pooled, on the report half.
        failed: how many points failed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    created: str
    finished: bool
    axes: dict[str, list[Axis]]
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
    versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def load(cls, path: str | Path) -> Frontier:
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

    def point(self, point_id: str) -> PointResult:
        return next(p for p in self.points if p.id == point_id)
