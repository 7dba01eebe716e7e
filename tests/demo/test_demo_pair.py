"""The demo pair: its size, tokenizer and questions, and the trade-off that it was made to show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from lm_eval.utils import handle_non_serializable, hash_string
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.simulated_models import ACC, ECE
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.cli import main
from mergekit_calib.demo import parents, sweep_yaml
from mergekit_calib.demo.facts import RELATIONS, TUNED_RELATIONS, Question, World, prompt
from mergekit_calib.demo.train import make_tokenizer, option_probabilities, tune
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import choice_table, in_selection_split
from mergekit_calib.metrics import expected_calibration_error
from mergekit_calib.pareto import DEFAULT_RULE
from mergekit_calib.results.frontier import Frontier, PointResult

REPOSITORY = Path(__file__).parents[2]
LAMBDAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    from lm_eval_tasks.calib_demo.dataset import load

    return [Question(d["question"], tuple(d["choices"]), d["answer"], d["relation"]) for d in load()["test"]]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(parents()[1])


@pytest.fixture(scope="module")
def doc_hashes() -> list[str]:
    from lm_eval_tasks.calib_demo.dataset import load

    texts = [json.dumps(d, indent=2, default=handle_non_serializable, ensure_ascii=False) for d in load()["test"]]
    return [hash_string(text) for text in texts]


@pytest.fixture(scope="module")
def in_held_out_split(doc_hashes) -> np.ndarray:
    return np.array([not in_selection_split(doc_hash) for doc_hash in doc_hashes])


@pytest.fixture(scope="module")
def scored(questions, tokenizer) -> dict[float, np.ndarray]:
    """λ → (n_questions, 4) probabilities, from linear merges in bfloat16, scored in float32."""
    base, aligned = (load_file(path / "model.safetensors") for path in parents())
    model = AutoModelForCausalLM.from_pretrained(parents()[0], dtype=torch.float32)
    probabilities = {}
    for lambda_ in LAMBDAS:
        merged = {
            name: ((1 - lambda_) * base[name].float() + lambda_ * aligned[name].float()).bfloat16() for name in base
        }
        model.load_state_dict(merged, strict=False)  # the tied output matrix is not in the file
        probabilities[lambda_] = option_probabilities(model, tokenizer, questions)
    return probabilities


def correct(probabilities: np.ndarray, questions: list[Question]) -> np.ndarray:
    return probabilities.argmax(axis=1) == np.array([q.answer for q in questions])


def ece(probabilities: np.ndarray, questions: list[Question], rows: np.ndarray) -> float:
    labels = np.array([q.answer for q in questions])
    return float(expected_calibration_error(probabilities[rows], labels[rows], n_bins=15))


def one_sided_p(gain: np.ndarray, n_resamples: int = 5000) -> float:
    """Return the one-sided p-value of a mean gain, from the centred paired bootstrap."""
    resamples = np.random.default_rng(0).integers(len(gain), size=(n_resamples, len(gain)))
    null = gain[resamples].mean(axis=1) - gain.mean()
    return float((1 + (null >= gain.mean()).sum()) / (1 + n_resamples))


def test_both_checkpoints_are_bfloat16_safetensors_of_one_shape_under_five_megabytes():
    base, aligned = (load_file(path / "model.safetensors") for path in parents())
    assert {n: t.shape for n, t in base.items()} == {n: t.shape for n, t in aligned.items()}
    assert {t.dtype for t in (*base.values(), *aligned.values())} == {torch.bfloat16}
    assert sum(f.stat().st_size for path in parents() for f in path.iterdir()) < 5e6
    for path in parents():
        assert json.loads((path / "config.json").read_text())["dtype"] == "bfloat16"


def test_every_answer_adds_one_known_token_to_its_prompt(tokenizer, questions):
    asked = [prompt(q.question) for q in questions[:200]]
    answered = [f"{text} {q.choices[q.answer]}" for text, q in zip(asked, questions, strict=False)]
    for before, after in zip(tokenizer(asked).input_ids, tokenizer(answered).input_ids, strict=True):
        assert before == after[:-1]
        assert before[0] == tokenizer.bos_token_id
        assert tokenizer.unk_token_id not in after
    values = [value for relation in RELATIONS for value in relation.values]
    assert all(len(tokenizer(value, add_special_tokens=False).input_ids) == 1 for value in values)


def test_the_shipped_tokenizer_has_the_vocabulary_that_the_script_makes(tokenizer, world):
    assert tokenizer.get_vocab() == make_tokenizer(world).get_vocab()


def test_only_the_aligned_model_has_a_chat_template_and_sampling_settings(tokenizer, questions):
    base, _ = parents()
    assert AutoTokenizer.from_pretrained(base).chat_template is None
    assert not (base / "chat_template.jinja").exists()
    chat = [{"role": "user", "content": prompt(questions[0].question)}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == f"<s><|user|> {prompt(questions[0].question)} <|assistant|>"
    settings = [json.loads((path / "generation_config.json").read_text()) for path in parents()]
    assert "temperature" not in settings[0]
    assert settings[1]["temperature"] > 0


def test_the_shipped_questions_are_those_of_the_world_and_have_four_different_options(questions, world):
    assert questions == world.questions("heldout")
    assert len(questions) >= 1500
    assert len({q.question for q in questions}) == len(questions)
    assert all(len(set(q.choices)) == 4 and 0 <= q.answer < 4 for q in questions)


def test_no_question_of_the_task_is_used_for_tuning_or_validation_or_in_the_text(questions, world):
    asked = {q.question for q in questions}
    assert asked.isdisjoint(q.question for q in world.questions("tuning"))
    assert asked.isdisjoint(q.question for q in world.questions("validation"))
    lines = world.text(20_000, np.random.default_rng(0))
    in_text = {line.removeprefix("question : ").split("\n")[0] for line in lines if line.startswith("question")}
    assert len(in_text) > 100
    assert asked.isdisjoint(in_text)


def test_the_task_also_asks_for_relations_that_tuning_does_not(questions):
    untuned = {relation.name for relation in RELATIONS} - TUNED_RELATIONS
    assert len(untuned) == 3
    assert untuned < {q.relation for q in questions}


def test_the_text_states_the_truth_mostly_but_not_always(world):
    (person,) = np.argmax(world.frequency.sum(axis=1, keepdims=True), axis=0)
    name, relation = world.people[person], RELATIONS[0]
    stated = [line.split()[-2] for line in world.text(40_000, np.random.default_rng(0)) if f"{name} plays" in line]
    share = stated.count(relation.values[world.truth[person, 0]]) / len(stated)
    assert 0.5 < share < 1.0


def test_tuning_is_the_same_twice(tokenizer, world, monkeypatch):
    monkeypatch.setattr("mergekit_calib.demo.train.TUNING_STEPS", 3)
    questions = world.questions("tuning")[:100]
    models = [AutoModelForCausalLM.from_pretrained(parents()[0], dtype=torch.float32) for _ in range(2)]
    for model in models:
        tune(model, tokenizer, questions)
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_aligned_is_at_least_twice_as_miscalibrated_as_base(scored, questions, in_held_out_split):
    base, aligned = ece(scored[0.0], questions, in_held_out_split), ece(scored[1.0], questions, in_held_out_split)
    assert aligned >= 2 * base


def test_extrapolation_is_less_calibrated_than_the_aligned_model(scored, questions, in_held_out_split):
    assert ece(scored[1.5], questions, in_held_out_split) > 1.2 * ece(scored[1.0], questions, in_held_out_split)


def test_a_point_chosen_on_one_split_beats_both_parents_on_the_other(scored, questions, in_held_out_split):
    answers = {lambda_: correct(p, questions).astype(float) for lambda_, p in scored.items()}
    chosen = max(LAMBDAS[1 : LAMBDAS.index(1.0)], key=lambda lambda_: answers[lambda_][~in_held_out_split].mean())
    for parent in (0.0, 1.0):
        assert one_sided_p((answers[chosen] - answers[parent])[in_held_out_split]) < 0.01
    assert ece(scored[chosen], questions, in_held_out_split) < 0.6 * ece(scored[1.0], questions, in_held_out_split)


def test_the_default_rule_chooses_a_point_that_is_dominated_on_neither_split(scored, questions, doc_hashes):
    analysis = SweepAnalysis((ACC, ECE), BUILT_IN, level=0.95, n_resamples=200, n_bins=15, seed=0, choose_on="all")
    points = []
    for lambda_, probabilities in scored.items():
        role = {0.0: "base", 1.0: "aligned"}.get(lambda_)
        points.append(PointResult(id=f"lambda={lambda_:g}", role=role, axes={"lambda": lambda_}, recipe=""))
        table = choice_table(np.log(probabilities).tolist(), [[q.answer] for q in questions])
        analysis.add(points[-1], {"calib_demo": [replace(table, task="calib_demo", doc_hashes=doc_hashes)]})
    selection = analysis.conclude(points, DEFAULT_RULE, {})
    chosen = next(p for p in points if p.id == selection.point)
    assert chosen.role is None
    assert chosen.dominated_by == {"all": [], "selection": [], "held_out": []}


def test_the_recipe_in_the_checkout_is_the_installed_one_except_for_paths():
    checkout = (REPOSITORY / "configs" / "demo.yml").read_text(encoding="utf-8")
    recipe, installed = yaml.safe_load(checkout), yaml.safe_load(sweep_yaml())
    base, aligned = parents()
    assert installed.pop("base_model") == str(base)
    assert installed.pop("models") == [{"model": str(aligned)}]
    named = [recipe.pop("base_model"), recipe.pop("models")[0]["model"]]
    for ours, theirs in zip(named, (base, aligned), strict=True):
        weights = [folder / "model.safetensors" for folder in (REPOSITORY / ours, theirs)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert recipe == installed


def test_a_first_look_scores_fewer_points_on_fewer_questions():
    block, whole = (yaml.safe_load(text)["calibration"] for text in (sweep_yaml(points=6, limit=1000), sweep_yaml()))
    assert block.pop("search") == {"points": 6}
    assert block.pop("suite") == [{"task": "calib_demo", "limit": 1000}]
    assert whole.pop("suite") == ["calib_demo"]
    assert block == whole


def test_the_command_takes_the_options_of_a_first_look(tmp_path):
    done = CliRunner().invoke(main, ["demo", str(tmp_path / "out"), "--points", "1", "--limit", "60"])
    assert done.exit_code == 0, done.output
    frontier = Frontier.load(tmp_path / "out")
    assert [entry.n_items for entry in frontier.suite] == [60]
    assert len(frontier.points) == 3
