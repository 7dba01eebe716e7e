"""The embedded demo pair: its two checkpoints and the sweep over them. `README.md` says how they were made."""

from __future__ import annotations

import json
from pathlib import Path

_HERE = Path(__file__).parent


def parents() -> tuple[Path, Path]:
    """Return the installed folders of the base and the aligned checkpoint."""
    return _HERE / "base", _HERE / "aligned"


def sweep_yaml(points: int | None = None, limit: int | None = None) -> str:
    """Return the demo's recipe, `configs/demo.yml` in the repository, with the absolute paths of the checkpoints.

    Args:
        points: how many points are scored at most, beside the parents; None for as many as the search asks for.
        limit: how many of the 5,000 questions are asked; None for all.
    """
    text = (_HERE / "demo.yml").read_text(encoding="utf-8")
    for path in parents():
        # JSON strings are YAML strings, so a path with a colon, a space or backslashes stays one.
        text = text.replace(f"model: mergekit_calib/demo/{path.name} ", f"model: {json.dumps(str(path))} ")
    if limit is not None:
        text = text.replace("    - calib_demo ", f"    - {{task: calib_demo, limit: {limit}}} ")
    if points is not None:
        text = text.replace("  suite:\n", f"  search: {{points: {points}}}\n  suite:\n")
    return text
