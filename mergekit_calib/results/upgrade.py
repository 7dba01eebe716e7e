"""Read results of earlier schema versions: `frontier.json` of versions 1 and 2 becomes version 3."""

from __future__ import annotations

from typing import Any

_RENAMED_SPLITS = {"report": "held_out"}


def upgraded(data: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the fields of a result in the form of schema version `version`.

    Versions 1 and 2 call the held-out split `report`, and the comparison of both splits `halves`. Data of a version
    that is not known here is returned as it is, so that validation names what is wrong with it.

    Args:
        data: the fields of `frontier.json`; left unchanged.
        version: the schema version to upgrade to.
    """
    if data.get("schema_version") not in (1, 2):
        return data
    upgrade = {**data, "schema_version": version}
    upgrade["suite"] = [_renamed(entry, {"n_report": "n_held_out"}) for entry in data.get("suite", [])]
    upgrade["points"] = [_point(point) for point in data.get("points", [])]
    upgrade["baselines"] = [_with_metrics(baseline) for baseline in data.get("baselines", [])]
    both = upgrade.pop("halves", None)
    if isinstance(both, dict):
        by_split = {name: _renamed(both.get(name, {}), _RENAMED_SPLITS) for name in _BY_SPLIT if name in both}
        both = {**both, **by_split}
    upgrade["splits"] = both
    return upgrade


_BY_SPLIT = ("choices", "elsewhere", "differences")


def _point(point: dict[str, Any]) -> dict[str, Any]:
    return {**_with_metrics(point), "on_frontier": _renamed(point.get("on_frontier", {}), _RENAMED_SPLITS)}


def _with_metrics(measured: dict[str, Any]) -> dict[str, Any]:
    metrics = {
        scope: {metric: _renamed(splits, _RENAMED_SPLITS) for metric, splits in some.items()}
        for scope, some in measured.get("metrics", {}).items()
    }
    return {**measured, "metrics": metrics}


def _renamed(mapping: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in mapping.items()}
