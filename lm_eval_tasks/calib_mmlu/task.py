"""MMLU and tasks like it: the questions of all subjects as one task, each with examples of its own subject."""

# ruff: noqa: D401
# lm-eval's dump of a task holds the source of the functions that its YAML names, and stored item scores are found by
# that dump: if a line of these functions changes, docstrings included, a run begun before scores its models again.

from __future__ import annotations

from collections import defaultdict
from typing import Any

import datasets

from lm_eval_tasks.task import CalibrationTask


class MMLUTask(CalibrationTask):
    """lm-eval's `mmlu_*` prompts, token for token: the few-shot examples are the first of the question's subject.

    Attributes:
        SUBJECT: the column that names the subject.
    """

    SUBJECT = "subject"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._examples: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for example in self.sampler.fewshot_docs():
            self._examples[example[self.SUBJECT]].append(example)

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return lm-eval's prompt, with examples of the document's subject."""
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
