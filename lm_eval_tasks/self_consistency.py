"""Calibration of generated answers by self-consistency (Wang et al. 2023).

Several answers are drawn; the most frequent one is the task's answer, and its share of the draws the confidence. Relied
on in lm-eval 0.4.13: what `lm_eval_tasks.completions` relies on, and `exact_match` in a task's `_metric_fn_list`, with
its options in `_metric_fn_kwargs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from lm_eval_tasks.completions import as_lm_eval, keep_every_completion
from lm_eval_tasks.pooled_metrics import POOLED_METRICS_OF_ANSWERS, aggregations
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


class SelfConsistencyTask(ConfigurableTask):  # type: ignore[misc]
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
        if set(self._metric_fn_list) != {"exact_match"}:
            raise CalibError(f"{where}: its metrics are {', '.join(self._metric_fn_list)}; exact_match alone is needed")
        if not keep_every_completion(self):
            raise CalibError(f"{where}: every pipeline in `filter_list` chooses one answer")
        self._aggregation_list = dict.fromkeys(AVERAGED, mean) | aggregations(POOLED_METRICS_OF_ANSWERS)
        self._higher_is_better = {name: up for name, up in AVERAGED.items() if up is not None}
        pooled = POOLED_METRICS_OF_ANSWERS.items()
        self._higher_is_better |= {name: metric.higher_is_better for name, metric in pooled}

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """Return a document's metrics; for those over all documents, the vote's share and correctness."""
        if "acc" not in self._aggregation_list or isinstance(results[0], str):  # --predict_only; a filter that chooses
            return dict(super().process_results(doc, as_lm_eval(results)))
        answers = results[0]
        vote = majority(answers, self._same)
        correct = bool(super().process_results(doc, [vote.answer])["exact_match"]) and vote.share > 0
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
        pooled = [name for name in self._aggregation_list if name not in averaged]
        return {**averaged, **dict.fromkeys(pooled, (vote.share, correct))}

    def _same(self, answer: str, other: str) -> bool:
        score = self._metric_fn_list["exact_match"](
            references=[other], predictions=[answer], **self._metric_fn_kwargs["exact_match"]
        )
        return bool(score["exact_match"] == 1.0)
