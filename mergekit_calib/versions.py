"""The versions of mergekit and lm-eval that this plugin supports, and the versions that a result was made with."""

from __future__ import annotations

import importlib.metadata
import re

RELIED_ON = {"mergekit": "0.1.5", "lm-eval": "0.4.13"}
"""Package → the version that this plugin was developed and tested with."""

UNSUPPORTED_FROM = {"lm-eval": "0.5"}
"""Package → the first version that is known not to work. lm-eval 0.5 changes the tasks and metrics that hooks wrap."""

_RECORDED = ("mergekit-calib", "mergekit", "lm-eval", "transformers", "torch", "datasets", "optuna")


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


def version_problem(package: str) -> str | None:
    """Return why the installed version of a package cannot be used, and what to install; None if it can be used.

    A pre-release counts as the release that it precedes: 0.5.0.dev1 as 0.5.
    """
    installed, limit = installed_version(package), UNSUPPORTED_FROM.get(package)
    if installed is None or limit is None or _release(installed) < _release(limit):
        return None
    return f"{package} {installed} is not supported yet; install {package}<{limit}"


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()
