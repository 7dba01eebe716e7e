"""Which versions of the hosts this plugin was made against, and which a result was made with."""

from __future__ import annotations

import importlib.metadata

RELIED_ON = {"mergekit": "0.1.5", "lm-eval": "0.4.13"}
_PACKAGES = ("mergekit-calib", "mergekit", "lm-eval", "transformers", "torch", "datasets", "optuna")


def versions() -> dict[str, str]:
    """Package → installed version, of those that the numbers depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
