"""Expected gains in hypervolume, and the processes on objectives that they are computed from."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mergekit_calib import pareto
from mergekit_calib.search.surrogate.acquisition import ExpectedGain, ObjectiveProcesses

NO_POINTS = np.empty((0, 1))


def test_gains_are_the_differences_of_hypervolumes_averaged_over_draws():
    rng = np.random.default_rng(0)
    for n_objectives in (1, 2, 3):
        front, new = rng.normal(size=(5, 6, n_objectives)), rng.normal(size=(5, 300, n_objectives))
        reference, ways = np.full(n_objectives, -1.0), ["maximize"] * n_objectives
        gains = ExpectedGain(front, reference).of(new)
        for i in (0, 17, 299):
            whole = [
                pareto.hypervolume(np.vstack([f, n[[i]]]), ways, reference) for f, n in zip(front, new, strict=True)
            ]
            before = [pareto.hypervolume(f, ways, reference) for f in front]
            assert gains[i] == pytest.approx(np.mean(whole) - np.mean(before), abs=1e-12)
        assert gains.max() > 0.0


def test_a_point_that_is_worse_than_the_reference_gains_nothing():
    front, new = np.full((3, 2, 2), 0.5), np.array([[[0.9, -0.1], [0.4, 0.4], [0.6, 0.6]]] * 3)
    assert ExpectedGain(front, np.zeros(2)).of(new)[:2].tolist() == [0.0, 0.0]
    assert ExpectedGain(front - 5.0, np.zeros(2)).of(new)[2] == pytest.approx(0.36)


def processes(noise: float, pending=NO_POINTS, seed: int = 0) -> ObjectiveProcesses:
    at = np.linspace(0, 1, 7)[:, None]
    values = np.hstack([at, -((at - 0.4) ** 2)])
    return ObjectiveProcesses(at, values, np.full(values.shape, noise), pending, 256, seed)


def test_draws_follow_the_values_where_there_is_no_noise_and_spread_with_it():
    drawn = processes(1e-8).front
    assert drawn.shape == (256, 7, 2)
    np.testing.assert_allclose(drawn[:, :, 0].mean(axis=0), np.linspace(0, 1, 7), atol=0.01)
    assert drawn[:, 3].std(axis=0).max() < 0.01 < processes(0.02).front[:, 3].std(axis=0).min()


def test_a_candidate_is_drawn_together_with_the_points():
    believed = processes(0.02)
    again = believed.draw(np.array([[0.5]]))
    np.testing.assert_allclose(again[:, 0], believed.front[:, 3], atol=0.01)


def test_next_to_a_running_point_there_is_less_to_gain():
    reference, where = np.array([0.0, -0.5]), np.array([[0.93]])
    alone, beside = processes(1e-4), processes(1e-4, pending=where)
    assert beside.front.shape == (256, 8, 2)
    left = ExpectedGain(beside.front, reference).of(beside.draw(where))
    assert left < 0.5 * ExpectedGain(alone.front, reference).of(alone.draw(where))


def test_the_same_seed_gives_the_same_draws():
    where = np.array([[0.3]])
    assert np.array_equal(processes(0.01).draw(where), processes(0.01).draw(where))
    assert not np.array_equal(processes(0.01).draw(where), processes(0.01, seed=1).draw(where))


def test_the_search_imports_torch_only_when_it_needs_it():
    code = "import sys; import mergekit_calib.search.surrogate.item_beliefs; import mergekit_calib.search; "
    subprocess.run(
        [sys.executable, "-c", f"{code}assert 'botorch' not in sys.modules and 'torch' not in sys.modules"], check=True
    )
