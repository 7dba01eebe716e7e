"""The embedded demo pair: its two checkpoints and the sweep over them. `README.md` says how they were made."""

from __future__ import annotations

import json
from pathlib import Path

_HERE = Path(__file__).parent


def parents() -> tuple[Path, Path]:
    """Return the installed folders of the base and the aligned checkpoint."""
    return _HERE / "base", _HERE / "aligned"


def sweep_yaml() -> str:
    """Return the demo's recipe, `configs/demo.yml` in the repository, with the absolute paths of the checkpoints."""
    text = (_HERE / "demo.yml").read_text(encoding="utf-8")
    for path in parents():
        # JSON strings are YAML strings, so a path with a colon, a space or backslashes stays one.
        text = text.replace(f"model: mergekit_calib/demo/{path.name} ", f"model: {json.dumps(str(path))} ")
    return text
