"""Settings and fixtures of all tests. Torch and transformers are imported only when a test needs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run at once
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub, which reads it once

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a checkpoint with weights drawn from `seed`; the same arguments give the same folder."""
    from helpers.checkpoints import save_checkpoint

    made: dict[tuple, Path] = {}

    def make(
        architecture: str = "llama",
        seed: int = 0,
        dtype: str = "bfloat16",
        shard: str = "5GB",
        chat_template: str | None = None,
        **config: int,
    ) -> Path:
        key = (architecture, seed, dtype, shard, chat_template, *sorted(config.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"{architecture}-{seed}-")
            save_checkpoint(made[key], architecture, seed, dtype, shard, chat_template, **config)
        return made[key]

    return make


TASK = """
task: made_up
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A task of 40 made-up questions with 2 to 5 choices of one or two words."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        n = int(rng.integers(2, 6))
        words = [f"w{i}" for i in rng.choice(np.arange(4, 64), size=3 + 2 * n, replace=False)]
        choices = [" ".join(words[3 + 2 * i : 4 + 2 * i + i % 2]) for i in range(n)]
        rows.append({"question": " ".join(words[:3]), "choices": choices, "answer": int(rng.integers(n))})
    (folder / "made_up.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "made_up.yaml").write_text(TASK.format(data=folder / "made_up.jsonl"))
    return str(folder / "made_up.yaml")


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished sweep of the demo pair: 7 values of λ, 600 items. Do not write to it: copy it.

    It is run once, as a user does it, for all the processes that run tests.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    out = shared / "finished_demo" / "out"
    with FileLock(shared / "finished_demo.lock"):
        if not (out.parent / "done").exists():
            from mergekit_calib import demo

            recipe = yaml.safe_load(demo.sweep_yaml())
            recipe["calibration"]["axes"] = {"lambda": [0.25, 0.5, 0.75, 1.25, 1.5]}
            recipe["calibration"]["suite"] = [{"task": "calib_demo", "limit": 600}]
            recipe["calibration"].pop("search", None)
            out.parent.mkdir()
            (out.parent / "sweep.yml").write_text(yaml.safe_dump(recipe, sort_keys=False))
            command = [sys.executable, "-m", "mergekit_calib", "sweep", "sweep.yml", "out", "--quiet"]
            subprocess.run(command, cwd=out.parent, check=True, timeout=300)
            (out.parent / "done").touch()
    return out


@pytest.fixture
def demo_copy(finished_demo: Path, tmp_path: Path) -> Path:
    """A copy of `finished_demo` that a test may write to, with the recipe beside it."""
    shutil.copy(finished_demo.parent / "sweep.yml", tmp_path / "sweep.yml")
    return Path(shutil.copytree(finished_demo, tmp_path / "out"))
