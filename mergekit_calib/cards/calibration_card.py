"""The calibration card of one model, or of several side by side. The schema of `scores.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import pandas as pd
from pydantic import BaseModel, Field

from mergekit_calib.results.findings import SUITE, Difference, Estimate
from mergekit_calib.results.frontier import Reliability
from mergekit_calib.storage.atomic import write_text_atomic

SCHEMA_VERSION: Final = 1


class ModelScores(BaseModel):
    """What one model scored.

    Attributes:
        name: the model as it was given, or as lm-eval's run names it.
        metrics: scope (a task as it was given, `suite` for all items with choices pooled) → metric → estimate.
        differences: scope → metric → paired difference to the first model; empty where it scored other items.
        reliability: scope → diagram of its items with choices.
        seconds: how long scoring took; None where it was read from samples.
    """

    name: str
    metrics: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    differences: dict[str, dict[str, Difference]] = Field(default_factory=dict)
    reliability: dict[str, Reliability] = Field(default_factory=dict)
    seconds: float | None = None


class Scores(BaseModel):
    """Calibration cards. `scores.json` is this, as JSON.

    Attributes:
        created: ISO 8601, UTC.
        models: in the order given.
        directions: scope → metric → which way is better.
        level, n_resamples, seed: of the intervals.
        n_bins: of `ece` and its kin, and of the diagrams.
        notes: what the reader must know.
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
        """Read `scores.json`, or the one in a folder."""
        path = Path(path)
        file = path / "scores.json" if path.is_dir() else path
        return cls.model_validate_json(file.read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write `scores.json` and `scores.csv`, each whole."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / "scores.json", self.model_dump_json(indent=1))
        write_text_atomic(folder / "scores.csv", self.frame().to_csv(index=False))

    @property
    def scopes(self) -> list[str]:
        """The tasks, and `suite` after them where several have choices to pool."""
        tasks = [scope for scope in self.directions if scope != SUITE]
        return [*tasks, SUITE] if sum(map(self.has_choices, tasks)) > 1 else tasks

    def has_choices(self, scope: str) -> bool:
        """Whether a model was scored on items with choices there, so that calibration is defined."""
        return any(scope in model.reliability for model in self.models)

    def frame(self) -> pd.DataFrame:
        """One row for each model, scope and metric: value, interval, number of items, and the difference's."""
        rows = []
        for model in self.models:
            for scope, found in model.metrics.items():
                for metric, estimate in found.items():
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
        return pd.DataFrame(rows, columns=columns)
