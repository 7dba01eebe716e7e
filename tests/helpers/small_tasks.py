"""Twelve small questions, the settings of tasks that ask them by choice or by generation, and a task's item table."""

from __future__ import annotations

from mergekit_calib.items.table import ItemTable

QUESTIONS = [
    {"question": f"{i} and {i} are", "options": [str(i + k) for k in range(3 + i % 3)], "answer": i % 3}
    for i in range(1, 13)
]
CHOICES = {"doc_to_text": "question", "doc_to_choice": "options", "doc_to_target": "answer"}
ACCURACIES = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")]
GENERATES = {
    "output_type": "generate_until",
    "doc_to_text": "question",
    "doc_to_target": "{{options[0]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": True, "temperature": 1.0},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def table_of(suite, lm) -> ItemTable:
    (tables,) = suite.score(lm).values()
    return tables[0]
