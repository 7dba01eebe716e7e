"""The scorer of a sweep's points in this process: the engine that the recipe names, and the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergekit_calib.engines.engine import Engine
from mergekit_calib.engines.engine_memory import share_of_gpu
from mergekit_calib.engines.transformers_engine import TransformersEngine
from mergekit_calib.engines.vllm_engine import VllmEngine, VllmPlace
from mergekit_calib.merging.models import PointModels
from mergekit_calib.sweep.point_scorer import LocalScorer

if TYPE_CHECKING:
    from mergekit_calib.sweep.prepared import Prepared


def local_scorer(prepared: Prepared) -> LocalScorer:
    """Return an object that makes and scores the models of points in this process.

    Args:
        prepared: the sweep.
    """
    block, models = prepared.sweep.calibration, prepared.point_models()
    scoring = TransformersEngine(models, prepared.model_args, block.batch_size, prepared.suite.prefix_trees)
    engine = scoring if block.vllm is None else _with_vllm(prepared, models, scoring)
    return LocalScorer(engine, prepared.suite)


def _with_vllm(prepared: Prepared, models: PointModels, scoring: TransformersEngine) -> Engine:
    """Return the engine that generates with vLLM; `scoring` scores choices, unless nothing does."""
    engine, settings = prepared.sweep.calibration.engine, prepared.sweep.calibration.vllm
    assert engine is not None
    assert settings is not None
    return VllmEngine(
        models,
        None if engine.only_generates else scoring,
        prepared.parents,
        settings,
        VllmPlace(prepared.device, share_of_gpu(prepared.memory), prepared.folder.scratch),
        merge_options=prepared.options,
        keeps_vocabulary=not prepared.tokenizer.changes_weights,
        keep_parents=not prepared.memory.streams,
        model_args=prepared.model_args,
    )
