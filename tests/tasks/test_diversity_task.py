"""The diversity task, run: every prompt has its completions drawn, and the metrics are those of the completions."""

from __future__ import annotations

from pathlib import Path

import lm_eval
import numpy as np
import pytest
from lm_eval.tasks import TaskManager

from lm_eval_tasks import TASKS_DIR
from mergekit_calib import demo, metrics


def test_the_metrics_are_means_over_prompts():
    finished = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(Path(demo.__file__).parent / "aligned")},
        tasks=["calib_diversity"],
        task_manager=TaskManager(include_path=str(TASKS_DIR)),
        gen_kwargs={"max_gen_toks": 12},
        limit=3,
        device="cpu",
        batch_size=8,
        apply_chat_template=True,
    )
    samples, results = finished["samples"]["calib_diversity"], finished["results"]["calib_diversity"]
    drawn = [sample["resps"][0] for sample in samples]
    assert [len(completions) for completions in drawn] == [8, 8, 8]
    assert all(len(set(completions)) > 1 for completions in drawn)

    def mean_of(metric: object, *options: object) -> object:
        return pytest.approx(np.mean([metric(completions, *options) for completions in drawn]))

    assert results["distinct_1,none"] == mean_of(metrics.distinct_n, 1)
    assert results["distinct_2,none"] == mean_of(metrics.distinct_n, 2)
    assert results["expectation_adjusted_distinct,none"] == mean_of(metrics.expectation_adjusted_distinct)
    assert results["self_bleu,none"] == mean_of(metrics.self_bleu)
    assert results["rouge_l,none"] == mean_of(metrics.pairwise_rouge_l)
    assert results["vendi_score,none"] == mean_of(metrics.vendi_score)
    assert results["compression_ratio,none"] == mean_of(metrics.compression_ratio)
    directions = finished["higher_is_better"]["calib_diversity"]
    assert {name for name in directions if directions[name]} == {
        "distinct_1",
        "distinct_2",
        "expectation_adjusted_distinct",
        "vendi_score",
    }
    assert all(results[f"{name}_stderr,none"] != "N/A" for name in directions)
