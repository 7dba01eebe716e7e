"""The `calibration:` block: the schema of the one piece of YAML that a sweep adds to a recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mergekit_calib.recipe.axes import Axis, read_axis

_SUITE_OPTIONS = (
    "num_fewshot",
    "limit",
    "apply_chat_template",
    "fewshot_as_multiturn",
    "system_instruction",
    "gen_kwargs",
    "repeats",
)


_FORMER_SPLITS = {"report": "held_out"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SuiteOptions(_Strict):
    """lm-eval's options of an evaluation; each means what lm-eval's option of that name means.

    Given at the block's level they hold for the whole suite; given with an entry, for that entry. `None` leaves the
    task's own setting.
    """

    num_fewshot: int | None = Field(default=None, ge=0)
    limit: int | float | None = Field(default=None, gt=0)
    apply_chat_template: bool | str | None = None
    fewshot_as_multiturn: bool | None = None
    system_instruction: str | None = None
    gen_kwargs: dict[str, Any] | None = None
    repeats: int | None = Field(default=None, ge=1)


class SuiteEntry(SuiteOptions):
    """One entry of the suite: an lm-eval task, group, tag or YAML path.

    Attributes:
        split: where all of its documents belong, in place of each by its hash: points are chosen on one benchmark or
            split, and reported on another.
    """

    task: str = Field(min_length=1)
    split: Literal["selection", "held_out"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_the_former_name(cls, given: Any) -> Any:
        """Read `half: selection | report`, as recipes before version 0.2 name the split."""
        if not isinstance(given, dict) or "half" not in given or "split" in given:
            return given
        former = given["half"]
        return {**{k: v for k, v in given.items() if k != "half"}, "split": _FORMER_SPLITS.get(former, former)}

    @property
    def name(self) -> str:
        return self.task


class ObjectiveSpec(_Strict):
    """A metric of one suite entry, or of the whole suite where `task` is not given.

    Attributes:
        average: of the whole suite: `pooled` takes the metric of all items together, `macro` averages the entries'.
        weights: entry → its weight in the macro average; alike where not given.
    """

    metric: str = Field(min_length=1)
    task: str | None = None
    average: Literal["pooled", "macro"] | None = None
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None

    @property
    def name(self) -> str:
        """As `select` and the report name the objective."""
        scope = self.task or ("macro" if self.average == "macro" else None)
        return f"{scope}/{self.metric}" if scope else self.metric

    @model_validator(mode="after")
    def _average_is_of_the_suite(self) -> ObjectiveSpec:
        if self.task is not None and self.average is not None:
            raise ValueError(f"{self.metric}: an average is over the suite's tasks; give `task` or `average`, not both")
        if self.weights is not None and self.average != "macro":
            raise ValueError(f"{self.metric}: weights are of a macro average; add `average: macro`")
        if self.weights is not None and not any(self.weights.values()):
            raise ValueError(f"{self.metric}: every weight is 0; at least one must be above")
        return self


class Parents(_Strict):
    """Which two models of a recipe with more than two are the parents."""

    base: str
    aligned: str


class Seeds(_Strict):
    """lm-eval's seeds, with its defaults."""

    random: int = 0
    numpy: int = 1234
    torch: int = 1234
    fewshot: int = 1234


class Racing(_Strict):
    """Stop a point early that another one dominates beyond doubt.

    Attributes:
        blocks: in how many random blocks the selection split is scored; after each the point may stop.
        error: at most this is the chance that the whole race stops any point that no other dominates.
    """

    blocks: int = Field(default=8, ge=2)
    error: float = Field(default=0.05, gt=0, lt=0.5)


class SearchSettings(BaseModel):
    """Which points are scored, and when that is enough; other keys are the strategy's own options.

    Attributes:
        points: how many points there shall be, parents aside.
        item_evaluations: how many documents may be scored, over all points, parents included.
        minutes: how long points may be begun, counted from the start of each command.
        racing: whether points stop early, and how.
        seed: of the strategy's random numbers.
        storage: URL of the database that the study is kept in; None for a file in the run's folder. Never written
            anywhere, for it may hold a password.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    strategy: str = Field(default="grid", min_length=1)
    points: int | None = Field(default=None, ge=1)
    item_evaluations: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    racing: Racing | None = None
    seed: int = Field(default=0, ge=0)
    storage: str | None = Field(default=None, min_length=1, exclude=True, repr=False)

    @field_validator("racing", mode="before")
    @classmethod
    def _racing_by_default(cls, racing: Any) -> Any:
        return Racing() if racing is True else None if racing is False else racing

    @property
    def options(self) -> dict[str, Any]:
        """The strategy's own."""
        return dict(self.model_extra or {})

    @property
    def has_budget(self) -> bool:
        return any(x is not None for x in (self.points, self.item_evaluations, self.minutes))


