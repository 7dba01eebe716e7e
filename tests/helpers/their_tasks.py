"""The configurations of tasks that are not ours, over the demo's questions."""

from __future__ import annotations

from typing import Any

from lm_eval_tasks import TASKS_DIR

QUESTIONS: dict[str, Any] = {
    "dataset_path": "parquet",
    "dataset_kwargs": {"data_files": {"test": str(TASKS_DIR / "calib_demo" / "questions.parquet")}},
    "test_split": "test",
    "doc_to_text": "question : {{question}}\nanswer :",
}
CHOICES: dict[str, Any] = {"doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}"}
DRAWN: dict[str, Any] = {
    "repeats": 4,
    "generation_kwargs": {"do_sample": True, "temperature": 1.0, "max_gen_toks": 4, "until": ["\n"]},
}
VOTE: dict[str, Any] = {
    **QUESTIONS,
    **DRAWN,
    "lm_eval_yaml": "triviaqa/default.yaml",
    "validation_split": None,
    "training_split": None,
    "dataset_name": None,
    "doc_to_target": "{{[choices[answer]]}}",
}
"""For `SelfConsistencyTask`."""
