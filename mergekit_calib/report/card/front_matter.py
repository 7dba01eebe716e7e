"""The front matter of a model card: the YAML at its top, which the Hugging Face Hub reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData, metadata_load, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.parent_texts import parent_role
from mergekit_calib.report.text.safe_text import on_one_line
from mergekit_calib.results.frontier import Frontier, PointResult

_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_LICENCE = ("license", "license_name", "license_link")
_METRICS = {"acc": "accuracy", "brier": "brier_score", "exact_match": "exact_match"}  # names of metrics on the Hub


def front_matter(
    frontier: Frontier,
    selected: PointResult,
    licence: Mapping[str, str] | None = None,
    base_models: Iterable[str] = (),
    licences: Mapping[str, str] | None = None,
) -> str:
    """Return the YAML at the top of the card: what the model was merged from, and its evaluation results.

    A chosen parent has neither the tag `merge` nor the relation: its base model is the parent alone.

    Args:
        frontier: the sweep.
        selected: the chosen point.
        licence: the entries `license`, `license_name` and `license_link`, if they have been set. Without them, a
            comment names the parents' licences, on which the choice of a licence depends.
        base_models: the names on the Hub of the models that the chosen point was made from.
        licences: model → licence, as far as they are known.
    """
    is_merge = parent_role(frontier, selected) is None
    models = models_in(frontier, selected)
    names = list(base_models)
    data: dict[str, Any] = {}
    if names:
        data["base_model"] = names
    if names and is_merge:
        data["base_model_relation"] = "merge"
    tags = ["mergekit", *(["merge"] if is_merge else []), "calibration"]
    data |= {"library_name": "transformers", "tags": tags}
    if results := eval_results(frontier, selected):
        card = ModelCardData(model_name=on_one_line(frontier.name) or "merge", eval_results=results)
        data["model-index"] = card.to_dict()["model-index"]  # type: ignore[no-untyped-call]
    data |= licence or {}
    matter = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    if licence:
        return matter
    licences = licences or {}
    parents = [f"{name} ({licences[name]})" if name in licences else name for name in models.values()]
    comment = on_one_line(f"license: to be set; the licences of {formatting.listed(parents)} apply")
    return f"# {comment}\n{matter}"


def eval_results(frontier: Frontier, selected: PointResult) -> list[EvalResult]:
    """Return the chosen point's metrics on every task's held-out split, for the Hub's model index."""
    results = []
    for entry in frontier.suite:
        for metric, splits in selected.metrics.get(entry.name, {}).items():
            estimate = splits.get("held_out")
            if estimate is None or estimate.value is None:
                continue
            details: dict[str, Any] = {"n": estimate.n}
            if estimate.low is not None and estimate.high is not None:
                details |= {"level": frontier.level, "low": round(estimate.low, 6), "high": round(estimate.high, 6)}
            if formatting.is_binned(metric):
                details["n_bins"] = frontier.n_bins
            dataset_args: dict[str, Any] = {"items": "held-out split"}
            if entry.num_fewshot is not None:
                dataset_args["num_few_shot"] = entry.num_fewshot
            if entry.limit is not None:
                dataset_args["limit"] = entry.limit
            results.append(
                EvalResult(
                    task_type="text-generation",
                    dataset_type=on_one_line(entry.name),
                    dataset_name=on_one_line(entry.name),
                    dataset_args=dataset_args,
                    metric_type=_METRICS.get(metric, on_one_line(metric)),
                    metric_name=on_one_line(metric),
                    metric_value=round(estimate.value, 6),
                    metric_args=details,
                )
            )
    return results


def models_in(frontier: Frontier, selected: PointResult) -> dict[str, str]:
    """Return role → model, for the models whose weights the chosen model has: all parents, or the one chosen."""
    role = parent_role(frontier, selected)
    return dict(frontier.models) if role is None else {role: frontier.models[role]}


def parent_licences(models: Iterable[str]) -> dict[str, str]:
    """Return model → licence, for the models whose model cards are on this machine; nothing is downloaded."""
    licences = {}
    for name in models:
        parts = [licence for part in name.split("+") if (licence := _licence_of(part.strip()))]
        if parts:
            licences[name] = ", ".join(dict.fromkeys(parts))
    return licences


def hub_names(references: Iterable[str]) -> list[str]:
    """Return the models and adapters that are names on the Hub.

    A name that exists as a path on this machine is a local model, as it is for mergekit.

    Args:
        references: models as mergekit writes them: `model@revision+adapter@revision`.
    """
    parts = [part.split("@")[0].strip() for reference in references for part in reference.split("+")]
    return [p for p in dict.fromkeys(parts) if _HUB_NAME.fullmatch(p) and not os.path.exists(p)]


def licence_in(card: str | Path) -> dict[str, str]:
    """Return those of `license`, `license_name` and `license_link` that a model card has."""
    try:
        metadata = metadata_load(card) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return {key: metadata[key] for key in _LICENCE if isinstance(metadata.get(key), str)}


def _licence_of(reference: str) -> str:
    name, _, revision = reference.partition("@")
    path: str | Path | None = Path(name) / "README.md"
    if not os.path.exists(name):  # which is False for a name that no path can have
        try:
            cached = try_to_load_from_cache(name, "README.md", revision=revision or None)
        except HFValidationError:
            return ""
        path = cached if isinstance(cached, str) else None
    licence = licence_in(path) if path else {}
    return " ".join((licence.get("license_name") or licence.get("license", "")).split())
