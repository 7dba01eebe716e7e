"""Calibration of generated answers by self-consistency (Wang et al. 2023).

Several answers are drawn; the most frequent one is the task's answer, and its share of the draws the confidence.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval_tasks import host
from lm_eval_tasks.completions import as_lm_eval, keep_every_completion
from lm_eval_tasks.pooled_metrics import POOLED_METRICS_OF_ANSWERS
from lm_eval_tasks.task import over_lm_evals
from mergekit_calib import metrics
from mergekit_calib.errors import CalibError

UNREADABLE = ("", "[invalid]")
"""The texts that lm-eval's filters return for a completion without an answer."""

AVERAGED = {
    "acc": True,
    "confidence": None,
    "overconfidence": False,
    "brier": False,
    "nll": False,
    "answer_entropy": None,
}
"""Metrics that are means over documents → whether more is better; None if neither more nor less is."""


@dataclass(frozen=True)
class Majority:
    """The result of a vote among drawn answers.

    Attributes:
        answer: the most frequent answer, as it was first drawn; empty if no answer could be read.
        share: the share of all drawn answers that are the same as `answer`, 0 to 1.
        groups: (n_answers,) for each drawn answer its number among the different ones; None if it could not be read.
    """

    answer: str
    share: float
    groups: list[int | None]


def majority(answers: Sequence[str], same: Callable[[str, str], bool]) -> Majority:
    """Return the most frequent of the answers that could be read; of equally frequent ones, the first drawn.

    Args:
        answers: at least 1, in the order in which they were drawn.
        same: whether two answers count as one.
    """
    different: list[str] = []
    groups: list[int | None] = []
    for answer in answers:
        if answer in UNREADABLE:
            groups.append(None)
            continue
        group = next((i for i, other in enumerate(different) if same(answer, other)), len(different))
        if group == len(different):
            different.append(answer)
        groups.append(group)
    votes = [groups.count(i) for i in range(len(different))]
    if not votes:
        return Majority("", 0.0, groups)
    most = votes.index(max(votes))
    return Majority(different[most], votes[most] / len(answers), groups)


class SelfConsistencyTask(host.GenerationTask):  # type: ignore[misc]
    """A generation task of lm-eval's own, scored by `exact_match`, with several answers drawn for each document.

    Prompts, splits, shots, filters and the options of `exact_match` are those of the file that `lm_eval_yaml` names,
    relative to lm-eval's `tasks/` folder; keys of our YAML take precedence over its keys, those of
    `generation_kwargs` one by one. Each filter that ends in `take_first` is reported under lm-eval's name of it, over
    all answers that it extracts.

    Raises:
        CalibError: the task has no `exact_match`, or all its filters choose one answer.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config=over_lm_evals(config))
        where = f"task {self.task_name}"
        if (names := host.metric_names(self)) != {"exact_match"}:
            raise CalibError(f"{where}: its metrics are {', '.join(sorted(names))}; exact_match alone is needed")
        keeping = keep_every_completion(self)
        if not keeping:
            raise CalibError(f"{where}: every pipeline in `filter_list` chooses one answer")
        host.set_only_metrics(self, keeping, AVERAGED, POOLED_METRICS_OF_ANSWERS)

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any] | None:
        """Return a document's metrics; for those over all documents, the vote's share and correctness."""
        answers = host.completions_of(results)
        if "acc" not in self.aggregation() or answers is None:  # --predict_only; a filter that chooses
            own: dict[str, Any] | None = super().process_results(doc, as_lm_eval(results))
            return own
        vote = majority(answers, functools.partial(host.is_same_answer, self))
        correct = host.is_correct(self, doc, vote.answer) and vote.share > 0
        # At least half a vote away from 0 and 1: that a few draws all agree does not make the answer certain.
        clipped = min(max(vote.share, 0.5 / len(answers)), 1.0 - 0.5 / len(answers))
        averaged = {
            "acc": float(correct),
            "confidence": vote.share,
            "overconfidence": vote.share - correct,
            "brier": metrics.brier_score([vote.share], [correct]),
            "nll": metrics.negative_log_likelihood([clipped], [correct]),
            "answer_entropy": metrics.answer_entropy(vote.groups),
        }
        pooled = [name for name in self.aggregation() if name not in averaged]
        return {**averaged, **dict.fromkeys(pooled, (vote.share, correct))}
