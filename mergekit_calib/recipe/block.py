"""The `calibration:` block: the schema of the one piece of YAML that a sweep adds to a recipe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from mergekit_calib.recipe.axes import Axis, read_axis
from mergekit_calib.recipe.engine_settings import EngineSettings, VllmSettings
from mergekit_calib.recipe.search_settings import Racing, SearchSettings
from mergekit_calib.recipe.suite_entry import Strict, SuiteEntry, SuiteOptions
from mergekit_calib.results.names import metric_key

_SUITE_OPTIONS = (
    "num_fewshot",
    "limit",
    "apply_chat_template",
    "fewshot_as_multiturn",
    "system_instruction",
    "gen_kwargs",
    "repeats",
)
_GREATEST_NUMPY_SEED = 2**32 - 1


class ObjectiveSpec(Strict):
    """A metric that the search optimises.

    Attributes:
        metric: the metric's name.
        task: the suite entry that it is computed on; None for the whole suite.
        average: for the whole suite: `pooled` computes the metric of all items together, `macro` averages the entries';
            `worst` takes the value of the task where it is worst.
        weights: entry → its weight in the macro average; equal if not given.
        to: the role of the parent that the metric compares with; None for most metrics.
    """

    metric: str = Field(min_length=1)
    task: str | None = None
    average: Literal["pooled", "macro", "worst"] | None = None
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    to: str | None = None

    @property
    def key(self) -> str:
        """The metric's name in results: `ece`, or `kl_to_aligned` with a reference."""
        return metric_key(self.metric, self.to)

    @property
    def name(self) -> str:
        """The name in `select` and in the report."""
        scope = self.task or (self.average if self.average in ("macro", "worst") else None)
        return f"{scope}/{self.key}" if scope else self.key

    @model_validator(mode="after")
    def _average_is_of_the_suite(self) -> ObjectiveSpec:
        if self.task is not None and self.average is not None:
            raise ValueError(f"{self.metric}: an average is over the suite's tasks; give `task` or `average`, not both")
        if self.weights is not None and self.average != "macro":
            raise ValueError(f"{self.metric}: only a macro average has weights; add `average: macro`")
        if self.weights is not None and not any(self.weights.values()):
            raise ValueError(f"{self.metric}: every weight is 0; at least one must be above 0")
        return self


class Seeds(Strict):
    """lm-eval's seeds, with its defaults.

    Attributes:
        random, numpy, torch, fewshot: as lm-eval's `--seed` sets them.
    """

    random: int = 0
    numpy: int = Field(default=1234, ge=0, le=_GREATEST_NUMPY_SEED)
    torch: int = 1234
    fewshot: int = 1234


