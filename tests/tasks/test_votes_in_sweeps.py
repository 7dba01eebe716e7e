"""Sweeps over tasks whose answers are generated: votes and diversity as objectives."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import yaml
from mergekit.options import MergeOptions

from lm_eval_tasks import TASKS_DIR
from mergekit_calib import demo
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep


def sweep(folder: Path, suite: list[object], objectives: list[object]) -> Frontier:
    recipe = yaml.safe_load(demo.sweep_yaml())
    block = {"axes": {"lambda": [0.0, 1.0]}, "suite": suite, "objectives": objectives, "n_resamples": 100}
    recipe["calibration"] |= block
    register()
    parsed = parse_sweep(dump_recipe(recipe), registered_signatures())
    return run_sweep(parsed, folder / "out", MergeOptions(quiet=True))


def test_accuracy_and_calibration_of_majorities_can_be_objectives(questions_of_the_demo, tmp_path):
    frontier = sweep(tmp_path, [str(questions_of_the_demo)], ["acc", "ece"])
    for point in frontier.points:
        of_votes = point.metrics["demo_by_vote"]
        assert {"acc", "ece", "rms_ce_debiased", "brier", "confidence"} <= set(of_votes)
        assert of_votes["ece"]["all"].n == 40
        assert point.metrics["suite"]["ece"]["all"] == of_votes["ece"]["all"]


def test_pass_at_k_and_maj_at_k_can_be_objectives(questions_of_the_demo, tmp_path):
    frontier = sweep(tmp_path, [{"task": str(questions_of_the_demo), "repeats": 4}], ["pass@4", "maj@4"])
    assert [objective.direction for objective in frontier.objectives] == ["maximize", "maximize"]
    for point in frontier.points:
        of_votes = point.metrics["demo_by_vote"]
        assert of_votes["pass@1"]["all"].value <= of_votes["pass@4"]["all"].value
        assert of_votes["maj@4"]["all"].value == of_votes["acc"]["all"].value
        assert "pass@8" not in of_votes


def test_the_tokens_of_answers_can_be_an_objective_and_cut_off_answers_are_shown(questions_of_the_demo, tmp_path):
    options = {"temperature": 50.0}  # so that few answers end within the 8 tokens of the demo's generation config
    vote = {"task": str(questions_of_the_demo), "gen_kwargs": options, "repeats": 2}
    frontier = sweep(tmp_path, [vote], ["acc", "tokens"])
    assert frontier.objectives[1].direction == "minimize"
    for point in frontier.points:
        of_votes = point.metrics["demo_by_vote"]
        assert 1 < of_votes["tokens"]["all"].value <= 8
        assert 0 < of_votes["cut_off"]["all"].value <= 1
        assert of_votes["tokens"]["all"].n == 40
    (note,) = [note for note in frontier.notes if "cut off" in note]
    assert note.startswith("demo_by_vote: ")
    assert "answers are cut off by the limit of tokens" in note


def test_stated_confidences_and_proposed_answers_can_be_objectives(stated_in_the_demo, tmp_path):
    rows = [{"question": f"the {i}", "proposed": f"word {i % 7}", "correct": i % 3 == 0} for i in range(40)]
    (tmp_path / "proposed.json").write_text(json.dumps(rows))
    proposed = {
        "include": str(TASKS_DIR / "_p_true_yaml"),
        "task": "my_p_true",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "proposed.json")}},
        "test_split": "test",
    }
    (tmp_path / "my_p_true.yaml").write_text(yaml.safe_dump(proposed))
    stated, p_true = str(stated_in_the_demo), str(tmp_path / "my_p_true.yaml")
    objectives = [{"task": stated, "metric": "ece"}, {"task": p_true, "metric": "brier"}]
    frontier = sweep(tmp_path, [stated, p_true], objectives)
    for point in frontier.points:
        of_stated = point.metrics["demo_stated"]
        assert of_stated["unparsed"]["all"].value == 0.25
        assert of_stated["confidence"]["all"].value == pytest.approx(0.75 * 0.7)
        assert {"ece", "rms_ce_debiased", "brier", "tokens"} <= set(of_stated)
        assert 0 < point.metrics["my_p_true"]["brier"]["all"].value < 2


def test_votes_and_diversity_can_be_objectives_beside_tasks_with_choices(questions_of_the_demo, tmp_path):
    vote, diversity = str(questions_of_the_demo), {"task": "calib_diversity", "metric": "vendi_score"}
    suite = [
        {"task": "calib_demo", "limit": 60},
        vote,
        {"task": "calib_diversity", "limit": 8, "repeats": 3, "gen_kwargs": {"max_gen_toks": 6}},
    ]
    frontier = sweep(tmp_path, suite, ["acc", {"task": vote, "metric": "ece"}, diversity])
    for point in frontier.points:
        assert 1 <= point.metrics["calib_diversity"]["vendi_score"]["all"].value <= 3
        assert 0 <= point.metrics["demo_by_vote"]["ece"]["all"].value <= 1
        assert point.metrics["suite"]["acc"]["all"].n == 60
    for baseline in frontier.baselines:  # a temperature fitted to choices says nothing about votes
        assert "ece" not in baseline.metrics.get("demo_by_vote", {})


def test_empty_texts_are_mentioned_in_the_notes_and_on_the_card(tmp_path):
    no_letters = {"max_gen_toks": 3, "until": list("abcdefghijklmnopqrstuvwxyz")}
    diversity = {"task": "calib_diversity", "limit": 4, "repeats": 2, "gen_kwargs": no_letters}
    frontier = sweep(tmp_path, [{"task": "calib_demo", "limit": 60}, diversity], ["acc", "ece"])
    (note,) = [note for note in frontier.notes if note.startswith("calib_diversity: ")]
    stated = re.match(r"calib_diversity: \d+ % of λ = [01]'s texts are empty, \d+ % of λ = [01]'s\.", note)
    assert stated
    for page in ("README.md", "calibration/report.html"):
        text = html.unescape((tmp_path / "out" / page).read_text(encoding="utf-8"))
        assert stated[0].split(": ")[1] in text
