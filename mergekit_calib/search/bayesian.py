"""`bayesian`: the point whose expected gain in hypervolume is largest, by Gaussian processes; for few, dear points.

The processes, the acquisition function (log expected hypervolume improvement) and the counting of points that still run
(its batch form, so that workers never wait for one another) are optuna's `GPSampler`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.samplers import GPSampler
from scipy.stats import qmc

from mergekit_calib.recipe import Axis, Setting, Value
from mergekit_calib.search.strategy import StrategyKind, whole_number
from mergekit_calib.search.study import Proposal, Study

_LEAST_SPREAD = 0.25  # of an axis whose parents hardly differ; none at all would teach nothing of it


@dataclass(frozen=True)
class Bayesian:
    """First a design that fills the space, then the model.

    The design spreads each axis of a family by how far the parents differ in what it governs, around a value common to
    all: a guess of which blocks matter, as in AP-BMM (arXiv 2512.09972), that the model then corrects.

    Attributes:
        startup: points of the design; None for twice the number of axes, 4 to 16.
    """

    startup: int | None = None

    def ask(self, study: Study) -> Proposal | None:
        n_startup = self.startup or min(max(2 * len(study.axes), 4), 16)
        n_before = study.n_proposed
        if n_before < n_startup or len(study.known) < 2:
            setting = _design(study, n_before)
            if not study.has(setting):
                return study.start(setting)
        return study.sample(lambda seed: GPSampler(seed=seed, n_startup_trials=2, warn_independent_sampling=False))


def _design(study: Study, index: int) -> Setting:
    """The point of that number in a scrambled Sobol' sequence, drawn towards a common value where parents agree."""
    sobol = qmc.Sobol(len(study.axes) + 1, seed=study.first_seed)
    if index:
        sobol.fast_forward(index)
    common, *own = sobol.random(1)[0]
    setting: Setting = {}
    for (name, axis), u in zip(study.axes.items(), own, strict=True):
        spread = max(study.importance[name], _LEAST_SPREAD) if name in study.importance else 1.0
        setting[name] = axis.place(_at(axis, float(np.clip(common + spread * (u - common), 0.0, 1.0))))
    return setting


def _at(axis: Axis, share: float) -> Value:
    """The value that lies at `share`, 0 to 1, of an axis."""
    if axis.values is None:
        low, high = axis.numbers
        return low + share * (high - low)
    return axis.values[min(int(share * len(axis.values)), len(axis.values) - 1)]


def _make(options: Mapping[str, Any]) -> Bayesian:
    return Bayesian(options.get("startup"))


BAYESIAN = StrategyKind(_make, options={"startup": whole_number(1)})
