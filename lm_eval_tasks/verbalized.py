"""Confidence in words: a task whose model states, with its answer, how sure it is of it (Tian et al. 2023).

What cannot be read is counted as `unparsed`, and never dropped: without an answer a document is wrong with confidence
0, and an answer without a confidence, which states no doubt, has confidence 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lm_eval_tasks import host
from lm_eval_tasks.completions import as_lm_eval
from lm_eval_tasks.confidence_values import (
    AVERAGED_OF_CONFIDENCE,
    set_metrics_of_confidence,
    values_of_confidence,
)
from mergekit_calib.errors import CalibError

AVERAGED = {**AVERAGED_OF_CONFIDENCE, "unparsed": False}
"""Metrics that are means over documents → whether more is better; None if neither more nor less is."""

_LEAST = 0.005  # half of the smallest step that a stated confidence has

# In both, a model may write Markdown around the label: **Guess:** Oslo.
_CONFIDENCE_LABEL = r"(?:confidence|probability)\W{0,4}?[:=][^\w−-]{0,4}"
_ANSWER = re.compile(
    rf"\b(?:guess|answer)\W{{0,4}}?:[*_` \t]*(\S.*?)[*_` \t]*(?:$|[,;(]?[ \t]*\W{{0,2}}\b{_CONFIDENCE_LABEL})",
    re.IGNORECASE | re.MULTILINE,
)
_CONFIDENCE = re.compile(rf"\b{_CONFIDENCE_LABEL}(\d+(?:\.\d+)?)\s*(%?)", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """What could be read of a model's text.

    Attributes:
        answer: the answer; None if there is none.
        confidence: 0 to 1; None if none is stated, or one outside 0 to 100.
    """

    answer: str | None
    confidence: float | None


def read_stated(text: str) -> Stated:
    """Return the first answer and the first confidence that a text states.

    A confidence is a number from 0 to 100, with or without %. A number with a decimal point of at most 1 and without %,
    as 0.9, is a probability: no model means 0.9 of 100 by it.

    Example:
        >>> read_stated("Guess: Oslo" + chr(10) + "Confidence: 85")
        Stated(answer='Oslo', confidence=0.85)
    """
    answer, confidence = _ANSWER.search(text), _CONFIDENCE.search(text)
    value = None
    if confidence:
        number, percent = confidence.groups()
        is_probability = "." in number and float(number) <= 1 and not percent
        value = float(number) / (1 if is_probability else 100)
    return Stated(answer[1] if answer else None, value if value is not None and value <= 1 else None)


class VerbalizedTask(host.GenerationTask):  # type: ignore[misc]
    """A generation task scored by `exact_match`, whose model states an answer and a confidence from 0 to 100.

    Of several completions the first one counts.

    Raises:
        CalibError: the task has other metrics than `exact_match`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        own = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config={"output_type": "generate_until", **own})
        if (names := host.metric_names(self)) != {"exact_match"}:
            listed = ", ".join(sorted(names))
            raise CalibError(f"task {self.task_name}: its metrics are {listed}; exact_match alone is needed")
        set_metrics_of_confidence(self, [pipeline.name for pipeline in host.pipelines(self)], AVERAGED)

    def answer_of(self, doc: dict[str, Any], answer: str) -> str | None:
        """Return a stated answer in the form that `exact_match` compares; None if it is none."""
        return answer

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any] | None:
        """Return a document's metrics; for those over all documents, the confidence and whether it is correct."""
        if "acc" not in self.aggregation():  # --predict_only
            theirs: dict[str, Any] | None = super().process_results(doc, as_lm_eval(results))
            return theirs
        stated = read_stated(as_lm_eval(results)[0])
        answer = None if stated.answer is None else self.answer_of(doc, stated.answer)
        unparsed = float(answer is None or stated.confidence is None)
        if answer is None:
            confidence, correct = 0.0, False
        else:
            confidence = 1.0 if stated.confidence is None else stated.confidence
            correct = host.is_correct(self, doc, answer)
        return values_of_confidence(self, AVERAGED, confidence, correct, _LEAST, unparsed=unparsed)


class VerbalizedChoiceTask(VerbalizedTask):
    """The same for questions with `choices`; a stated answer is a letter, or the text of a choice."""

    def answer_of(self, doc: dict[str, Any], answer: str) -> str | None:
        """Return the letter of the stated choice; None if the answer names none of the document's choices."""
        letters = [chr(ord("A") + i) for i in range(len(doc["choices"]))]
        for letter, choice in zip(letters, doc["choices"], strict=True):
            if answer.strip(" .").casefold() == str(choice).strip(" .").casefold():
                return letter
        stated = re.match(r"(?:option|choice)?\s*\(?([A-Za-z])(?:[).:\s]|$)", answer.strip(), re.IGNORECASE)
        return stated[1].upper() if stated and stated[1].upper() in letters else None
