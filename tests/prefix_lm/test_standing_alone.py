"""`hf-prefix` is an lm-eval model like any other: found by name, loaded from a folder, without other packages."""

from __future__ import annotations

import ast
from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

import mergekit_calib.prefix_lm
from helpers.small_tasks import ACCURACIES, CHOICES, GENERATES, QUESTIONS

PACKAGE = Path(mergekit_calib.prefix_lm.__file__).parent


@pytest.fixture
def evaluate(models, tokenizer, write_task, tmp_path):
    """A function that evaluates a saved model, given the name of an lm-eval model class."""
    folder = tmp_path / "model"
    models["llama"].save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    greedy = {**GENERATES, "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4}}
    tasks = [write_task("sums", QUESTIONS, metric_list=ACCURACIES, **CHOICES), write_task("says", QUESTIONS, **greedy)]

    def run(name: str):
        return lm_eval.simple_evaluate(
            model=name,
            model_args=f"pretrained={folder},dtype=float32",
            tasks=tasks,
            batch_size=1,
            device="cpu",
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
        )

    return run


def test_lm_eval_finds_it_by_name_and_gets_the_results_of_hf(evaluate) -> None:
    ours, theirs = evaluate("hf-prefix"), evaluate("hf")

    assert ours["results"] == theirs["results"]
    for mine, its in zip(ours["samples"]["sums"], theirs["samples"]["sums"], strict=True):
        scores = [score for score, _ in its["filtered_resps"]]
        assert [score for score, _ in mine["filtered_resps"]] == pytest.approx(scores, abs=1e-4)
    assert [s["resps"] for s in ours["samples"]["says"]] == [s["resps"] for s in theirs["samples"]["says"]]


def test_of_the_other_packages_it_imports_only_errors_and_versions() -> None:
    imported = {
        node.module
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    }
    ours = {name for name in imported if name.startswith(("mergekit_calib", "lm_eval_tasks"))}

    assert "mergekit_calib.prefix_lm.packed" in ours
    elsewhere = {name for name in ours if not name.startswith("mergekit_calib.prefix_lm")}
    assert elsewhere <= {"mergekit_calib.errors", "mergekit_calib.versions"}
