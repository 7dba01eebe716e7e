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


# The demo's models cannot follow instructions: this filter makes a statement of the word that they answer.
LABELLED = """
def labelled(resps, docs):
    return [[_stated(i, text) for text in texts] for i, texts in enumerate(resps)]

def _stated(i, text):
    return "no idea" if i % 4 == 3 else f"Guess: {text.strip()}\\nConfidence: 70"
"""


@pytest.fixture
def stated_in_the_demo(questions_of_the_demo):
    """A YAML that includes `calib_verbalized_triviaqa`, with the demo's answers; every fourth is no statement."""
    config = yaml.safe_load(questions_of_the_demo.read_text()) | {
        "include": str(TASKS_DIR / "calib_verbalized" / "calib_verbalized_triviaqa.yaml"),
        "task": "demo_stated",
        "test_split": "validation",
        "generation_kwargs": {"do_sample": False, "until": ["."], "max_gen_toks": 2},
    }
    config = {key: value for key, value in config.items() if value is not None or key == "dataset_name"}
    filters = (
        "filter_list:\n- name: labelled\n  filter:\n  - function: custom\n"
        "    filter_fn: !function demo_stated_code.labelled\n  - function: take_first\n"
    )
    (questions_of_the_demo.parent / "demo_stated_code.py").write_text(LABELLED)
    path = questions_of_the_demo.with_name("demo_stated.yaml")
    path.write_text(yaml.safe_dump(config) + filters)
    return path