class CalibrationBlock(SuiteOptions):
    """The `calibration:` block.

    Attributes:
        axes: what is varied.
        search: which points are scored; every combination of the axes' values where it is not given.
        suite: what scores a point, the block's own options already filled in.
        objectives: what is traded off; the first is the vertical axis of the pictures.
        select: `rule` and the rule's own options.
        seed: seed of randomised merge methods, unless mergekit's `--random-seed` is given.
        model_args, batch_size: as lm-eval's `hf` model takes them.
        level: confidence level of the intervals.
        n_resamples: bootstrap resamples of the items.
        n_bins: bins of `ece`.
    """

    axes: dict[str, Axis] = Field(min_length=1)
    search: SearchSettings = SearchSettings()
    suite: list[SuiteEntry] = Field(min_length=1)
    objectives: list[ObjectiveSpec] = Field(
        default=[ObjectiveSpec(metric="acc"), ObjectiveSpec(metric="ece")], min_length=1
    )
    select: dict[str, Any] = Field(default={"rule": "knee"})
    parents: Parents | None = None
    seed: int = Field(default=0, ge=0)
    seeds: Seeds = Seeds()
    model_args: dict[str, Any] = Field(default_factory=dict)
    batch_size: int | str = 8
    level: float = Field(default=0.95, gt=0.5, lt=1)
    n_resamples: int = Field(default=1000, ge=100)
    n_bins: int = Field(default=15, ge=2)

    @field_validator("axes", mode="before")
    @classmethod
    def _axis_values(cls, axes: Any) -> Any:
        if not isinstance(axes, dict):
            raise ValueError("expected a mapping of axis names to their values")
        return {name: read_axis(name, values) for name, values in axes.items()}

    @field_validator("search", mode="before")
    @classmethod
    def _strategy_by_name(cls, search: Any) -> Any:
        return {"strategy": search} if isinstance(search, str) else search

    @field_validator("batch_size")
    @classmethod
    def _batch_size(cls, size: int | str) -> int | str:
        if isinstance(size, str) and not re.fullmatch(r"auto(:\d+)?", size):
            raise ValueError("expected a number of inputs, `auto` or `auto:N`")
        if isinstance(size, int) and size < 1:
            raise ValueError("expected at least 1")
        return size

    @field_validator("objectives", mode="before")
    @classmethod
    def _objective_names(cls, objectives: Any) -> Any:
        if isinstance(objectives, list):
            return [{"metric": o} if isinstance(o, str) else o for o in objectives]
        return objectives

    @model_validator(mode="before")
    @classmethod
    def _suite_options(cls, data: Any) -> Any:
        """Entries given by name alone, and the block's options in every entry that does not set its own."""
        if not isinstance(data, dict) or not isinstance(data.get("suite"), list):
            return data
        common = {key: data[key] for key in _SUITE_OPTIONS if key in data}
        entries = [{"task": entry} if isinstance(entry, str) else entry for entry in data["suite"]]
        return {**data, "suite": [{**common, **e} if isinstance(e, dict) else e for e in entries]}

    @model_validator(mode="after")
    def _names_are_unique(self) -> CalibrationBlock:
        names = [entry.name for entry in self.suite]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"suite has {twice[0]!r} twice")
        named = [objective.name for objective in self.objectives]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"objectives have {twice[0]!r} twice")
        weightings = [o.weights or {} for o in self.objectives if o.average == "macro"]
        if any(weights != weightings[0] for weights in weightings):
            raise ValueError("objectives with `average: macro` must have the same weights")
        return self

    @classmethod
    def known_keys(cls, location: Sequence[int | str]) -> list[str]:
        """The keys that may stand at `location` below the block, for messages."""
        if not location:
            return sorted(cls.model_fields)
        parts: dict[str, type[BaseModel]] = {
            "suite": SuiteEntry,
            "objectives": ObjectiveSpec,
            "parents": Parents,
            "seeds": Seeds,
            "search": Racing,
        }
        return sorted(parts[str(location[0])].model_fields) if str(location[0]) in parts else []
