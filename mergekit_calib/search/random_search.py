"""`random`: points drawn evenly from the whole space; what every other strategy has to beat."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from mergekit_calib.search.strategy import StrategyKind
from mergekit_calib.search.study import Proposal, Study


class Random:
    def ask(self, study: Study) -> Proposal | None:
        return study.sample(lambda seed: RandomSampler(seed=seed))


RANDOM = StrategyKind(lambda options: Random())
