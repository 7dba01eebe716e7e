"""The process on all items agrees with scikit-learn's and with leaving points out, and predicts unseen points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from mergekit_calib.search.surrogate.item_process import ItemProcess, _restricted_likelihood

LENGTHS, NUGGET = np.array([0.4, 0.9, 2.0]), 1e-3


def items(at: np.ndarray, n_columns: int = 300, seed: int = 0) -> np.ndarray:
    """Return smooth functions of the first two axes, (n_points, n_columns), each around a level of its own."""
    rng = np.random.default_rng(seed)
    slopes, bends, levels = rng.normal(size=(2, n_columns)), rng.normal(size=(2, n_columns)), rng.normal(size=n_columns)
    return levels + at[:, :2] @ slopes + np.sin(2.0 * at[:, :2]) @ bends


@pytest.fixture
def at() -> np.ndarray:
    return np.random.default_rng(1).random((14, 3))


def test_predictions_and_their_errors_are_those_of_scikit_learn(at):
    """Its process has no unknown mean; a constant kernel with a huge variance is one, up to its inverse."""
    columns, where = items(at, 5), np.random.default_rng(2).random((6, 3))
    process = ItemProcess(at, columns, LENGTHS, NUGGET)
    vague = ConstantKernel(1e5, "fixed") + Matern(LENGTHS, "fixed", nu=2.5) + WhiteKernel(NUGGET, "fixed")
    other = GaussianProcessRegressor(vague, alpha=0.0, optimizer=None).fit(at, columns)
    mean, covariance = other.predict(where, return_cov=True)
    np.testing.assert_allclose(process.predict(where), mean, atol=1e-4)
    with_nugget = process.covariance(where, where) + NUGGET * np.eye(6)
    np.testing.assert_allclose(with_nugget, covariance[..., 0], atol=1e-4)


def test_leaving_a_point_out_is_what_a_process_without_it_predicts(at):
    columns = items(at)
    predicted, variances = ItemProcess(at, columns, LENGTHS, NUGGET).leave_one_out()
    for i in range(len(at)):
        others = np.arange(len(at)) != i
        process = ItemProcess(at[others], columns[others], LENGTHS, NUGGET)
        np.testing.assert_allclose(predicted[i], process.predict(at[[i]])[0], atol=1e-8)
        assert variances[i] == pytest.approx(process.covariance(at[[i]], at[[i]])[0, 0] + NUGGET)


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(at):
    columns = items(at) - items(at).mean(axis=0)
    squares, gram = (at[:, None] - at[None]) ** 2, columns @ columns.T / columns.shape[1]
    theta = np.log([0.5, 1.0, 2.0, 1e-2])
    slope = _restricted_likelihood(theta, squares, gram)[1]
    numeric = approx_fprime(theta, lambda t: _restricted_likelihood(t, squares, gram)[0], 1e-6)
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-4)


def test_the_likelihood_is_the_largest_at_the_fitted_parameters(at):
    columns = items(at)
    centred = columns - columns.mean(axis=0)
    squares, gram = (at[:, None] - at[None]) ** 2, centred @ centred.T / columns.shape[1]
    fitted = ItemProcess.fit(at, columns)
    best = np.log([*fitted.lengths, fitted.nugget])
    least = _restricted_likelihood(best, squares, gram)[0]
    for other in np.random.default_rng(3).normal(0.0, 0.5, (20, 4)):
        assert _restricted_likelihood(best + other * [1, 1, 0, 0], squares, gram)[0] >= least - 1e-6


def test_the_fit_finds_the_axis_that_no_item_depends_on_and_predicts_unseen_points(at):
    process, where = ItemProcess.fit(at, items(at)), np.random.default_rng(4).random((30, 3))
    assert process.lengths[2] > 5 * max(process.lengths[:2])
    error = np.abs(process.predict(where) - items(where)).mean()
    assert error < 0.1 * items(where).std()


def test_a_prediction_at_a_scored_point_is_its_value_and_weights_sum_to_1(at):
    process = ItemProcess(at, items(at), LENGTHS, 1e-6)
    np.testing.assert_allclose(process.predict(at), items(at), atol=1e-3)
    np.testing.assert_allclose(process.weights(at + 0.1).sum(axis=1), 1.0)


def test_rough_columns_get_a_large_nugget():
    rng = np.random.default_rng(5)
    at = rng.random((12, 1))
    smooth = np.sin(3 * at * rng.random(200))
    assert ItemProcess.fit(at, smooth).nugget < 1e-4 < 0.01 < ItemProcess.fit(at, rng.normal(size=(12, 200))).nugget
