"""`mergekit-calib demo`: sweep the embedded pair of models."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.demo import sweep_yaml
from mergekit_calib.integrations.recipe_runner import run_source


def run_demo(out: Path, points: int | None = None, limit: int | None = None) -> int:
    """Run the demo's sweep, and return the exit status.

    Args:
        out: the output folder.
        points: how many points are scored at most, beside the parents; None for as many as the search asks for.
        limit: how many questions are asked; None for all.
    """
    return run_source(sweep_yaml(points, limit), str(out), source="demo.yml")
