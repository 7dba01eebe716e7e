"""Steps answer every request once, attend to what they should, and keep to their budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mergekit_calib.scoring.arrangement import Budget, Requests

TOKENS = st.integers(0, 2)
PAIRS = st.lists(
    st.tuples(st.lists(TOKENS, min_size=1, max_size=50), st.lists(TOKENS, min_size=1, max_size=4)),
    min_size=1,
    max_size=30,
)
BUDGETS = st.builds(Budget, tokens=st.integers(1, 80), reads=st.integers(1, 30))
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


@given(PAIRS, BUDGETS)
def test_every_token_asked_for_follows_its_own_context(pairs, budget):
    said = said_after(arranged(pairs).steps(budget))

    assert sorted(said) == list(range(len(pairs)))
    for i, (context, continuation) in enumerate(pairs):
        window = (context + continuation)[-(LONGEST + 1) :]
        n = len(continuation)
        expected = [(tuple(window[: len(window) - n + k]), continuation[k]) for k in range(n)]
        assert sorted(said[i]) == sorted(expected)


@given(PAIRS, BUDGETS)
def test_steps_keep_to_their_budget(pairs, budget):
    for step in arranged(pairs).steps(budget):
        assert 0 < len(step.tokens) <= budget.tokens
        assert len(step.reads) <= budget.reads


@given(PAIRS)
def test_with_room_enough_every_distinct_token_is_run_once(pairs):
    prefixes = {
        tuple(window[: k + 1])
        for context, continuation in pairs
        for window in [(context + continuation)[-(LONGEST + 1) : -1]]
        for k in range(len(window))
    }

    steps = arranged(pairs).steps(Budget(10**6, 10**6))

    assert [len(step.tokens) for step in steps] == [len(prefixes)]


def test_what_many_questions_begin_with_is_run_once_and_kept():
    examples = list(range(500))
    questions = [[1000 + i] * 30 for i in range(40)]
    requests = Requests()
    for question in questions:
        for choice in range(4):
            requests.add(examples + question, [choice], 10**6)

    steps = requests.steps(Budget(128, 64))

    assert sum(len(step.tokens) for step in steps) == 500 + 40 * 30
    assert [step.past for step in steps if step.kept] == [0, 128, 256, 384]
    assert all(step.past == 500 for step in steps if not step.kept)
    assert max(len(step.tokens) for step in steps) <= 128


def test_a_short_common_beginning_is_rather_run_again_than_a_step_of_its_own():
    requests = Requests()
    for i in range(8):
        requests.add([1, 2, *[10 + i] * 20], [3], 10**6)

    steps = requests.steps(Budget(50, 50))

    assert [len(step.tokens) for step in steps] == [42] * 4
    assert not any(step.kept for step in steps)


def test_what_was_cut_is_counted():
    assert arranged([([0] * LONGEST, [1]), ([0] * (LONGEST + 1), [1])]).n_cut == 1
