"""A suite scores one model after another, reports progress, prints nothing and applies chat templates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.small_tasks import CHOICES, GENERATES, QUESTIONS, table_of
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.scoring.item_tables import ScoringError


def test_a_suite_scores_model_after_model(write_task, load_suite, model, tokenizer, lm) -> None:
    suite = load_suite(write_task("sums", QUESTIONS, **CHOICES))
    before = table_of(suite, lm)
    with torch.no_grad():
        kept = model.lm_head.weight.clone()
        model.lm_head.weight.mul_(0.5)
        changed = table_of(suite, build_lm(model, tokenizer))
        model.lm_head.weight.copy_(kept)
    after = table_of(suite, lm)

    assert not np.allclose(changed.log_likelihoods, before.log_likelihoods, equal_nan=True)
    np.testing.assert_array_equal(after.log_likelihoods, before.log_likelihoods)


def test_sampled_answers_are_paired_across_models(write_task, load_suite, lm) -> None:
    suite = load_suite(write_task("says", QUESTIONS, **GENERATES), repeats=2, limit=4)

    first = table_of(suite, lm)
    torch.rand(5)

    assert table_of(suite, lm).generations == first.generations


@pytest.mark.filterwarnings("ignore:scored as lm-eval")
def test_a_log_likelihood_of_nan_is_an_error_that_names_the_document(write_task, load_suite, model, tokenizer) -> None:
    suite = load_suite(write_task("sums", QUESTIONS, **CHOICES))
    with torch.no_grad():
        kept = model.lm_head.weight.clone()
        model.lm_head.weight.fill_(torch.nan)
        with pytest.raises(ScoringError, match="task sums, document 0: a log-likelihood is not a number"):
            suite.score(build_lm(model, tokenizer))
        model.lm_head.weight.copy_(kept)


def test_progress_counts_every_request_once(write_task, load_suite, lm) -> None:
    lm.batch_limits.step_tokens = 8
    path = write_task("sums", QUESTIONS, **CHOICES)
    events: list[tuple[str, int, int]] = []

    load_suite(path).score(lm, progress=lambda *event: events.append(event))

    total = sum(len(q["options"]) for q in QUESTIONS)
    assert {(name, n) for name, _, n in events} == {("sums", total)}
    assert [done for _, done, _ in events] == sorted(done for _, done, _ in events)
    assert events[0][1] < total
    assert events[-1][1] == total


def test_nothing_is_written_to_the_terminal(write_task, load_suite, model, tokenizer, capfd) -> None:
    suite = load_suite(write_task("sums", QUESTIONS, **CHOICES))
    capfd.readouterr()

    suite.score(build_lm(model, tokenizer))

    assert capfd.readouterr() == ("", "")


def test_a_missing_chat_template_is_an_error(write_task, load_suite, tokenizer) -> None:
    suite = load_suite(write_task("sums", QUESTIONS, **CHOICES), apply_chat_template=True)
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>")

    suite.check_chat_template(tokenizer)
    with pytest.raises(Exception, match="the tokenizer of the merged models has no chat template"):
        suite.check_chat_template(bare)


def test_a_chat_template_asked_for_by_name_is_used(write_task, load_suite, model, tokenizer, tmp_path: Path) -> None:
    path = write_task("sums", QUESTIONS, **CHOICES)
    two = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>")
    two.pad_token = "<pad>"
    two.chat_template = {"default": "D{{ messages[0].content }}", "terse": "T{{ messages[0].content }}"}
    prompts = {}
    for name in (True, "terse"):
        suite = load_suite(path, apply_chat_template=name, limit=1)
        suite.build_requests(build_lm(model, two))
        prompts[name] = suite.entries[0].tasks[0].instances[0].args[0]

    assert prompts == {True: "D1 and 1 are", "terse": "T1 and 1 are"}
    with pytest.raises(Exception, match="no chat template 'curt'; it has default, terse"):
        load_suite(path, apply_chat_template="curt", limit=1).build_requests(build_lm(model, two))
