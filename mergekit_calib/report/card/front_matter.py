"""What the hub reads of a model card: its front matter, in the hub's schema, made by the hub's own classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Frontier, PointResult

_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_LICENCE = ("license", "license_name", "license_link")
_METRICS = {"acc": "accuracy", "brier": "brier_score", "exact_match": "exact_match"}  # their ids on the hub


def front_matter(frontier: Frontier, selected: PointResult, licence: Mapping[str, str] | None = None) -> str:
    """YAML for the top of the card: what the model is, what it was merged from, and what was measured.

    Without a `licence` it is a comment for whoever publishes the model: which one it can be depends on the parents'.

    Args:
        licence: the entries for it, `license` and what belongs to it.
    """
    names = hub_names([*frontier.models.values(), *models_in(yaml.safe_load(selected.recipe))])
    data: dict[str, Any] = {}
    if names:
        data |= {"base_model": names, "base_model_relation": "merge"}
    data |= {"library_name": "transformers", "tags": ["mergekit", "merge", "calibration"]}
    if results := eval_results(frontier, selected):
        card = ModelCardData(model_name=frontier.name or "merge", eval_results=results)
        data["model-index"] = card.to_dict()["model-index"]
    data |= licence or {}
    matter = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    if licence:
        return matter
    known = parent_licences(frontier)
    parents = [f"{name} ({known[name]})" if name in known else name for name in frontier.models.values()]
    comment = " ".join(f"license: to be set; those of {formatting.listed(parents)} apply".split())
    return f"# {comment}\n{matter}"


def eval_results(frontier: Frontier, selected: PointResult) -> list[EvalResult]:
    """The chosen point's metrics of every task, on the held-out split, as the hub's model index holds them."""
    found = []
    for entry in frontier.suite:
        for metric, splits in selected.metrics.get(entry.name, {}).items():
            estimate = splits.get("held_out")
            if estimate is None or estimate.value is None:
                continue
            about: dict[str, Any] = {"n": estimate.n}
            if estimate.low is not None and estimate.high is not None:
                about |= {"level": frontier.level, "low": round(estimate.low, 6), "high": round(estimate.high, 6)}
            if formatting.is_binned(metric):
                about["n_bins"] = frontier.n_bins
            asked: dict[str, Any] = {"items": "held-out split"}
            if entry.num_fewshot is not None:
                asked["num_few_shot"] = entry.num_fewshot
            if entry.limit is not None:
                asked["limit"] = entry.limit
            found.append(
                EvalResult(
                    task_type="text-generation",
                    dataset_type=entry.name,
                    dataset_name=entry.name,
                    dataset_args=asked,
                    metric_type=_METRICS.get(metric, metric),
                    metric_name=metric,
                    metric_value=round(estimate.value, 6),
                    metric_args=about,
                )
            )
    return found


def parent_licences(frontier: Frontier) -> dict[str, str]:
    """Model → its licence, where its card is on this machine and names one; nothing is fetched."""
    found = {}
    for name in frontier.models.values():
        parts = [licence for part in name.split("+") if (licence := _licence_of(part.strip()))]
        if parts:
            found[name] = ", ".join(dict.fromkeys(parts))
    return found


def hub_names(references: Iterable[str]) -> list[str]:
    """The models and adapters among mergekit's references (`model@revision+adapter@revision`) that are hub names.

    What has the form of a hub name but exists on this machine is a local path, as it is for mergekit.
    """
    parts = [part.split("@")[0].strip() for reference in references for part in reference.split("+")]
    return [p for p in dict.fromkeys(parts) if _HUB_NAME.fullmatch(p) and not Path(p).exists()]


def models_in(node: Any) -> Iterator[str]:
    """The values of `base_model` and `model` keys anywhere in a recipe."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("base_model", "model") and isinstance(value, str):
                yield value
            else:
                yield from models_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from models_in(value)


def licence_in(card: str | Path) -> dict[str, str]:
    """`license`, `license_name` and `license_link` of a model card's front matter, those that it has."""
    try:
        text = Path(card).read_text(encoding="utf-8")
        matter = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return {}
    found = matter if isinstance(matter, dict) else {}
    return {key: found[key] for key in _LICENCE if isinstance(found.get(key), str)}


def _licence_of(reference: str) -> str:
    name, _, revision = reference.partition("@")
    path: str | Path | None = Path(name) / "README.md"
    if not Path(name).exists():
        try:
            cached = try_to_load_from_cache(name, "README.md", revision=revision or None)
        except HFValidationError:
            return ""
        path = cached if isinstance(cached, str) else None
    licence = licence_in(path) if path else {}
    return " ".join((licence.get("license_name") or licence.get("license", "")).split())
