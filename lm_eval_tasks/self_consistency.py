"""Calibration of generated answers by self-consistency (Wang et al. 2023).

Several answers are drawn; the most frequent one is the task's answer, and its share of the draws the confidence. The
same draws give `pass@k` and `maj@k`: alignment trades the one for the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval_tasks import host
from lm_eval_tasks.completions import as_lm_eval, keep_every_completion
from lm_eval_tasks.confidence_values import (
    AVERAGED_OF_CONFIDENCE,
    set_metrics_of_confidence,
    values_of_confidence,
)
from lm_eval_tasks.task import over_lm_evals
from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.metrics.several_answers import powers_of_two

UNREADABLE = ("", "[invalid]")
"""The texts that lm-eval's filters return for a completion without an answer."""

AVERAGED = {**AVERAGED_OF_CONFIDENCE, "answer_entropy": None}
"""Metrics that are means over documents → whether more is better; None if neither more nor less is."""

_FEWEST_VOTES = 4  # a vote of 2 is decided by the first draw


def of_several_answers(n: int) -> dict[str, bool]:
    """Return the metrics of n answers that are means over documents, besides `AVERAGED` → whether more is better.

    `pass@k` for k = 1, 2, 4, … up to n, and `maj@k` for k = 4, 8, … up to n.
    """
    names = [f"pass@{k}" for k in powers_of_two(1, n)] + [f"maj@{k}" for k in powers_of_two(_FEWEST_VOTES, n)]
    return dict.fromkeys(names, True)


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

    Attributes:
        VALUES_VERSION: what a document's values hold; item scores of another one are not taken for these.

    Raises:
        CalibError: the task has no `exact_match`, or all its filters choose one answer.
    """

    VALUES_VERSION = 2  # 1 had no `pass@k` and `maj@k`

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config=over_lm_evals(config))
        where = f"task {self.task_name}"
        if (names := host.metric_names(self)) != {"exact_match"}:
            raise CalibError(f"{where}: its metrics are {', '.join(sorted(names))}; exact_match alone is needed")
        keeping = keep_every_completion(self)
        if not keeping:
            raise CalibError(f"{where}: every pipeline in `filter_list` chooses one answer")
        self._keeping = keeping
        self._set_metrics()

    def _set_metrics(self) -> None:
        self._averaged = {**AVERAGED, **of_several_answers(int(self.config.repeats))}
        set_metrics_of_confidence(self, self._keeping, self._averaged)

    def set_config(self, key: str, value: Any, update: bool = False) -> None:
        """Set an option; which k the metrics `pass@k` and `maj@k` have depends on `repeats` (lm-eval 0.4)."""
        super().set_config(key, value, update)
        self._repeats_changed(key)

    def set_repeats(self, repeats: int) -> None:
        """Set the number of draws, and with it the k of `pass@k` and `maj@k` (lm-eval 0.5)."""
        super().set_repeats(repeats)
        self._repeats_changed("repeats")

    def _repeats_changed(self, key: str) -> None:
        # With --predict_only there are no metrics to set.
        if key == "repeats" and "acc" in self.aggregation():
            self._set_metrics()

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any] | None:
        """Return a document's metrics; for those over all documents, the vote's share and correctness."""
        answers = host.completions_of(results)
        if "acc" not in self.aggregation() or answers is None:  # --predict_only; a filter that chooses
            theirs: dict[str, Any] | None = super().process_results(doc, as_lm_eval(results))
            return theirs
        vote = majority(answers, functools.partial(host.is_same_answer, self))
        judged: dict[str, bool] = {}
        correct = self._is_correct(doc, vote.answer, judged)
        return values_of_confidence(
            self,
            self._averaged,
            vote.share,
            correct,
            # Half a vote away from 0 and 1: that a few draws all agree does not make the answer certain.
            least=0.5 / len(answers),
            answer_entropy=metrics.answer_entropy(vote.groups),
            **self._of_several(doc, answers, judged),
        )

    def _of_several(self, doc: dict[str, Any], answers: Sequence[str], judged: dict[str, bool]) -> dict[str, float]:
        """Return `pass@k` and `maj@k` of a document; for `maj@k`, the mean over as many votes of k draws as there are.

        Args:
            doc: the document.
            answers: its answers, in the order in which they were drawn.
            judged: answer → whether it is correct, where that is known; it is added to.
        """
        n = len(answers)
        n_correct = sum(self._is_correct(doc, answer, judged) for answer in answers)
        values = {f"pass@{k}": metrics.pass_at_k(n_correct, n, k) for k in powers_of_two(1, n)}
        for k in powers_of_two(_FEWEST_VOTES, n):
            blocks = [answers[start : start + k] for start in range(0, n - k + 1, k)]
            votes = [majority(block, functools.partial(host.is_same_answer, self)) for block in blocks]
            values[f"maj@{k}"] = sum(self._is_correct(doc, vote.answer, judged) for vote in votes) / len(votes)
        return values

    def _is_correct(self, doc: dict[str, Any], answer: str, judged: dict[str, bool]) -> bool:
        if answer not in judged:
            judged[answer] = answer not in UNREADABLE and host.is_correct(self, doc, answer)
        return judged[answer]
