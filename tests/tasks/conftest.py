"""A task of generated answers that the demo's models can do."""

from __future__ import annotations

import datasets
import pyarrow.parquet
import pytest
import yaml

from lm_eval_tasks import TASKS_DIR

QUESTIONS = TASKS_DIR / "calib_demo" / "questions.parquet"


@pytest.fixture
def questions_of_the_demo(tmp_path):
    """A YAML that includes `calib_triviaqa`, with questions that the demo's models can answer."""
    rows = []
    for row in pyarrow.parquet.read_table(QUESTIONS).to_pylist()[:40]:
        rows.append({"question": row["question"], "answer": {"aliases": [row["choices"][row["answer"]]]}})
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    config = {
        "include": str(TASKS_DIR / "calib_triviaqa" / "calib_triviaqa.yaml"),
        "task": "demo_by_vote",
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"validation": str(tmp_path / "rows.parquet")}},
        "training_split": None,
        "fewshot_split": None,
        "doc_to_text": "question : {{question}}\nanswer :",
        "generation_kwargs": {"do_sample": True, "temperature": 1.0, "max_gen_toks": 2},
    }
    (tmp_path / "demo_by_vote.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "demo_by_vote.yaml"
