"""A copy of a host is altered as a later version might be: the hooks stand down, and the host works as before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

# What a user does without the plugin, and then the checks of `doctor`, in the same interpreter.
USES = {
    "lm-eval": """
import lm_eval.evaluator_utils, lm_eval.models
import lm_eval.tasks, lm_eval.api.task as task_module
config = {
    "task": "plain", "output_type": "multiple_choice", "test_split": "test", "doc_to_text": "question",
    "doc_to_choice": "{{choices}}", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}],
    "dataset_path": "parquet", "dataset_kwargs": {"data_files": {"test": QUESTIONS}},
}
task = getattr(task_module, "ConfigurableTask", None) or task_module.YamlTask
values = task(config=config).process_results(
    {"question": "", "choices": ["a", "b"], "answer": 1}, [(-2.0, False), (-1.0, True)]
)
assert values == {"acc": 1.0}, values
""",
    "mergekit": """
import mergekit.merge, mergekit.scripts.run_yaml, torch
from mergekit.merge_methods import merge_state_dicts
one, two = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
merged = merge_state_dicts([one, two], "linear", parameters={"weight": 1.0})["w"]
assert merged.tolist() == [0.5, 0.5], merged
""",
}
RUN = """
QUESTIONS = {questions!r}
{use}
from mergekit_calib.commands import host_checks
host_checks.main([{check!r}])
import {package}; print({package}.__file__)
"""

# The host, the check of `doctor` that fails, a word in the message, and what is replaced where in the host's source.
ALTERATIONS = {
    "a module is renamed": (
        "lm-eval",
        "tasks",
        "no module lm_eval.tasks.manager",
        {"tasks/manager.py": "tasks/index.py", r"\btasks\.manager\b": "tasks.index"},
    ),
    "an argument of TaskManager is renamed": ("lm-eval", "tasks", "TaskManager takes", {r"\binclude_path\b": "paths"}),
    "a function is gone": ("lm-eval", "metrics", "stderr_for_metric", {r"\bstderr_for_metric\b": "error_of"}),
    "a registry is renamed": ("lm-eval", "metrics", "metric_registry", {r"\bmetric_registry\b": "metrics_by_name"}),
    "the tasks' class is renamed": ("lm-eval", "metrics", "ConfigurableTask", {r"\bConfigurableTask\b": "YamlTask"}),
    "process_results takes other arguments": (
        "lm-eval",
        "metrics",
        "process_results takes",
        {r"def process_results\(self, doc, results\)": "def process_results(self, doc, results, context=None)"},
    ),
    "a task keeps its metrics elsewhere": ("lm-eval", "metrics", "_metric_fn_list", {r"\b_metric_fn_list\b": "_fns"}),
    "the models' registry is renamed": (
        "lm-eval",
        "model",
        "model_registry",
        {r"\bmodel_registry\b": "models_by_name"},
    ),
    "an argument of run_merge is renamed": ("mergekit", "sweep", "run_merge takes", {r"\bconfig_source\b": "text"}),
    "an option of mergekit-yaml is renamed": (
        "mergekit",
        "sweep",
        "the command mergekit-yaml takes",
        {r"\bconfig_file\b": "recipe_file"},
    ),
    "mergekit has no registered_methods": (
        "mergekit",
        "method",
        "registered_methods",
        {r"\bregistered_methods\b": "all_methods"},
    ),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> Path:
    """The hosts' Python files, without lm-eval's tasks."""
    top = tmp_path_factory.mktemp("hosts")
    for package in ("mergekit", "lm_eval"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        home = Path(spec.origin).parent

        def left_out(folder: str, names: list[str], home: Path = home) -> list[str]:
            folders = [name for name in names if Path(folder, name).is_dir()]
            return folders if Path(folder) == home / "tasks" else [n for n in folders if n == "__pycache__"]

        shutil.copytree(home, top / package, ignore=left_out)
    return top


def altered(copies: Path, to: Path, package: str, replacements: dict[str, str]) -> Path:
    """Return a folder with a copy of a package in which patterns are replaced, and files named by paths are moved."""
    shutil.copytree(copies / package, to / package)
    for pattern, new in replacements.items():
        if pattern.endswith(".py"):
            (to / package / pattern).rename(to / package / new)
            continue
        n_replaced = 0
        for path in (to / package).rglob("*.py"):
            text, n = re.subn(pattern, new, path.read_text(encoding="utf-8"))
            if n:
                path.write_text(text, encoding="utf-8")
            n_replaced += n
        assert n_replaced, f"{package} has no {pattern}: this test alters nothing"
    return to


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_with_an_altered_host_one_message_says_so_and_the_host_works(alteration, copies, tmp_path):
    from lm_eval_tasks import TASKS_DIR

    host, check, word, replacements = ALTERATIONS[alteration]
    package = host.replace("-", "_")
    folder = altered(copies, tmp_path, package, replacements)
    questions = str(TASKS_DIR / "calib_demo" / "questions.parquet")
    program = RUN.format(use=USES[host], check=check, package=package, questions=questions)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=tempfile.gettempdir(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found, file = done.stdout.splitlines()[-2:]
    assert file.startswith(str(folder))
    assert word in json.loads(found)[check]
    messages = [line for line in done.stderr.splitlines() if line.startswith("mergekit-calib:")]
    assert len(messages) == 1
    assert f"not active in {host}" in messages[0]
    assert "made for " in messages[0]
    assert word in messages[0]
