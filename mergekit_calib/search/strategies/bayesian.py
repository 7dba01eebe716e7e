"""The strategy `bayesian`: the point with the largest gain in hypervolume that Gaussian processes predict.

For few points that are expensive to score. Optuna's `GPSampler` provides the processes and the acquisition
function (log expected hypervolume improvement). It takes running points into account, so no worker waits for another.
"""

from __future__ import annotations

import numpy as np
from optuna.samplers import GPSampler
from pydantic import Field
from scipy.stats import qmc

from mergekit_calib.recipe import Axis, Setting, Value
from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study

# The least spread of an axis in the first points, where 1 is the whole axis. Without any spread, the points would say
# nothing about an axis on which the parents hardly differ.
_LEAST_SPREAD = 0.25


@search_strategy("bayesian")
class Bayesian(Strategy):
    """Propose points that fill the space, then the points that the Gaussian processes expect to gain most.

    In each of the first points, the axes of a family (such as `blocks`) vary around a common value, by more where
    the parents differ more in the axis's part of the model. This first guess of which blocks matter follows AP-BMM
    (arXiv 2512.09972), and the processes then correct it.

    Attributes:
        startup: number of the first points; None for twice the number of axes, within 4 to 16.
    """

    startup: int | None = Field(default=None, strict=True, ge=1)

    def ask(self, study: Study) -> Proposal | None:
        """Return the next of the first points, or the point with the largest expected gain."""
        n_startup = self.startup or min(max(2 * len(study.axes), 4), 16)
        n_before = study.n_proposed
        if n_before < n_startup or len(study.evaluated) < 2:
            setting = _space_filling(study, n_before)
            if not study.has(setting):
                return study.start(setting)
        return study.sample(lambda seed: GPSampler(seed=seed, n_startup_trials=2, warn_independent_sampling=False))


def _space_filling(study: Study, index: int) -> Setting:
    """Return point number `index` of a scrambled Sobol' sequence, unimportant axes near a common value."""
    sobol = qmc.Sobol(len(study.axes) + 1, seed=study.first_seed)
    if index:
        sobol.fast_forward(index)
    common, *own = sobol.random(1)[0]
    setting: Setting = {}
    for (name, axis), u in zip(study.axes.items(), own, strict=True):
        spread = max(study.importance[name], _LEAST_SPREAD) if name in study.importance else 1.0
        setting[name] = axis.place(_value_at(axis, float(np.clip(common + spread * (u - common), 0.0, 1.0))))
    return setting


def _value_at(axis: Axis, share: float) -> Value:
    """Return the value at `share` of an axis, where 0 is its start and 1 its end."""
    if axis.values is None:
        low, high = axis.numbers
        return low + share * (high - low)
    return axis.values[min(int(share * len(axis.values)), len(axis.values) - 1)]
