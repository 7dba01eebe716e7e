"""The script that tunes the real pair's sibling: its prompts, its packed rows, its loss, and that it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import lm_eval.tasks
import pytest
import torch
import yaml
from lm_eval.utils import apply_template
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from benchmarks import make_real_pair
from benchmarks.make_real_pair import Question, Settings

# Rows as in `allenai/ai2_arc`, in words of the test's tokenizer; choices of one to three tokens.
ROWS: list[dict[str, Any]] = [
    {
        "question": "w10 w11 w12",
        "choices": {"text": ["w20", "w21 w22", "w20 w23 w24", "w25"], "label": ["A", "B", "C", "D"]},
        "answerKey": "C",
    },
    {
        "question": "w13",
        "choices": {"text": ["w30 w31", "w32", "w33 w34"], "label": ["1", "2", "3"]},
        "answerKey": "1",
    },
]


@pytest.fixture(scope="module")
def folder(make_model: Callable[..., Path]) -> Path:
    return make_model("llama", dtype="float32")


@pytest.fixture(scope="module")
def questions(folder: Path) -> list[Question]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [make_real_pair.tokenize(row, tokenizer) for row in ROWS]


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("row", ROWS)
def test_a_question_is_tokenized_in_the_format_of_lm_evals_arc_easy(row: dict[str, Any], folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    path = Path(lm_eval.tasks.__file__).parent / "arc" / "arc_easy.yaml"
    task = yaml.safe_load(path.read_text(encoding="utf-8"))
    question = make_real_pair.tokenize(row, tokenizer)
    prompt = apply_template(task["doc_to_text"], row)
    assert question.prompt == tokenizer(prompt)["input_ids"]
    for choice, tokens in zip(row["choices"]["text"], question.choices, strict=True):
        assert question.prompt + tokens == tokenizer(f"{prompt} {choice}")["input_ids"]
    assert question.label == int(apply_template(task["doc_to_target"], row))


def test_a_packed_row_holds_each_prompt_once_and_no_last_token_of_a_choice():
    questions = [Question([5, 6], [[7], [8, 9]], 1), Question([5], [[4, 4, 3], [2]], 0)]
    batch = make_real_pair.pack(questions)
    assert batch.tokens.tolist() == [[5, 6, 8, 5, 4, 4]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 2]]
    assert batch.reads.tolist() == [1, 2, 3, 4, 5]
    assert batch.targets.tolist() == [7, 8, 9, 4, 4, 3, 2]
    assert batch.reads[batch.read_of].tolist() == [1, 1, 2, 3, 4, 5, 3]
    assert batch.choice_of.tolist() == [0, 1, 1, 2, 2, 2, 3]
    assert (batch.mask[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 1],
    ]


@torch.no_grad()
def test_log_likelihoods_equal_those_of_each_choice_run_alone(folder: Path, questions: list[Question]):
    model = load(folder).eval()
    packed = make_real_pair.log_likelihoods(model, make_real_pair.pack(questions))
    for question, log_p in zip(questions, packed, strict=True):
        for choice, log_p_choice in zip(question.choices, log_p, strict=True):
            log_probabilities = model(torch.tensor([question.prompt + choice])).logits[0].log_softmax(-1)
            first = len(question.prompt) - 1
            alone = sum(float(log_probabilities[first + i, token]) for i, token in enumerate(choice))
            assert float(log_p_choice) == pytest.approx(alone, abs=1e-4)


def test_the_loss_is_the_mean_negative_log_preference_for_the_correct_choice():
    # exp(0.1 * log p): 1/2 and 1/4 for the first question, 1, 1 and 2 for the second.
    first = torch.tensor([10 * math.log(1 / 2), 10 * math.log(1 / 4)])
    second = torch.tensor([0.0, 0.0, 10 * math.log(2)])
    loss = make_real_pair.preference_loss([first, second], [0, 1])
    assert float(loss) == pytest.approx((-math.log(2 / 3) - math.log(1 / 4)) / 2, rel=1e-5)


def test_training_lowers_the_loss_and_changes_the_adapter_alone(
    folder: Path, questions: list[Question], tmp_path: Path
):
    base = load(folder)
    before = {name: parameter.clone() for name, parameter in base.named_parameters()}
    batch = make_real_pair.pack(questions)
    with torch.no_grad():
        first_loss = make_real_pair.preference_loss(make_real_pair.log_likelihoods(base, batch), batch.labels)
    model = make_real_pair.train(base, questions * 20, Settings(None, 0, batch_size=2), tmp_path / "training.pt")
    with torch.no_grad():
        last_loss = make_real_pair.preference_loss(make_real_pair.log_likelihoods(model, batch), batch.labels)
    assert last_loss < first_loss
    restored = dict(model.unload().named_parameters())
    assert restored.keys() == before.keys()
    assert all(torch.equal(restored[name], parameter) for name, parameter in before.items())


def test_training_that_was_stopped_goes_on_to_the_same_sibling(folder: Path, questions: list[Question], tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = Settings(None, 7, batch_size=1)
    whole = make_real_pair.train(load(folder), questions * 3, settings, tmp_path / "whole.pt")
    make_real_pair.train(load(folder), questions * 3, settings, tmp_path / "stopped.pt", stop_after=4)
    continued = make_real_pair.train(load(folder), questions * 3, settings, tmp_path / "stopped.pt")
    for name, model in (("whole", whole), ("continued", continued)):
        make_real_pair.write_sibling(model, tokenizer, tmp_path / name)
    aligned, again = (dict(load(tmp_path / name / "aligned").named_parameters()) for name in ("whole", "continued"))
    assert all(torch.equal(again[name], parameter) for name, parameter in aligned.items())
    base = dict(load(folder).named_parameters())
    changed = {name.split(".")[-2] for name, parameter in aligned.items() if not torch.equal(base[name], parameter)}
    assert changed >= set(make_real_pair.LORA["target_modules"])


def test_a_training_state_of_other_options_is_refused(folder: Path, questions: list[Question], tmp_path: Path):
    make_real_pair.train(load(folder), questions, Settings(2, 0), tmp_path / "training.pt")
    with pytest.raises(click.UsageError, match=r"training\.pt was written with .*'limit': 2"):
        make_real_pair.train(load(folder), questions, Settings(None, 0), tmp_path / "training.pt")
