"""Several subjects' questions in one pool, each with examples of its own subject: MMLU, and what is made like it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import datasets

from lm_eval_tasks.task import CalibrationTask


class MMLUTask(CalibrationTask):
    """lm-eval's `mmlu_*` prompts, token for token: the few-shot examples are the first of the question's subject."""

    SUBJECT = "subject"  # the column that names it

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._examples: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for example in self.sampler.fewshot_docs():
            self._examples[example[self.SUBJECT]].append(example)

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.sampler.replace_df(self._examples[doc[self.SUBJECT]])
        return super().fewshot_context(doc, *args, **kwargs)


def interleaved(questions: datasets.Dataset, column: str = "subject") -> datasets.Dataset:
    """The first question of every subject, then the second of every subject, …: any `limit` is spread evenly."""
    rank: dict[str, int] = defaultdict(int)
    order = []
    for row, subject in enumerate(questions[column]):
        order.append((rank[subject], subject, row))
        rank[subject] += 1
    return questions.select([row for _, _, row in sorted(order)])
