"""The strategy `random`: points drawn uniformly from the whole space, to compare other strategies with."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study


@search_strategy("random")
class RandomSearch(Strategy):
    """Propose points drawn uniformly from the whole space."""

    def ask(self, study: Study) -> Proposal | None:
        """Return a random point."""
        return study.sample(lambda seed: RandomSampler(seed=seed))
