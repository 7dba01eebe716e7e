"""The memory that vLLM takes beside the live model, estimated before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from mergekit_calib.engines.vllm_internals import cache_bytes_on_cpu
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.memory import Footprint
from mergekit_calib.recipe.engine_settings import EngineSettings

_PROCESS_BYTES = 10**9  # of each of vLLM's processes on a CPU: code, and what it allocates once
_OF_ITS_OWN = 0.9  # lm-eval's and vLLM's default of `gpu_memory_utilization`
_STEP = 100  # a share is a whole number of hundredths


def with_vllm(needed: Footprint, engine: EngineSettings | None, free: int, total: int) -> Footprint:
    """Return a sweep's footprint with what vLLM takes; the same if it does not generate.

    Args:
        needed: the footprint without it.
        engine: the block's engine.
        free: bytes that are free on the device.
        total: bytes that the device has.

    Raises:
        CalibError: on a GPU, nothing is left for vLLM beside the live model.
    """
    if engine is None or engine.generation is None:
        return needed
    settings, alone = engine.generation, engine.only_generates
    processes = settings.tensor_parallel_size
    if needed.device.type == "cpu":
        # One process serves requests, and the others hold a part of the weights each.
        generating = needed.live + cache_bytes_on_cpu() + (processes + 1) * _PROCESS_BYTES
        return replace(needed, generating=generating, takes_turns=alone, holders=processes + 1)
    share = settings.gpu_memory_utilization
    if share is None:
        left = free if alone else free - needed.on_device
        share = min(_OF_ITS_OWN, math.floor(_STEP * left / total) / _STEP)
        if share * total < needed.live / processes:
            raise CalibError(
                f"beside the model that scores choices ({needed.on_device / 1e9:.1f} GB), {max(0, left) / 1e9:.1f} GB "
                f"are left on {needed.device} for vLLM, which needs a second copy of the weights "
                f"({needed.live / processes / 1e9:.1f} GB); generate with transformers (remove `engine`), or score "
                "choices and generated tasks in two sweeps, the second with `engine: vllm`"
            )
    return replace(needed, generating=int(share * total), takes_turns=alone, holders=processes + 1)


def share_of_gpu(memory: Footprint) -> float:
    """Return vLLM's `gpu_memory_utilization` for a footprint; 0 on a CPU."""
    if memory.device.type != "cuda":
        return 0.0
    return round(_STEP * memory.generating / torch.cuda.get_device_properties(memory.device).total_memory) / _STEP


def total_memory(device: torch.device) -> int:
    """Return the bytes that a GPU has; 0 for other devices, of which vLLM takes no share."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0
