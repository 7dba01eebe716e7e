"""The tensors of a point, computed where they are needed: in each process that holds a part of vLLM's model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from mergekit.options import MergeOptions
from pydantic import BaseModel

from mergekit_calib.merging.fast_linear import WeightedSum
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.plan import Plan, ResidentTensors
from mergekit_calib.merging.weights_digest import Digest, WeightsError
from mergekit_calib.recipe import Recipe


class BlendOptions(BaseModel, frozen=True):
    """What the blends of all points have in common.

    Attributes:
        merge_options: mergekit's options, as JSON holds them.
        keeps_vocabulary: whether the points' tokenizer changes no weights.
        keep_parents: whether the parents' tensors stay in memory (mapped from their files if they can be).
    """

    merge_options: dict[str, Any]
    keeps_vocabulary: bool = True
    keep_parents: bool = True


@dataclass
class Blend:
    """The tensors of one point, by checkpoint name, as `mergekit-yaml` would write them.

    Iterating over it computes them. Values may share memory with the parents.

    Args:
        plan: the point's plan.
        residents: the parents' tensors.
        hashed: whether `digest` is wanted.

    Attributes:
        digest: the digest of the tensors so far; None if it is not wanted.
        problem: what is wrong with the weights; None if nothing is. All tensors are yielded in any case, so that a
            model which is being loaded ends up whole.
    """

    plan: Plan
    residents: ResidentTensors
    hashed: bool

    def __post_init__(self) -> None:
        self._digest = Digest()
        self.problem: str | None = None

    @property
    def digest(self) -> str | None:
        """The digest of the tensors so far."""
        return self._digest.hexdigest() if self.hashed else None

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, given in self.plan.tensors(self.residents):
            tensor = given.value() if isinstance(given, WeightedSum) else given
            if self.hashed:
                try:
                    self._digest.update(name, tensor)
                except WeightsError as problem:
                    self.problem = self.problem or str(problem)
            yield name, tensor


class Blender:
    """Computes the tensors of one point after another from parents that it keeps.

    Args:
        options: what the blends have in common.
    """

    def __init__(self, options: BlendOptions) -> None:
        self._options = options
        self._merge_options = MergeOptions.model_validate(options.merge_options)
        self._residents = ResidentTensors(self._merge_options, options.keep_parents)

    def blend(self, recipe: Recipe, hashed: bool = True) -> Blend:
        """Return the tensors of a point.

        Args:
            recipe: the point's plain recipe.
            hashed: whether their digest is wanted.

        Raises:
            CalibError: mergekit cannot plan the recipe.
        """
        plan = Plan(configuration(recipe), self._merge_options, self._options.keeps_vocabulary)
        # As run_merge does, so that randomised methods draw the same numbers.
        transformers.set_seed(self._merge_options.random_seed or 0)
        return Blend(plan, self._residents, hashed)
