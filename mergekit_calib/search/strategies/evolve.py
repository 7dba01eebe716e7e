"""The strategy `evolve`: NSGA-II (Deb et al. 2002), generations of points by crossover and mutation.

For many points that are cheap to score. On known fronts with 24 points it was no better than `random`
(`tests/benchmarks/README.md`, "Known fronts"): a generation learns only from the one before it.
"""

from __future__ import annotations

from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from pydantic import Field

from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study

_FEW_POINTS = 100  # with fewer, it has been no better than drawing points at random


@search_strategy("evolve")
class Evolve(Strategy):
    """Propose children of the best points of the last generation.

    No worker waits until a generation is complete: one that asks early gets another child of the last
    complete generation.

    Attributes:
        population: points in a generation.
    """

    population: int = Field(default=12, strict=True, ge=4)

    def note(self, most_points: float) -> str | None:
        """Return a note if the budget is too small for evolution."""
        if most_points >= _FEW_POINTS:
            return None
        return (
            f"With fewer than {_FEW_POINTS} points, evolve is no better than random, and this search scores at most "
            f"{most_points:g}. The strategy bayesian is for few points."
        )

    def ask(self, study: Study) -> Proposal | None:
        """Return a child of the last complete generation; a random point if there is none yet."""
        return study.sample(
            lambda seed: NSGAIISampler(
                population_size=self.population, crossover=SBXCrossover(), mutation=PolynomialMutation(), seed=seed
            )
        )
