"""Steps answer every request once, let tokens attend only to their own prefix, and have limited size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.prefix_lm.prefix_tree import TokenRequests

TOKENS = st.integers(0, 2)
PAIRS = st.lists(
    st.tuples(st.lists(TOKENS, min_size=1, max_size=50), st.lists(TOKENS, min_size=1, max_size=4)),
    min_size=1,
    max_size=30,
)
STEP_TOKENS = st.integers(1, 80)
LONGEST = 40


def requests_for(pairs) -> TokenRequests:
    requests = TokenRequests()
    for context, continuation in pairs:
        requests.add(context, continuation, LONGEST)
    return requests


def answered_by(steps) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """Return request → the (tokens attended to, target token) of each log-probability that is read for it."""
    path: list[int] = []
    answered: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for step in steps:
        assert step.past <= len(path)
        del path[step.past :]
        index = np.arange(len(step.tokens))
        for row, target, request in zip(step.rows, step.targets, step.requests, strict=True):
            at = step.reads[row]
            ancestors = index[(index <= at) & (at < step.ends[index])]
            assert step.positions[ancestors].tolist() == list(range(step.past, step.past + len(ancestors)))
            seen = (*path, *step.tokens[ancestors].tolist())
            answered.setdefault(int(request), []).append((seen, int(target)))
        if step.kept:
            assert step.is_path
            path.extend(step.tokens.tolist())
    return answered


@given(PAIRS, STEP_TOKENS)
def test_each_continuation_is_read_after_its_own_context(pairs, max_tokens):
    answered = answered_by(requests_for(pairs).steps(max_tokens))

    assert sorted(answered) == list(range(len(pairs)))
    for i, (context, continuation) in enumerate(pairs):
        window = (context + continuation)[-(LONGEST + 1) :]
        n = len(continuation)
        expected = [(tuple(window[: len(window) - n + k]), continuation[k]) for k in range(n)]
        assert sorted(answered[i]) == sorted(expected)


@given(PAIRS, STEP_TOKENS)
def test_steps_have_at_most_max_tokens(pairs, max_tokens):
    for step in requests_for(pairs).steps(max_tokens):
        assert 0 < len(step.tokens) <= max_tokens


@given(PAIRS, STEP_TOKENS, st.data())
def test_steps_for_some_requests_answer_only_those(pairs, max_tokens, data):
    left = data.draw(st.lists(st.integers(0, len(pairs) - 1), unique=True))

    answered = answered_by(requests_for(pairs).steps_for(np.array(left, dtype=np.int64), max_tokens))

    whole = answered_by(requests_for(pairs).steps(max_tokens))
    assert {i: sorted(s) for i, s in answered.items()} == {i: sorted(whole[i]) for i in left}


@given(PAIRS, STEP_TOKENS)
def test_the_runs_of_a_step_cover_it_and_list_every_ancestor(pairs, max_tokens):
    for step in requests_for(pairs).steps(max_tokens):
        assert [run.start for run in step.runs] == [0, *(run.end for run in step.runs[:-1])]
        assert step.runs[-1].end == len(step.tokens)
        for run in step.runs:
            before = np.arange(run.start)
            for token in range(run.start, run.end):
                assert set(before[step.ends[before] > token]) <= set(run.path)
            assert run.position == step.positions[run.start : run.end].min()


@given(PAIRS)
def test_one_large_step_runs_every_distinct_prefix_once(pairs):
    prefixes = {
        tuple(window[: k + 1])
        for context, continuation in pairs
        for window in [(context + continuation)[-(LONGEST + 1) : -1]]
        for k in range(len(window))
    }

    steps = requests_for(pairs).steps(10**6)

    assert [len(step.tokens) for step in steps] == [len(prefixes)]


def test_a_long_prefix_that_many_questions_share_is_run_once_and_kept():
    examples = list(range(500))
    questions = [[1000 + i] * 30 for i in range(40)]
    requests = TokenRequests()
    for question in questions:
        for choice in range(4):
            requests.add(examples + question, [choice], 10**6)

    steps = requests.steps(128)

    assert sum(len(step.tokens) for step in steps) == 500 + 40 * 30
    assert [step.past for step in steps if step.kept] == [0, 128, 256, 384]
    assert all(step.past == 500 for step in steps if not step.kept)
    assert max(len(step.tokens) for step in steps) <= 128


def test_a_short_shared_prefix_gets_no_step_of_its_own():
    requests = TokenRequests()
    for i in range(8):
        requests.add([1, 2, *[10 + i] * 20], [3], 10**6)

    steps = requests.steps(50)

    assert [len(step.tokens) for step in steps] == [42] * 4
    assert not any(step.kept for step in steps)


def test_requests_that_lose_their_beginning_are_counted():
    assert requests_for([([0] * LONGEST, [1]), ([0] * (LONGEST + 1), [1])]).n_cut == 1


def test_a_context_without_tokens_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="the context has no tokens"):
        TokenRequests().add([], [1], LONGEST)


def test_the_length_of_the_longest_input() -> None:
    assert TokenRequests().longest == 0
    assert requests_for([([0, 1], [2]), ([0] * 5, [1, 2])]).longest == 6
