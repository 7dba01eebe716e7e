"""Which point to score next: strategies over a study that workers share, and races that stop points early.

Strategies are in `strategies/`, one module each.
"""

from mergekit_calib.search import strategies  # noqa: F401  (its import registers the built-in strategies)
from mergekit_calib.search.strategy import STRATEGIES, Strategy, search_strategy
from mergekit_calib.search.study import Evaluated, Proposal, Study

__all__ = ["STRATEGIES", "Evaluated", "Proposal", "Strategy", "Study", "search_strategy"]
