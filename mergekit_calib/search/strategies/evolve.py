"""The strategy `evolve`: NSGA-II (Deb et al. 2002), generations of points by crossover and mutation.

For many points that are cheap to score.
"""

from __future__ import annotations

from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from pydantic import Field

from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study


@search_strategy("evolve")
class Evolve(Strategy):
    """Propose children of the best points of the last generation.

    No worker waits until a generation is complete: one that asks early gets another child of the last
    complete generation.

    Attributes:
        population: points in a generation.
    """

    population: int = Field(default=12, strict=True, ge=4)

    def ask(self, study: Study) -> Proposal | None:
        """Return a child of the last complete generation; a random point if there is none yet."""
        return study.sample(
            lambda seed: NSGAIISampler(
                population_size=self.population, crossover=SBXCrossover(), mutation=PolynomialMutation(), seed=seed
            )
        )
