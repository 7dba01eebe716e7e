"""`mergekit-calib demo`: sweep the embedded pair of models."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.demo import sweep_yaml
from mergekit_calib.integrations.recipe_runner import run_source


def run_demo(out: Path) -> int:
    """Run the demo's sweep, and return the exit status.

    Args:
        out: the output folder.
    """
    return run_source(sweep_yaml(), str(out), source="demo.yml")
