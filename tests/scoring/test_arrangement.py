"""Steps answer every request once, attend to what they should, and keep to their size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.prefix_lm.prefix_tree import Requests

TOKENS = st.integers(0, 2)
PAIRS = st.lists(
    st.tuples(st.lists(TOKENS, min_size=1, max_size=50), st.lists(TOKENS, min_size=1, max_size=4)),
    min_size=1,
    max_size=30,
)
STEP_TOKENS = st.integers(1, 80)
LONGEST = 40


def arranged(pairs) -> Requests:
    requests = Requests()
    for context, continuation in pairs:
        requests.add(context, continuation, LONGEST)
    return requests


def said_after(steps) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """Request → (everything that a token attends to, itself included; the token that is asked for next), in order."""
    path: list[int] = []
    said: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for step in steps:
        assert step.past <= len(path)
        del path[step.past :]
        index = np.arange(len(step.tokens))
        for row, target, request in zip(step.rows, step.targets, step.requests, strict=True):
            at = step.reads[row]
            ancestors = index[(index <= at) & (at < step.ends[index])]
            assert step.positions[ancestors].tolist() == list(range(step.past, step.past + len(ancestors)))
            seen = (*path, *step.tokens[ancestors].tolist())
            said.setdefault(int(request), []).append((seen, int(target)))
        if step.kept:
            assert step.is_path
            path.extend(step.tokens.tolist())
    return said


@given(PAIRS, STEP_TOKENS)
def test_every_token_asked_for_follows_its_own_context(pairs, most):
    said = said_after(arranged(pairs).steps(most))

    assert sorted(said) == list(range(len(pairs)))
    for i, (context, continuation) in enumerate(pairs):
        window = (context + continuation)[-(LONGEST + 1) :]
        n = len(continuation)
        expected = [(tuple(window[: len(window) - n + k]), continuation[k]) for k in range(n)]
        assert sorted(said[i]) == sorted(expected)


@given(PAIRS, STEP_TOKENS)
def test_steps_keep_to_their_size(pairs, most):
    for step in arranged(pairs).steps(most):
        assert 0 < len(step.tokens) <= most


@given(PAIRS, STEP_TOKENS, st.data())
def test_what_is_left_can_be_asked_again_alone(pairs, most, data):
    left = data.draw(st.lists(st.integers(0, len(pairs) - 1), unique=True))

    said = said_after(arranged(pairs).steps_for(np.array(left, dtype=np.int64), most))

    whole = said_after(arranged(pairs).steps(most))
    assert {i: sorted(s) for i, s in said.items()} == {i: sorted(whole[i]) for i in left}


@given(PAIRS, STEP_TOKENS)
def test_the_runs_of_a_step_are_all_of_it_and_hold_every_ancestor(pairs, most):
    for step in arranged(pairs).steps(most):
        assert [run.start for run in step.runs] == [0, *(run.end for run in step.runs[:-1])]
        assert step.runs[-1].end == len(step.tokens)
        for run in step.runs:
            before = np.arange(run.start)
            for token in range(run.start, run.end):
                assert set(before[step.ends[before] > token]) <= set(run.path)
            assert run.position == step.positions[run.start : run.end].min()


@given(PAIRS)
def test_with_room_enough_every_distinct_token_is_run_once(pairs):
    prefixes = {
        tuple(window[: k + 1])
        for context, continuation in pairs
        for window in [(context + continuation)[-(LONGEST + 1) : -1]]
        for k in range(len(window))
    }

    steps = arranged(pairs).steps(10**6)

    assert [len(step.tokens) for step in steps] == [len(prefixes)]


def test_what_many_questions_begin_with_is_run_once_and_kept():
    examples = list(range(500))
    questions = [[1000 + i] * 30 for i in range(40)]
    requests = Requests()
    for question in questions:
        for choice in range(4):
            requests.add(examples + question, [choice], 10**6)

    steps = requests.steps(128)

    assert sum(len(step.tokens) for step in steps) == 500 + 40 * 30
    assert [step.past for step in steps if step.kept] == [0, 128, 256, 384]
    assert all(step.past == 500 for step in steps if not step.kept)
    assert max(len(step.tokens) for step in steps) <= 128


def test_a_short_common_beginning_is_rather_run_again_than_a_step_of_its_own():
    requests = Requests()
    for i in range(8):
        requests.add([1, 2, *[10 + i] * 20], [3], 10**6)

    steps = requests.steps(50)

    assert [len(step.tokens) for step in steps] == [42] * 4
    assert not any(step.kept for step in steps)


def test_what_was_cut_is_counted():
    assert arranged([([0] * LONGEST, [1]), ([0] * (LONGEST + 1), [1])]).n_cut == 1


def test_an_answer_has_a_context_of_at_least_one_token() -> None:
    with pytest.raises(ValueError, match="a context of no tokens"):
        Requests().add([], [1], LONGEST)


def test_the_longest_input_is_known() -> None:
    assert Requests().longest == 0
    assert arranged([([0, 1], [2]), ([0] * 5, [1, 2])]).longest == 6
