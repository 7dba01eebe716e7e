"""Calibration-aware model merging: a plugin for mergekit and lm-eval.

The public names are imported when they are first used, so that importing this package takes almost no time: it is
imported whenever mergekit or lm-eval is (see `integrations/autoload.py`).
"""

from typing import Any

_PUBLIC: dict[str, str | None] = {  # name → the module that defines it; None for a subpackage
    "run_sweep": "mergekit_calib.sweep.coordinator",
    "score_model": "mergekit_calib.cards.from_models",
    "Scores": "mergekit_calib.cards.calibration_card",
    "Frontier": "mergekit_calib.results.frontier",
    "SweepResult": "mergekit_calib.notebook",
    "ItemTable": "mergekit_calib.items.table",
    "hookimpl": "mergekit_calib.hookspecs",
    "metrics": None,
}

__all__ = ["Frontier", "ItemTable", "Scores", "SweepResult", "hookimpl", "metrics", "run_sweep", "score_model"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = _PUBLIC[name]
    if module is None:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
