"""The gain in hypervolume that a point is expected to bring, with BoTorch (Balandat et al. 2020).

It is the noisy expected hypervolume improvement (Daulton, Balandat, Bakshy 2021): the frontier itself is uncertain, so
it is drawn many times, and a point's gain is averaged over the draws. Points that are running are part of every drawn
frontier, at values drawn for them.

This is the only module of the package that imports torch. It is imported when a strategy first needs it.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LEAST_NOISE = 1e-6  # of an objective's variance, so that the processes stay well conditioned
_BLOCK = 256  # candidates whose gains are computed together


class ExpectedGain:
    """The mean gain in hypervolume that a candidate brings by itself, over draws.

    Args:
        front: (n_draws, n_points, n_objectives) draws of the points so far; more is better.
        reference: (n_objectives,) the hypervolume is that above it.
    """

    def __init__(self, front: FloatArray, reference: FloatArray) -> None:
        self._low, self._high = _cells(torch.tensor(front), torch.tensor(reference))[:, :, None]

    def of(self, candidates: FloatArray) -> FloatArray:
        """Return the gain of each candidate.

        Args:
            candidates: (n_draws, n_candidates, n_objectives) draws of the candidates.

        Returns:
            (n_candidates,) not below 0.
        """
        gains = []
        for some in torch.split(torch.tensor(candidates), _BLOCK, dim=1):
            sides = (torch.minimum(some[:, :, None], self._high) - self._low).clamp_min(0.0)
            gains.append(sides.prod(dim=-1).sum(dim=-1).mean(dim=0))
        result: FloatArray = torch.cat(gains).numpy()
        return result


def _cells(front: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the boxes that make up what no point of a front dominates, above the reference.

    Args:
        front: (n_draws, n_points, n_objectives).
        reference: (n_objectives,).

    Returns:
        (2, n_draws, n_cells, n_objectives) the lower and the upper corners; empty boxes fill the rows.
    """
    front = torch.maximum(front, reference)  # a point below it dominates nothing above it
    n_objectives = len(reference)
    if n_objectives == 1:
        low = front.amax(dim=1, keepdim=True)
        return torch.stack([low, torch.full_like(low, torch.inf)])
    if n_objectives == 2:
        return FastNondominatedPartitioning(reference, front).hypercell_bounds
    return BoxDecompositionList(
        *(FastNondominatedPartitioning(reference, each) for each in front)
    ).get_hypercell_bounds()


class ObjectiveProcesses:
    """A Gaussian process on each objective, with known noise.

    The kernel and the priors of its length scales are BoTorch's (Hvarfner, Hellsten, Nardi 2024).

    Args:
        at: (n_points, n_features) the scored points, each feature from 0 to 1.
        values: (n_points, n_objectives) their objectives; more is better.
        variances: (n_points, n_objectives) the variances of the noise in them.
        pending: (n_pending, n_features) points whose values are not known yet.
        n_draws: the number of draws.
        seed: the seed of the draws.
    """

    def __init__(
        self,
        at: FloatArray,
        values: FloatArray,
        variances: FloatArray,
        pending: FloatArray,
        n_draws: int,
        seed: int,
    ) -> None:
        self._at = torch.tensor(np.vstack([at, pending]))
        least = _LEAST_NOISE * values.var(axis=0) + 1e-18
        noise = np.where(np.isfinite(variances), np.maximum(variances, least), values.var(axis=0) + 1e-18)
        self._models = [
            _fitted(torch.tensor(at), torch.tensor(values[:, [j]]), torch.tensor(noise[:, [j]]), seed)
            for j in range(values.shape[1])
        ]
        self._n = len(self._at)
        normal = np.random.default_rng(seed).standard_normal((len(self._models), n_draws, self._n + 1))
        self._normal = torch.tensor(normal)
        self._factors = [_factor(_law(model, self._at)[1]) for model in self._models]

    @property
    def front(self) -> FloatArray:
        """(n_draws, n_points + n_pending, n_objectives) draws of the noiseless objectives."""
        draws = []
        with torch.no_grad():
            for model, factor, normal in zip(self._models, self._factors, self._normal, strict=True):
                draws.append(_law(model, self._at)[0] + normal[:, : self._n] @ factor.T)
        result: FloatArray = torch.stack(draws, dim=-1).numpy()
        return result

    def draw(self, candidates: FloatArray) -> FloatArray:
        """Return draws of candidates' objectives, jointly with those of the front.

        Args:
            candidates: (n_candidates, n_features).

        Returns:
            (n_draws, n_candidates, n_objectives).
        """
        return np.concatenate([self._draw(some) for some in torch.split(torch.tensor(candidates), _BLOCK)], axis=1)

    def _draw(self, candidates: torch.Tensor) -> FloatArray:
        draws, n = [], self._n
        both = torch.cat([self._at, candidates])
        with torch.no_grad():
            for model, factor, normal in zip(self._models, self._factors, self._normal, strict=True):
                mean, covariance = _law(model, both)
                shared = torch.linalg.solve_triangular(factor, covariance[:n, n:], upper=False)
                own = (covariance.diagonal()[n:] - (shared**2).sum(dim=0)).clamp_min(0.0).sqrt()
                draws.append(mean[n:] + normal[:, :n] @ shared + normal[:, n:] * own)
        result: FloatArray = torch.stack(draws, dim=-1).numpy()
        return result


def _fitted(at: torch.Tensor, values: torch.Tensor, noise: torch.Tensor, seed: int) -> SingleTaskGP:
    """Return a process with the likeliest parameters; a failing fit starts anew at random, hence the seed."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # BoTorch warns of constant objectives, and of fits that it repeats
        torch.manual_seed(seed)
        model = SingleTaskGP(at, values, noise, outcome_transform=Standardize(1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    model.eval()
    return model


def _law(model: SingleTaskGP, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (n,) and the covariance (n, n) of a process at points (n, n_features)."""
    with torch.no_grad():
        posterior = model.posterior(at)
    assert isinstance(posterior, GPyTorchPosterior)
    return posterior.mean[:, 0], posterior.distribution.covariance_matrix


def _factor(covariance: torch.Tensor) -> torch.Tensor:
    """Return the lower Cholesky factor of a covariance, with what it needs on the diagonal."""
    least = 1e-8 * covariance.diagonal().mean() + 1e-18
    factor: torch.Tensor = torch.linalg.cholesky(
        covariance + least * torch.eye(len(covariance), dtype=covariance.dtype)
    )
    return factor
