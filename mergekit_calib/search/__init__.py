"""Which point next: strategies over a study that workers share, races that end early, and item scores on disk.

A third party's strategy is a `StrategyKind`, registered through the hook `calib_search_strategies`.
"""

from mergekit_calib.search.adaptive import ADAPTIVE
from mergekit_calib.search.bayesian import BAYESIAN
from mergekit_calib.search.evolve import EVOLVE
from mergekit_calib.search.grid import GRID
from mergekit_calib.search.random_search import RANDOM
from mergekit_calib.search.strategy import Strategy, StrategyKind
from mergekit_calib.search.study import Evaluated, Proposal, Study

STRATEGIES = {"grid": GRID, "random": RANDOM, "adaptive": ADAPTIVE, "bayesian": BAYESIAN, "evolve": EVOLVE}

__all__ = ["STRATEGIES", "Evaluated", "Proposal", "Strategy", "StrategyKind", "Study"]
