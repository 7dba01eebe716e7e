"""`evolve`: NSGA-II (Deb et al. 2002), generations of points that cross and mutate; for many, cheap points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover

from mergekit_calib.search.strategy import StrategyKind, whole_number
from mergekit_calib.search.study import Proposal, Study


@dataclass(frozen=True)
class Evolve:
    """Workers never wait for a generation to fill: one that asks early gets another child of the last.

    Attributes:
        population: points in a generation.
    """

    population: int

    def ask(self, study: Study) -> Proposal | None:
        return study.sample(
            lambda seed: NSGAIISampler(
                population_size=self.population, crossover=SBXCrossover(), mutation=PolynomialMutation(), seed=seed
            )
        )


def _make(options: Mapping[str, Any]) -> Evolve:
    return Evolve(options.get("population", 12))


EVOLVE = StrategyKind(_make, options={"population": whole_number(4)})
