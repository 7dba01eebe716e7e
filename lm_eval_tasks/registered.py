"""The names of our metrics in lm-eval's registries; a metric itself is made when lm-eval asks for it.

lm-eval reads a string `lm_eval_tasks.registered:ece` in a registry as an attribute of this module. So that importing
lm-eval loads nothing of ours, the names and directions stand here, and nothing else is imported.
"""

from __future__ import annotations

from typing import Any

POOLED = {
    "ece": False,
    "ece_mass": False,
    "rms_ce": False,
    "rms_ce_debiased": False,
    "smooth_ece": False,
    "brier": False,
    "nll": False,
    "overconfidence": False,
    "auroc": True,
    "aurc": False,
}
"""Metric of all documents together → whether more is better."""

DIVERSITY = {
    "distinct_n": True,
    "distinct_1": True,
    "distinct_2": True,
    "distinct_3": True,
    "distinct_4": True,
    "expectation_adjusted_distinct": True,
    "self_bleu": False,
    "rouge_l": False,
    "vendi_score": True,
    "compression_ratio": False,
    "answer_entropy": True,
    "distinct_k": True,
    "distinct_k_ngrams": True,
}
"""Metric of a prompt's completions → whether more is better."""


def __getattr__(name: str) -> Any:
    """Return what lm-eval's registry of metrics holds for a metric of ours; for `ece_of_all`, that of aggregations."""
    if name in POOLED:
        from lm_eval_tasks import host
        from lm_eval_tasks.pooled_metrics import POOLED_METRICS

        return host.registrable_pooled(POOLED_METRICS[name])
    if (metric := name.removesuffix("_of_all")) in POOLED:
        from lm_eval_tasks.pooled_metrics import POOLED_METRICS

        return POOLED_METRICS[metric]
    if name in DIVERSITY:
        from lm_eval_tasks import completions, host

        return host.registrable_diversity(completions.DIVERSITY[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
