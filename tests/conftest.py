"""Settings and fixtures of all tests. Torch and transformers are imported only when a test needs them."""

from __future__ import annotations

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run at once
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub, which reads it once

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


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
