"""Recipes with mistakes of any kind are accepted, left to mergekit, or refused with one line; nothing else happens."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from faults import recipe_mutations as mutations
from faults import recipe_outcomes as outcomes
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import has_calibration_block, read_yaml

N_MUTANTS, N_PARTS = 2000, 4


RECIPES = mutations.recipes()


@pytest.fixture(scope="module")
def warmed_up() -> None:
    """Everything is imported, so that no mutant's time and memory contain it."""
    from mergekit_calib.merging.method import register

    register()
    for text in RECIPES.values():
        outcomes.outcome(text)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_that_are_mutated_are_accepted(warmed_up: None, name: str):
    assert outcomes.outcome(RECIPES[name]).kind == "accepted"


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_mutated_recipe_is_accepted_or_refused_with_one_line(warmed_up: None, part: int):
    kinds, faults = Counter[str](), []
    for number in range(part, N_MUTANTS, N_PARTS):
        text, made = mutations.mutant(1, number, RECIPES)
        result = outcomes.outcome(text)
        kinds[result.kind] += 1
        if result.is_fault:
            faults.append(f"mutant {number} of seed 1 ({made}): {result.kind}: {result.detail}")
    assert faults == []
    assert min(kinds[kind] for kind in ("accepted", "refused", "left to mergekit")) > 0


def test_what_is_accepted_is_read_as_mergekit_reads_it():
    n_equal = 0
    for number in range(300):
        text, _ = mutations.mutant(2, number, RECIPES)
        try:
            data = read_yaml(text)
        except RecipeError:
            continue
        n_equal += 1
        assert repr(data) == repr(yaml.safe_load(text)), text
    assert n_equal > 50


@pytest.mark.parametrize("line", mutations.LINES + mutations.BOMBS)
def test_hostile_yaml_in_a_plain_recipe_is_left_to_mergekit(line: str):
    if "calib" in line or "${" in line:
        pytest.skip("makes it a sweep")
    assert has_calibration_block(f"merge_method: linear\n# calibration: none\n{line}\n") is False


def test_the_checker_finds_faults(monkeypatch: pytest.MonkeyPatch):
    """The property above can fail: each kind of fault is told from a refusal."""

    def outcome_of(problem: BaseException) -> str:
        def read(text: str) -> bool:
            raise problem

        monkeypatch.setattr(outcomes, "read", read)
        kind: str = outcomes.outcome("").kind
        return kind

    assert outcome_of(KeyError("a")) == "raw KeyError"
    assert outcome_of(RecursionError()) == "raw RecursionError"
    assert outcome_of(RecipeError("key", "wrong", "sweep.yml")) == "refused"
    assert outcome_of(RecipeError("key", "wrong", None)) == "no file or key"
    assert outcome_of(outcomes.TookTooLongError()) == "took too long"
