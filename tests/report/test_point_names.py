"""Points have names that people read; ids are for files."""

from __future__ import annotations

import pytest

from mergekit_calib.results.frontier import PointResult
from mergekit_calib.results.names import point_name, with_point_names


@pytest.mark.parametrize(
    ("point_id", "name"),
    [
        ("lambda=0.6", "λ = 0.6"),
        ("lambda=-0.5", "λ = −0.5"),
        ("lambda=0.6,density=0.5", "λ = 0.6, density = 0.5"),
        ("lambda=[0.6 0.3]", "λ = [0.6 0.3]"),
        ("tokens=a,b,lambda=1", "tokens = a,b, λ = 1"),
        ("base", "base"),
        ("an odd, id", "an odd, id"),
    ],
)
def test_a_point_is_named_by_its_settings(point_id: str, name: str) -> None:
    assert point_name(point_id) == name
    assert PointResult(id=point_id, recipe="").name == name


def test_ids_in_a_stored_sentence_become_names() -> None:
    ids = ["lambda=0.1", "lambda=0.15", "lambda=0.1,density=0.5", "base"]
    text = "lambda=0.1 beats lambda=0.15 (not lambda=0.155). It is lambda=0.1,density=0.5, or base."
    named = "λ = 0.1 beats λ = 0.15 (not lambda=0.155). It is λ = 0.1, density = 0.5, or base."
    assert with_point_names(text, ids) == named
    assert with_point_names(named, ids) == named