class CalibrationBlock(SuiteOptions):
    """The `calibration:` block.

    Attributes:
        axes: axis → the values that the sweep varies.
        search: which points are scored.
        suite: what scores a point. The block's own suite options are already in each entry.
        objectives: what is traded off; the first is on the vertical axis of the pictures.
        select: `rule`, and the rule's own options; the default rule if it names none.
        parents: the models that the points are compared with, as a list or by the roles `base` and `aligned`; every
            model that the recipe names, if not given.
        seed: seed of randomised merge methods, unless mergekit's `--random-seed` is given.
        seeds: lm-eval's seeds.
        workers: how many processes score points, or `auto`: one for every `gpus_per_worker` GPUs; one if None.
        gpus_per_worker: the number of GPUs of each worker.
        engine: what scores choices and what generates; None for transformers, both.
        model_args, batch_size: as lm-eval's `hf` model takes them.
        level: confidence level of the intervals.
        n_resamples: bootstrap resamples of the items.
        n_bins: bins of `ece`.
    """

    axes: dict[str, Annotated[Axis, BeforeValidator(read_axis)]] = Field(min_length=1)
    search: SearchSettings = SearchSettings()
    suite: list[SuiteEntry] = Field(min_length=1)
    objectives: list[ObjectiveSpec] = Field(
        default=[ObjectiveSpec(metric="acc"), ObjectiveSpec(metric="ece")], min_length=1
    )
    select: dict[str, Any] = Field(default_factory=dict)
    parents: dict[str, str] | list[str] | None = None
    seed: int = Field(default=0, ge=0)
    seeds: Seeds = Seeds()
    engine: EngineSettings | None = None
    model_args: dict[str, Any] = Field(default_factory=dict)
    batch_size: int | str = 8
    workers: int | str | None = None
    gpus_per_worker: int = Field(default=1, ge=1)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    n_resamples: int = Field(default=1000, ge=100, le=1_000_000)
    n_bins: int = Field(default=15, ge=2, le=10_000)

    @field_validator("search", mode="before")
    @classmethod
    def _strategy_by_name(cls, search: Any) -> Any:
        return {"strategy": search} if isinstance(search, str) else search

    @field_validator("select", mode="before")
    @classmethod
    def _rule_by_name(cls, select: Any) -> Any:
        return {"rule": select} if isinstance(select, str) else select

    @field_validator("select")
    @classmethod
    def _rule_is_a_name(cls, select: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(select.get("rule", ""), str):
            raise ValueError("`rule` must be the name of a selection rule")
        return select

    @field_validator("parents", mode="before")
    @classmethod
    def _parents_are_models(cls, parents: Any) -> Any:
        models = list(parents.values()) if isinstance(parents, dict) else parents
        if isinstance(parents, dict) and parents.keys() != {"base", "aligned"}:
            raise ValueError("expected a list of models, or `{base: …, aligned: …}`")
        if models is not None and not (isinstance(models, list) and all(isinstance(m, str) and m for m in models)):
            raise ValueError("expected models as the recipe names them")
        if models is not None and not len(set(models)) == len(models) > 0:
            raise ValueError("expected at least 1 model, and each once")
        return parents

    @field_validator("batch_size")
    @classmethod
    def _batch_size(cls, size: int | str) -> int | str:
        if isinstance(size, str) and not re.fullmatch(r"auto(:\d+)?", size):
            raise ValueError("expected a whole number, `auto` or `auto:N`")
        if isinstance(size, int) and size < 1:
            raise ValueError("expected at least 1")
        return size

    @field_validator("workers")
    @classmethod
    def _workers(cls, workers: int | str | None) -> int | str | None:
        if workers is None or workers == "auto" or (isinstance(workers, int) and workers >= 1):
            return workers
        raise ValueError("expected a whole number from 1, or `auto`")

    @field_validator("objectives", mode="before")
    @classmethod
    def _objective_names(cls, objectives: Any) -> Any:
        if isinstance(objectives, list):
            return [{"metric": o} if isinstance(o, str) else o for o in objectives]
        return objectives

    @model_validator(mode="before")
    @classmethod
    def _suite_options(cls, data: Any) -> Any:
        """Make entries of names, and copy the block's suite options into every entry that does not set its own."""
        if not isinstance(data, dict) or not isinstance(data.get("suite"), list):
            return data
        common = {key: data[key] for key in _SUITE_OPTIONS if key in data}
        entries = [{"task": entry} if isinstance(entry, str) else entry for entry in data["suite"]]
        return {**data, "suite": [{**common, **e} if isinstance(e, dict) else e for e in entries]}

    @model_validator(mode="after")
    def _names_are_unique(self) -> CalibrationBlock:
        names = [entry.name for entry in self.suite]
        if twice := _repeated(names):
            raise ValueError(f"suite has {twice!r} twice")
        named = [objective.name for objective in self.objectives]
        if twice := _repeated(named):
            raise ValueError(f"objectives have {twice!r} twice")
        weightings = [o.weights or {} for o in self.objectives if o.average == "macro"]
        if any(weights != weightings[0] for weights in weightings):
            raise ValueError("objectives with `average: macro` must have the same weights")
        return self

    @property
    def strategy(self) -> str:
        """The name of the search strategy: unless it is given, `curve` for one axis that is a range, else `grid`."""
        if self.search.strategy is not None:
            return self.search.strategy
        return "curve" if [axis.values for axis in self.axes.values()] == [None] else "grid"

    @property
    def vllm(self) -> VllmSettings | None:
        """Arguments of vLLM, if it generates; None if transformers does."""
        return self.engine.generation if self.engine else None

    @classmethod
    def known_keys(cls, location: Sequence[int | str]) -> list[str]:
        """Return the keys that are allowed at `location` below the block."""
        if not location:
            return sorted(cls.model_fields)
        parts: dict[str, type[BaseModel]] = {
            "suite": SuiteEntry,
            "objectives": ObjectiveSpec,
            "seeds": Seeds,
            "search": Racing,
            "engine": VllmSettings,
        }
        if location == ("engine",):
            return ["generation"]
        return sorted(parts[str(location[0])].model_fields) if str(location[0]) in parts else []


def _repeated(names: Sequence[str]) -> str | None:
    """Return the first name that stands there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
