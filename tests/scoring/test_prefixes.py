"""Inputs that begin alike are put together, and none is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.scoring.prefixes import grouped

INPUTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=40, unique=True)


@given(INPUTS, st.integers(1, 5), st.data())
def test_every_input_is_run_once_in_batches_that_fit_and_share_what_they_are_said_to(inputs, size, data):
    readable_from = {tokens: data.draw(st.integers(0, len(tokens) - 1)) for tokens in inputs}
    groups = grouped(inputs, readable_from, size)
    assert sorted(tokens for group in groups for tokens in group.inputs) == sorted(inputs)
    for group in groups:
        assert 0 < len(group.inputs) <= size
        assert len({tokens[: group.prefix] for tokens in group.inputs}) == 1
        assert all(group.prefix <= readable_from[tokens] for tokens in group.inputs)


def test_choices_of_a_question_share_the_question():
    question, other = tuple(range(20)), tuple(range(50, 80))
    inputs = [(*question, 100 + i) for i in range(4)] + [(*other, 1)]
    shared, alone = grouped(inputs, {tokens: len(tokens) - 1 for tokens in inputs}, size=8)
    assert (shared.prefix, len(shared.inputs)) == (20, 4)
    assert (alone.prefix, alone.inputs) == (0, [(*other, 1)])


def test_a_beginning_too_short_to_matter_is_not_shared():
    inputs = [(1, 2, *range(10 * i, 10 * i + 10)) for i in range(1, 4)]
    (group,) = grouped(inputs, {tokens: len(tokens) - 1 for tokens in inputs}, size=8)
    assert (group.prefix, len(group.inputs)) == (0, 3)
