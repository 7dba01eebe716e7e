"""A generated task over prompts of the demo's models, and the demo pair as a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.scoring_fixtures import lm, model, tokenizer
from lm_eval_tasks import TASKS_DIR
from mergekit_calib import demo

__all__ = ["lm", "model", "tokenizer"]

_QUESTIONS = ("which instrument does Sedoni play ?", "which animal does Zizis keep ?", "which colour does Zizis wear ?")


@pytest.fixture
def diversity_of_the_demo(tmp_path: Path) -> Path:
    """A YAML that includes `calib_diversity`, with prompts that fit into the demo's 64 tokens."""
    rows = [{"prompt": f"question : {question}\nanswer :"} for question in _QUESTIONS for _ in range(2)]
    rows = [{"prompt": f"{row['prompt']}{' the' * (i % 2)}"} for i, row in enumerate(rows)]
    rows += [{"prompt": f"question : in which month does {name} travel ?\nanswer :"} for name in ("Sedoni", "Zizis")]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "include": str(TASKS_DIR / "calib_diversity" / "calib_diversity.yaml"),
        "task": "diversity_of_the_demo",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"curated": str(tmp_path / "prompts.jsonl")}},
        "generation_kwargs": {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 12},
        "repeats": 4,
    }
    path = tmp_path / "diversity_of_the_demo.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def demo_recipe() -> Callable[..., dict[str, Any]]:
    """The demo's recipe with another suite: two points of its axis, and keys of the block."""

    def recipe(suite: list[Any], **block: Any) -> dict[str, Any]:
        given: dict[str, Any] = yaml.safe_load(demo.sweep_yaml())
        given["calibration"] |= {"axes": {"lambda": [0.0, 0.5, 1.0]}, "suite": suite, "n_resamples": 100, **block}
        return given

    return recipe
