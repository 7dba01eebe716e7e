"""The recipes, the commands and the clock of `speed.py` and `speed_of_merging.py`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SUBJECTS = ("mmlu_anatomy", "mmlu_marketing", "mmlu_us_foreign_policy")
Report = dict[str, Any]


def recipe(pair: Path, dtype: str, method: str, points: int, questions: int = 1, more: str = "") -> str:
    suite = "".join(f"    - {{task: {s}, limit: {questions}, num_fewshot: 5}}\n" for s in SUBJECTS)
    values = [round(i / (points - 1), 4) for i in range(points)]
    return (
        f"merge_method: calibration_sweep\nbase_model: {(pair / 'base').resolve()}\n"
        f"models:\n  - model: {(pair / 'aligned').resolve()}\nparameters: {{method: {method}}}\ndtype: {dtype}\n"
        f"calibration:\n  axes: {{lambda: {values}}}\n  suite:\n{suite}{more}"
    )


def plain_recipe(pair: Path) -> str:
    models = "".join(
        f"  - model: {(pair / name).resolve()}\n    parameters: {{weight: 0.5}}\n" for name in ("base", "aligned")
    )
    return f"merge_method: linear\nmodels:\n{models}dtype: float32\n"


def run(*command: object) -> str:
    """Return the output of a command of this environment, and exit if it fails."""
    first, *rest = [str(part) for part in command]
    beside = Path(sys.executable).parent / first
    done = subprocess.run(
        [str(beside) if beside.exists() else first, *rest], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{first} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def timed(
    work: Callable[..., Any], *arguments: Any, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    began = clock()
    result = work(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - began, result
