"""Upgrade results of earlier schema versions: `frontier.json` of versions 1 and 2 becomes version 3."""

from __future__ import annotations

from typing import Any

_SPLITS = {"report": "held_out"}
_FIELDS = {"halves": "splits", "chance": "uncertainty"}
_SPLITS_FIELDS = {"elsewhere": "on_other_split", "chosen_in": "choice_shares", "apart": "difference_in_differences"}
_KEYED_BY_SPLIT = ("choices", "on_other_split", "differences")


def upgrade_fields(data: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the fields of a result in the form of schema version `version`.

    Versions 1 and 2 call the held-out split `report`, the comparison of both splits `halves` (whose fields have other
    names too), and the uncertainty of the frontier `chance`. Data of an unknown version is returned unchanged, and
    then refused by validation.

    Args:
        data: the fields of `frontier.json`; not modified.
        version: the schema version to upgrade to.
    """
    if data.get("schema_version") not in (1, 2):
        return data
    upgraded = _renamed({**data, "schema_version": version}, _FIELDS)
    upgraded["suite"] = [_renamed(entry, {"n_report": "n_held_out"}) for entry in data.get("suite", [])]
    upgraded["points"] = [_point(point) for point in data.get("points", [])]
    upgraded["baselines"] = [_with_metrics(baseline) for baseline in data.get("baselines", [])]
    if upgraded.get("splits"):
        splits = _renamed(upgraded["splits"], _SPLITS_FIELDS)
        by_split = {name: _renamed(splits[name], _SPLITS) for name in _KEYED_BY_SPLIT if name in splits}
        upgraded["splits"] = {**splits, **by_split}
    return upgraded


def _point(point: dict[str, Any]) -> dict[str, Any]:
    return {**_with_metrics(point), "on_frontier": _renamed(point.get("on_frontier", {}), _SPLITS)}


def _with_metrics(result: dict[str, Any]) -> dict[str, Any]:
    metrics = {
        scope: {metric: _renamed(splits, _SPLITS) for metric, splits in by_metric.items()}
        for scope, by_metric in result.get("metrics", {}).items()
    }
    return {**result, "metrics": metrics}


def _renamed(mapping: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in mapping.items()}
