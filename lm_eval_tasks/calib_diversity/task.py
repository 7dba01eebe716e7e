"""The diversity of several completions of a prompt: what `calib_diversity.yaml` names, and others' YAML may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mergekit_calib import metrics

DIVERSITY = {
    "distinct_1": lambda texts: metrics.distinct_n(texts, 1),
    "distinct_2": lambda texts: metrics.distinct_n(texts, 2),
    "ead": metrics.expectation_adjusted_distinct,
    "self_bleu": metrics.self_bleu,
    "rouge_l": metrics.pairwise_rouge_l,
    "vendi": metrics.vendi_score,
    "compression_ratio": metrics.compression_ratio,
}
"""Name in `metric_list` → a function of the completions of one prompt; lm-eval averages it over prompts."""


def every_completion(responses: Iterable[Sequence[str]], docs: Any) -> list[list[str]]:
    """A filter for lm-eval that keeps all repeats of a document; its own default keeps the first."""
    return [list(completions) for completions in responses]


def process_results(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Every diversity metric of a prompt's completions, of which there must be at least 2."""
    (completions,) = results
    return {name: metric(completions) for name, metric in DIVERSITY.items()}
