"""The calibration card of one model, or of several side by side: the schema of `scores.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import pandas as pd
from pydantic import BaseModel, Field

from mergekit_calib.report.tables.csv_text import csv_text
from mergekit_calib.results.findings import SUITE, Difference, Estimate
from mergekit_calib.results.frontier import Reliability
from mergekit_calib.storage.atomic import write_text_atomic

SCHEMA_VERSION: Final = 1


class ModelScores(BaseModel):
    """The scores of one model.

    Attributes:
        name: the model as the user named it, or as lm-eval's run names it.
        metrics: scope (a task as the user named it, or `suite` for all items with choices pooled) → metric → estimate.
        differences: scope → metric → paired difference to the first model; empty if the models scored other items.
        reliability: scope → diagram of its items with choices.
        seconds: how long scoring took, in seconds; None if the scores were read from samples.
    """

    name: str
    metrics: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    reliability: dict[str, Reliability] = Field(default_factory=dict)
    seconds: float | None = None


class Scores(BaseModel):
    """Calibration cards. `scores.json` is this, as JSON.

    Attributes:
        schema_version: the version of this schema.
        created: the time, in ISO 8601, UTC.
        models: the scores of each model, in the order given.
        directions: scope → metric → which way is better.
        level: the confidence level of intervals.
        n_resamples: the number of resamples of intervals.
        n_bins: the number of bins of binned calibration errors and of diagrams.
        seed: the seed of resamples.
        versions: package → its version.
        notes: remarks for the reader, one sentence each.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    models: list[ModelScores] = Field(default_factory=list)
    directions: dict[str, dict[str, Literal["maximize", "minimize"]]] = Field(default_factory=dict)
    level: float
    n_resamples: int
    n_bins: int
    seed: int
    versions: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read `scores.json`, or the file of that name in a folder."""
        path = Path(path)
        file = path / "scores.json" if path.is_dir() else path
        return cls.model_validate_json(file.read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write `scores.json` and `scores.csv` to a folder, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / "scores.json", self.model_dump_json(indent=1))
        write_text_atomic(folder / "scores.csv", csv_text(self.frame()))

    @property
    def scopes(self) -> list[str]:
        """The tasks, and `suite` after them if several have choices to pool."""
        tasks = [scope for scope in self.directions if scope != SUITE]
        return [*tasks, SUITE] if sum(map(self.has_choices, tasks)) > 1 else tasks

    def has_choices(self, scope: str) -> bool:
        """Return whether a model was scored on items with choices in a scope, so that calibration is defined."""
        return any(scope in model.reliability for model in self.models)

    def frame(self) -> pd.DataFrame:
        """Return one row for each model, scope and metric: value, interval, number of items, paired difference."""
        rows = []
        for model in self.models:
            for scope, estimates in model.metrics.items():
                for metric, estimate in estimates.items():
                    difference = model.differences.get(scope, {}).get(metric) or Difference(value=None)
                    rows.append(
                        {
                            "model": model.name,
                            "scope": scope,
                            "metric": metric,
                            "value": estimate.value,
                            "low": estimate.low,
                            "high": estimate.high,
                            "n": estimate.n,
                            "difference": difference.value,
                            "difference_low": difference.low,
                            "difference_high": difference.high,
                        }
                    )
        columns = "model scope metric value low high n difference difference_low difference_high".split()
        table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
        return table
