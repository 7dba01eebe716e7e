"""Score the demo by lm-eval, by a card and by a small sweep, and print the numbers as JSON: for any lm-eval.

`test_second_lm_eval.py` runs it with each supported version, and with `tests/` on the path.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

from helpers.their_tasks import CHOICES, DRAWN, QUESTIONS, VOTE
from lm_eval_tasks import TASKS_DIR
from mergekit_calib.demo import parents
from mergekit_calib.versions import installed_version


def tasks_of_others(folder: Path) -> list[str]:
    """Write tasks that list our metrics, or name one of our classes; return their names."""
    plain = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    calibration = [{"metric": "ece", "n_bins": 5}, {"metric": "nll"}]
    diversity = [{"metric": "distinct_2"}, {"metric": "vendi_score"}]
    choices = {**QUESTIONS, **CHOICES, "output_type": "multiple_choice"}
    tasks = {
        "listed": {**choices, "metric_list": [*plain, *calibration]},
        "plain": {**choices, "metric_list": plain},
        "drawn": {**QUESTIONS, **DRAWN, "output_type": "generate_until", "doc_to_target": "", "metric_list": diversity},
        "vote": VOTE,
    }
    for name, config in tasks.items():
        head = "class: !function lm_eval_tasks.self_consistency.SelfConsistencyTask\n" if name == "vote" else ""
        (folder / f"{name}.yaml").write_text(head + yaml.safe_dump({"task": name, **config}))
    return [*tasks]


def main(folder: Path) -> None:
    """Print what lm-eval, a card and a sweep give; everything is written into `folder`."""
    from mergekit_calib.cards.from_models import score_models
    from mergekit_calib.recipe import SuiteEntry
    from mergekit_calib.sweep.coordinator import run_sweep

    base, aligned = map(str, parents())
    (folder / "tasks").mkdir()
    names = tasks_of_others(folder / "tasks")
    reported = lm_eval.simple_evaluate(
        model="hf-prefix",
        model_args={"pretrained": base, "dtype": "float32"},
        tasks=["calib_demo", *names],
        task_manager=TaskManager(include_path=[str(TASKS_DIR), str(folder / "tasks")], include_defaults=False),
        limit=24,
        device="cpu",
        batch_size=24,
        bootstrap_iters=100,
    )["results"]
    suite = [SuiteEntry(task=task, limit=24) for task in ("calib_demo", str(folder / "tasks" / "vote.yaml"))]
    card = score_models([base], suite, n_resamples=20)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": base,
        "models": [{"model": aligned}],
        "dtype": "float32",
        "calibration": {"axes": {"lambda": [0, 0.5, 1]}, "suite": [{"task": "calib_demo", "limit": 60}]},
    }
    (folder / "sweep.yml").write_text(yaml.safe_dump(recipe))
    frontier = run_sweep(folder / "sweep.yml", folder / "out")
    found = {
        "version": installed_version("lm-eval"),
        "folder": str(Path(lm_eval.__file__).parent),
        "reported": reported,
        "card": [model.model_dump(mode="json")["metrics"] for model in card.models],
        "points": {point.id: point.model_dump(mode="json")["metrics"] for point in frontier.points},
    }
    (folder / "found.json").write_text(json.dumps(found, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
