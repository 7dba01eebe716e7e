"""The small sweep whose folder is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from faults.damage import FinishedRun, printed
from helpers.checkpoints import save_checkpoint
from helpers.small_tasks import ACCURACIES, CHOICES
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.recipe import dump_recipe


@contextmanager
def without_pictures() -> Iterator[None]:
    """Draw no pictures while the context lasts: they take four times as long as all else in these runs."""
    from mergekit_calib.report.figures import pictures

    drawn, pictures.draw_pictures = pictures.draw_pictures, lambda *_: {}
    try:
        yield
    finally:
        pictures.draw_pictures = drawn


def finished_run(to: Path, points: int = 3) -> FinishedRun:
    """Make a task and two small models, sweep over them, and return the finished run.

    Args:
        to: an empty folder.
        points: how many values λ has.
    """
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(24):  # of words that the small models know
        words = [f"w{i}" for i in rng.choice(np.arange(4, 64), size=6, replace=False)]
        rows.append({"question": " ".join(words[:3]), "options": words[3:], "answer": int(rng.integers(3))})
    task = {
        "task": "words",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(to / "words.jsonl")}},
    }
    task |= {"test_split": "test", "output_type": "multiple_choice", "metric_list": ACCURACIES[:1], **CHOICES}
    (to / "words.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (to / "words.yaml").write_text(yaml.safe_dump(task))
    for seed in (0, 1):
        save_checkpoint(to / f"model{seed}", "llama", seed, "bfloat16", "5GB", None)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(to / "model0"),
        "models": [{"model": str(to / "model1")}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": [i / (points - 1) for i in range(points)]},
            "suite": [str(to / "words.yaml")],
            "model_args": {"dtype": "float32"},
            "n_resamples": 100,
        },
    }
    text = dump_recipe(recipe)
    lines, problem = printed(lambda: run_source(text, str(to / "out" / "out")))
    if problem is not None:
        raise RuntimeError(lines) from problem
    return FinishedRun(text, to / "out" / "out")
