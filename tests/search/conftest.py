"""Fixtures: a recipe of a sweep between two small models, and a function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mergekit.options import MergeOptions

from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.events import Progress, ProgressGroup
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep


class Recorder(Progress):
    """Counts the suite entries that each point was scored on by running a model."""

    def __init__(self) -> None:
        self.scored: dict[str, int] = {}

    def point_started(self, point_id: str) -> None:
        self._point = point_id
        self._seen: set[str] = set()

    def scoring(self, entry: str, done: int, total: int) -> None:
        if entry not in self._seen:
            self._seen.add(entry)
            self.scored[self._point] = self.scored.get(self._point, 0) + 1


@pytest.fixture
def recipe_with(make_model: Callable[..., Path], task: str) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a short-form recipe; further keys go into its `calibration:` block."""

    def make(axes: dict[str, Any], search: Any = "grid", **block: Any) -> dict[str, Any]:
        return {
            "merge_method": "calibration_sweep",
            "base_model": str(make_model(seed=0)),
            "models": [{"model": str(make_model(seed=1))}],
            "dtype": "bfloat16",
            "calibration": {
                "axes": axes,
                "suite": [task],
                "search": search,
                "model_args": {"dtype": "float32"},
                "n_resamples": 100,
                **block,
            },
        }

    return make


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Frontier, dict[str, int]]]:
    """Return a function that runs a recipe into a folder, and returns the frontier and `Recorder.scored`.

    Pictures take two thirds of the time of so small a sweep. They are not drawn; `tests/report` covers them.
    """
    monkeypatch.setattr("mergekit_calib.report.figures.pictures.draw_pictures", lambda *_: {})

    def go(recipe: dict[str, Any], out: Path, *listeners: Progress) -> tuple[Frontier, dict[str, int]]:
        register()
        recorder = Recorder()
        sweep = parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml")
        return run_sweep(sweep, out, MergeOptions(quiet=True), ProgressGroup(recorder, *listeners)), recorder.scored

    return go
