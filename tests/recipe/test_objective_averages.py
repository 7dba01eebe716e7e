"""Objectives over several tasks: pooled, or averaged with weights that are stated."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mergekit_calib.recipe.block import CalibrationBlock

MACRO = {"metric": "acc", "average": "macro"}


def block(*objectives: object) -> CalibrationBlock:
    return CalibrationBlock.model_validate(
        {"axes": {"lambda": [0.5]}, "suite": ["arc_easy", "calib_demo"], "objectives": list(objectives)}
    )


def test_an_average_and_its_weights_are_kept_and_named():
    parsed = block({**MACRO, "weights": {"arc_easy": 2, "calib_demo": 1}}, "ece", {"metric": "acc", "task": "arc_easy"})
    assert [o.name for o in parsed.objectives] == ["macro/acc", "ece", "arc_easy/acc"]
    assert parsed.objectives[0].weights == {"arc_easy": 2.0, "calib_demo": 1.0}


@pytest.mark.parametrize(
    ("objectives", "problem"),
    [
        ([{**MACRO, "task": "arc_easy"}], "give `task` or `average`, not both"),
        ([{"metric": "acc", "weights": {"arc_easy": 1}}], "add `average: macro`"),
        ([{**MACRO, "weights": {"arc_easy": 0, "calib_demo": 0}}], "every weight is 0"),
        ([{**MACRO, "weights": {"arc_easy": -1}}], "greater than or equal to 0"),
        ([{**MACRO, "weights": {"arc_easy": 1}}, {"metric": "ece", "average": "macro"}], "must have the same weights"),
        ([MACRO, MACRO], "objectives have 'macro/acc' twice"),
        ([{"metric": "acc", "average": "mean"}], "'pooled', 'macro' or 'worst'"),
    ],
)
def test_averages_that_contradict_are_refused(objectives, problem):
    with pytest.raises(ValidationError, match=problem):
        block(*objectives)
