"""The part of a sweep's result that says where to stop answering."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mergekit_calib.results.findings import Estimate


class AnsweringThreshold(BaseModel, frozen=True):
    """The confidence from which a point answers, chosen on the selection split, and what it does on the held-out split.

    Attributes:
        threshold: the least confidence that is answered, 0 to 1; the numbers are those of exactly this number.
        safe: whether it was chosen with a margin, so that at the result's level its true error is at most the target;
            if not, its error on the selection split alone is at most the target.
        selection_coverage, selection_error: the shares of items answered, and of wrong answers among them, on the
            selection split.
        coverage: the share of the held-out items that are answered, with its Wilson interval.
        error: the share of wrong answers among those, with its Wilson interval; without a value if none is answered.
    """

    threshold: float
    safe: bool
    selection_coverage: float
    selection_error: float
    coverage: Estimate
    error: Estimate


class AnsweringPoint(BaseModel, frozen=True):
    """Where one point can stop answering.

    Attributes:
        chosen: the threshold; None if none reaches the target on the selection split.
        error_of_all: the share of wrong answers if every held-out item is answered.
        curve: the risk-coverage curve on the held-out split: pairs of the share of items answered, the most confident
            first, and the share of wrong answers among them; about 200 of them.
    """

    chosen: AnsweringThreshold | None = None
    error_of_all: Estimate
    curve: list[tuple[float, float]] = Field(default_factory=list)


class Answering(BaseModel, frozen=True):
    """From which confidence the chosen point and the parents can answer, with an error of at most a target.

    Attributes:
        max_error: the target: the largest share of wrong answers among those given.
        level: the confidence level of intervals, and of the margin of thresholds that are `safe`.
        n_selection, n_held_out: how many items with choices there are in each split, of all tasks pooled.
        left_out: the tasks without choices, whose answers have no confidence.
        points: point id → result, of the chosen point and the parents.
    """

    max_error: float
    level: float
    n_selection: int
    n_held_out: int
    left_out: list[str] = Field(default_factory=list)
    points: dict[str, AnsweringPoint] = Field(default_factory=dict)
