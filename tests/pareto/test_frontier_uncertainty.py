"""The uncertainty of a frontier agrees with counting it resample by resample."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib.pareto import (
    attainment_surfaces,
    frontier_probabilities,
    hypervolume,
    non_dominated,
    resampled_hypervolume,
)

DIRECTIONS = ("maximize", "minimize")


@pytest.fixture
def replicates() -> np.ndarray:
    """Values of shape (6, 2, 80): a trade-off with noise, whose first point is worse than all others."""
    rng = np.random.default_rng(0)
    centre = np.stack([np.linspace(0.6, 0.8, 6), np.linspace(0.02, 0.2, 6) ** 1.5], axis=1)
    centre[0] = (0.3, 0.9)
    return centre[..., None] + 0.02 * rng.normal(size=(6, 2, 80))


def test_probabilities_are_shares_of_resamples(replicates):
    shares = frontier_probabilities(replicates, DIRECTIONS)
    counted = np.mean([non_dominated(replicates[..., r], DIRECTIONS) for r in range(80)], axis=0)
    assert shares == pytest.approx(counted)
    assert shares[0] == 0.0
    assert 0.0 < shares[3] <= 1.0


def test_a_point_that_is_undefined_in_a_resample_is_not_on_its_frontier():
    replicates = np.array([[[0.9, 0.9]], [[0.5, 0.5]]])
    replicates[0, 0, 1] = np.nan
    assert frontier_probabilities(replicates, ["maximize"]).tolist() == [0.5, 0.5]


def test_the_hypervolume_is_computed_in_every_resample(replicates):
    drawn = resampled_hypervolume(replicates, DIRECTIONS, (0.5, 0.5))
    assert drawn == pytest.approx([hypervolume(replicates[..., r], DIRECTIONS, (0.5, 0.5)) for r in range(80)])
    assert np.ptp(drawn) > 0


def test_surfaces_are_attained_by_their_share_of_resamples_and_are_tight(replicates):
    def attaining(point):
        as_good = (replicates[:, 0] >= point[0] - 1e-12) & (replicates[:, 1] <= point[1] + 1e-12)
        return as_good.any(axis=0).mean()

    for surface in attainment_surfaces(replicates, DIRECTIONS, (0.05, 0.5, 0.95)):
        assert len(surface.points)
        for point in surface.points:
            assert attaining(point) >= surface.share - 1e-9
            assert attaining([point[0] + 1e-4, point[1] - 1e-4]) < surface.share + 1e-9
        assert (np.diff(surface.points[:, 0]) <= 0).all()
        assert (np.diff(surface.points[:, 1]) <= 0).all()


def test_a_surface_that_more_resamples_attain_lies_inside_one_that_fewer_attain(replicates):
    outer, inner = attainment_surfaces(replicates, DIRECTIONS, (0.1, 0.9))
    volumes = [hypervolume(surface.points, DIRECTIONS, (0.0, 1.0)) for surface in (outer, inner)]
    assert volumes[0] > volumes[1]


@pytest.mark.parametrize("n_objectives", [1, 3, 4])
def test_there_are_no_surfaces_unless_there_are_two_objectives(n_objectives):
    replicates = np.random.default_rng(0).random((4, n_objectives, 100))
    assert attainment_surfaces(replicates, ["maximize"] * n_objectives) == []


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="at least 1 of each"):
        frontier_probabilities(np.empty((3, 2, 0)), DIRECTIONS)
