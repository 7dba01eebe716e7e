"""With the plugin's hooks off: the command with `--include_path`, and the classes in anybody's YAML."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.their_tasks import CHOICES, DRAWN, QUESTIONS, VOTE
from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.completions import DIVERSITY
from lm_eval_tasks.pooled_metrics import POOLED_METRICS
from mergekit_calib import demo

DEMO = Path(demo.__file__).parent
OFF = {**os.environ, "MERGEKIT_CALIB_DISABLE": "1"}

RUN = """
import json, sys, lm_eval
from lm_eval.api.registry import metric_registry
from lm_eval.tasks import TaskManager
assert "ece" not in metric_registry and "distinct_2" not in metric_registry
finished = lm_eval.simple_evaluate(
    model="hf", model_args={"pretrained": sys.argv[1]}, tasks=["choices", "completions", "vote"], limit=6, device="cpu",
    batch_size=24, task_manager=TaskManager(include_path=[sys.argv[2], sys.argv[3]], include_defaults=False),
)
print(json.dumps(finished["results"]))
"""


@pytest.fixture
def their_tasks(tmp_path):
    ece = [{"metric": "acc"}, {"metric": "ece", "n_bins": 1}, {"metric": "overconfidence"}]
    diverse = [{"metric": name} for name in DIVERSITY if name != "distinct_k"]  # needs a classifier
    tasks = {
        "choices": {**QUESTIONS, **CHOICES, "metric_list": ece},
        "completions": {**QUESTIONS, **DRAWN, "doc_to_target": "", "metric_list": diverse},
        "vote": VOTE,
    }
    classes = {
        "choices": "task.CalibrationTask",
        "completions": "task.DiversityTask",
        "vote": "self_consistency.SelfConsistencyTask",
    }
    for name, config in tasks.items():
        text = f"class: !function lm_eval_tasks.{classes[name]}\n" + yaml.safe_dump({"task": name, **config})
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_the_classes_add_metrics_and_standard_errors_to_any_yaml(their_tasks):
    command = [sys.executable, "-c", RUN, str(DEMO / "base"), str(TASKS_DIR), str(their_tasks)]
    done = subprocess.run(command, env=OFF, check=True, capture_output=True, text=True)
    finished = json.loads(done.stdout.splitlines()[-1])
    choices = finished["choices"]
    assert choices["ece,none"] == pytest.approx(abs(choices["overconfidence,none"]))
    assert {"ece_stderr,none", "overconfidence_stderr,none"} <= set(choices)
    assert choices["ece_stderr,none"] > 0
    assert "brier,none" not in choices
    assert all(finished["completions"][f"{name}_stderr,none"] >= 0 for name in DIVERSITY if name != "distinct_k")
    assert {"n_words,none", "empty,none"} <= set(finished["completions"])
    assert 1 <= finished["completions"]["vendi_score,none"] <= 4
    assert finished["vote"]["ece_stderr,remove_whitespace"] > 0
    assert 0.25 <= finished["vote"]["confidence,remove_whitespace"] <= 1


def test_the_tasks_run_from_the_command_with_include_path(tmp_path):
    command = [Path(sys.executable).parent / "lm_eval", "run", "--model", "hf", "--device", "cpu", "--limit", "40"]
    command += ["--model_args", f"pretrained={DEMO / 'base'}", "--tasks", "calib_demo", "--output_path", tmp_path]
    command += ["--include_path", TASKS_DIR, "--log_samples"]
    done = subprocess.run([str(part) for part in command], env=OFF, check=True, capture_output=True, text=True)
    (written,) = tmp_path.rglob("results_*.json")
    finished = json.loads(written.read_text())["results"]["calib_demo"]
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
    for name in POOLED_METRICS:
        (shown,) = [row for row in rows if name in row]
        assert f"{finished[f'{name},none']:.4f}" in shown
        assert f"{finished[f'{name}_stderr,none']:.4f}" in shown
    (samples,) = tmp_path.rglob("samples_calib_demo_*.jsonl")
    logged = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(logged) == 40
    for sample in logged:
        labels, scores = sample["ece"]
        assert labels == [int(sample["target"])]
        assert scores == [float(response[0][0]) for response in sample["resps"]]
