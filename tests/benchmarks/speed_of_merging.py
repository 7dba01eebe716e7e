"""The part `merge` of `speed.py`: the time of setting the next point in place."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from mergekit.merge_methods import merge_state_dicts
from mergekit.options import MergeOptions
from speed_common import Report, recipe, timed

from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import open_parents
from mergekit_calib.merging.tokenizer_choice import choose_tokenizer
from mergekit_calib.recipe import parse_sweep


def merge(options: argparse.Namespace) -> Report:
    """Compare setting the next point in place with a copy of the live model's weights and with the method's kernel.

    The kernel is mergekit's `merge_state_dicts` over both parents' tensors in memory.
    """
    register()
    return {
        f"{method}, {dtype}": _merge(options, method, dtype)
        for dtype in ("bfloat16", "float32")
        for method in ("linear", "slerp", "ties")
    }


def _merge(options: argparse.Namespace, method: str, dtype: str) -> Report:
    sweep = parse_sweep(recipe(options.pair, dtype, method, 5), registered_signatures())
    merge_options = MergeOptions(random_seed=0, quiet=True)
    parents = open_parents(sweep.models, merge_options)
    choice = choose_tokenizer(sweep, parents, merge_options)
    sweep = choice.applied_to(sweep)
    states = [_state(options.pair / name, dtype) for name in ("base", "aligned")]
    seconds, copies, kernels = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        models = PointModels(merge_options, choice, Path(scratch), torch.device(options.device))
        for point in sweep.grid():
            began = time.perf_counter()
            with models.at(point) as ready:
                seconds.append(time.perf_counter() - began)
                sources = [p.clone() for p in ready.model.parameters()]
                copies.append(timed(_copy, ready.model, sources)[0])
                del sources
            kernels.append(timed(_kernel, method, states, point.axes["lambda"])[0])
    return {
        "first_seconds": seconds[0],
        "seconds": statistics.median(seconds[1:]),
        "by_a_copy": statistics.median(seconds[1:]) / statistics.median(copies[1:]),
        "by_the_kernel": statistics.median(seconds[1:]) / statistics.median(kernels[1:]),
    }


def _state(folder: Path, dtype: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint in the recipe's dtype."""
    files = folder.glob("*.safetensors")
    state = {k: v for file in files for k, v in safetensors.torch.load_file(file).items()}
    return {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}


@torch.no_grad()
def _kernel(method: str, states: list[dict[str, torch.Tensor]], lambda_: float) -> None:
    models = dict(zip(("base", "aligned"), states, strict=True))
    given: dict[str, Any] = {
        "linear": {"parameters": {"weight": {"base": 1 - lambda_, "aligned": lambda_}, "normalize": False}},
        "slerp": {"parameters": {"t": lambda_}, "base": "base"},
        "ties": {"parameters": {"weight": 1.0, "density": 1.0, "lambda": lambda_}, "base": "base"},
    }[method]
    merge_state_dicts(models, method, **given)


def _copy(model: Any, sources: list[torch.Tensor]) -> None:
    for parameter, source in zip(model.parameters(), sources, strict=True):
        parameter.copy_(source)
