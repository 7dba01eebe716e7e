"""The `calibration:` block: the schema of the one piece of YAML that a sweep adds to a recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Number = int | float

_SUITE_OPTIONS = (
    "num_fewshot",
    "limit",
    "apply_chat_template",
    "fewshot_as_multiturn",
    "system_instruction",
    "gen_kwargs",
    "repeats",
)


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
    """One entry of the suite: an lm-eval task, group, tag or YAML path."""

    task: str = Field(min_length=1)

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


class CalibrationBlock(SuiteOptions):
    """The `calibration:` block.

    Attributes:
        axes: axis → its values, in order, without repeats; from a list or `{start, stop, step}`.
        suite: what scores a point, the block's own options already filled in.
        objectives: what is traded off; the first is the vertical axis of the pictures.
        select: `rule` and the rule's own options.
        seed: seed of randomised merge methods, unless mergekit's `--random-seed` is given.
        model_args, batch_size: as lm-eval's `hf` model takes them.
        level: confidence level of the intervals.
        n_resamples: bootstrap resamples of the items.
        n_bins: bins of `ece`.
    """

    axes: dict[str, list[Number]] = Field(min_length=1)
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
        return {name: expand_axis(name, values) for name, values in axes.items()}

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
        }
        return sorted(parts[str(location[0])].model_fields) if str(location[0]) in parts else []


def expand_axis(name: str, values: Any) -> list[Number]:
    """The values of an axis: a list as it is, `{start, stop, step}` with both ends included.

    Raises:
        ValueError: empty, not numbers, not finite, or a range that never arrives.
    """
    if isinstance(values, dict):
        if set(values) != {"start", "stop", "step"}:
            raise ValueError(f"axis {name}: a range has start, stop and step; found {', '.join(map(str, values))}")
        start, stop, step = (_number(name, values[key]) for key in ("start", "stop", "step"))
        if step == 0 or (stop - start) * step < 0:
            raise ValueError(f"axis {name}: steps of {step} never lead from {start} to {stop}")
        count = math.floor((stop - start) / step + 1e-9) + 1
        # Rounding keeps 0.1 * 3 from becoming 0.30000000000000004 in every recipe and file name.
        return [
            start + i * step if isinstance(start, int) and isinstance(step, int) else round(start + i * step, 10)
            for i in range(count)
        ]
    if not isinstance(values, list):
        values = [values]
    if not values:
        raise ValueError(f"axis {name} is empty: give a list of numbers, or {{start, stop, step}}")
    return list(dict.fromkeys(_number(name, value) for value in values))


def _number(name: str, value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"axis {name}: {value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"axis {name}: {value!r} is not finite")
    return value
