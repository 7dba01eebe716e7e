"""Calibration-aware model merging: a plugin for mergekit and lm-eval.

The public names below are resolved on first use, so that importing this package costs next to nothing: it is
imported whenever a host is (see `integrations/autoload.py`).
"""

_PUBLIC = {
    "run_sweep": "mergekit_calib.sweep.coordinator",
    "score_model": "mergekit_calib.cards.from_models",
    "Scores": "mergekit_calib.cards.calibration_card",
    "Frontier": "mergekit_calib.results.frontier",
    "SweepResult": "mergekit_calib.notebook",
    "ItemTable": "mergekit_calib.items.table",
    "hookimpl": "mergekit_calib.plugins",
    "metrics": None,
}

__all__ = ["Frontier", "ItemTable", "Scores", "SweepResult", "hookimpl", "metrics", "run_sweep", "score_model"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = _PUBLIC[name]
    if home is None:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__():
    return sorted(__all__)
