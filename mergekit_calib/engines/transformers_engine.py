"""The default engine: one live model of transformers, set in place, and the scorer `hf-prefix`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import transformers

from mergekit_calib.engines.engine import ReadyPoint
from mergekit_calib.merging.models import PointModels
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.prefix_lm.shared_trees import SharedPrefixTrees
from mergekit_calib.recipe import Point


def identity() -> dict[str, str]:
    """Return what a point's content key holds of this engine."""
    return {"name": "transformers", "version": transformers.__version__}


class TransformersEngine:
    """Scores and generates with transformers.

    Args:
        models: makes the points' models.
        model_args: arguments of lm-eval's `hf`.
        batch_size: as `hf` takes it.
        prefix_trees: what the scorers of all points share.
    """

    def __init__(
        self,
        models: PointModels,
        model_args: Mapping[str, Any],
        batch_size: int | str,
        prefix_trees: SharedPrefixTrees,
    ) -> None:
        self._models, self._model_args = models, dict(model_args)
        self._batch_size, self._prefix_trees = batch_size, prefix_trees

    @contextmanager
    def at(self, point: Point) -> Iterator[ReadyPoint]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: mergekit cannot plan the recipe, or its weights hold NaN or infinity.
        """
        with self._models.at(point) as ready:
            lm = build_lm(
                ready.model,
                ready.tokenizer,
                batch_size=self._batch_size,
                model_args=self._model_args,
                prefix_trees=self._prefix_trees,
            )
            yield ReadyPoint(lm, ready.digest)

    def discard(self) -> None:
        """Free the live model."""
        self._models.discard()
