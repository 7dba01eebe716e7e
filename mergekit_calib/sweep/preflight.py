"""Checks before a sweep loads any weights: of its recipe, models, tasks, objectives, device and memory.

Each check raises a `CalibError` that names the file and the key. They read only configurations, file headers and
the documents of the suite's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from mergekit_calib import plugins
from mergekit_calib.engines.engine_checks import check_installed, check_suite
from mergekit_calib.engines.engine_memory import total_memory, with_vllm
from mergekit_calib.engines.vllm_engine import check_in_place
from mergekit_calib.errors import CalibError, RecipeError
from mergekit_calib.merging.checkpoint_files import check_model_names
from mergekit_calib.merging.config_checks import check_shapes_of_config
from mergekit_calib.merging.device_map import DeviceMap, device_map_of
from mergekit_calib.merging.difference import layers_of
from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.memory import (
    Footprint,
    fitting_footprint,
    footprint,
    free_memory,
    n_parameters,
    rooms_for_weights,
)
from mergekit_calib.merging.merge_configuration import (
    check_configuration_source,
    config_difference,
    configuration,
    merged_layers,
)
from mergekit_calib.merging.method_inputs import check_method_inputs
from mergekit_calib.merging.models import compute_dtype
from mergekit_calib.merging.parents import ParentModel, check_architectures, check_depths, check_disk, open_parents
from mergekit_calib.merging.plan_checks import check_plans
from mergekit_calib.merging.tokenizer_checks import (
    borrowed_tokenizer_note,
    check_generation_configs,
    check_tokenizer_files,
    tokenizer_of_points,
)
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice, choose_tokenizer
from mergekit_calib.prefix_lm.devices import usable_device
from mergekit_calib.prefix_lm.model_args import check_model_args
from mergekit_calib.recipe import Sweep, slices_of
from mergekit_calib.recipe.axes import grid_size
from mergekit_calib.scoring.prompt_checks import check_prompts
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.sweep.task_names import with_task_names
from mergekit_calib.sweep.validation import (
    check_budget,
    check_rule,
    most_points,
    objectives_of,
    rule_scores_of,
    strategy_of,
)

_LARGEST_GRID = 100_000  # points; a larger grid needs a budget
_MOST_CHECKED = 10_000  # points; in a larger grid, only the recipes of the corners are checked


def prepare(
    sweep: Sweep,
    out_path: Path,
    options: MergeOptions,
    workers: int = 1,
    streams: bool | None = None,
    *,
    gpu_bytes: int | None = None,
    scores_here: bool = True,
    writes_model: bool = True,
) -> Prepared:
    """Check a whole sweep, and resolve everything that its run needs.

    Args:
        sweep: the parsed sweep.
        out_path: the output folder.
        options: mergekit's options.
        workers: how many processes will score points: this one alone, or several that it starts.
        streams: for a worker, whether the parents are read for each point, as was decided for all workers; else None.
        gpu_bytes: memory of the GPU that a sweep is planned for, on another machine, whose disk and host memory are not
            known; None to check this machine.
        scores_here: whether this machine scores; otherwise devices and memory are checked where the points are scored.
        writes_model: whether the chosen model is written to `out_path`, which then needs the space on its disk.

    Raises:
        CalibError: the first mistake that was found.
    """
    sweep = with_task_names(sweep)
    block, source = sweep.calibration, sweep.source
    folder = RunFolder(out_path)
    folder.check(sweep.models)
    check_installed(block, source)
    check_model_names(sweep.models)
    if not any(axis.kind_options for axis in sweep.axes.values()):
        _check_points(sweep)  # before a model is fetched
    check_rule(sweep)

    updates: dict[str, Any] = {"quiet": True}
    if options.random_seed is None:
        updates["random_seed"] = block.seed
    if options.lora_merge_cache is None:
        updates["lora_merge_cache"] = str(folder.scratch / "adapters")
    options = options.model_copy(update=updates)

    models = open_parents(sweep.models, options)
    check_architectures(models.values(), options)
    check_shapes_of_config(models.values(), options.trust_remote_code)
    if not list(slices_of(sweep.recipe)):
        check_depths(models.values())
    layers = layers_of(models[next(iter(sweep.parent_models.values()))])
    sweep = sweep.expanded(layers, plugins.axis_kinds())
    _check_points(sweep)
    growth = _growth(sweep, models, options)
    of_adapters = sum(model.n_bytes for model in models.values() if model.reference.lora)
    of_models = int(2 * growth * max(model.n_bytes for model in models.values())) if writes_model else 0
    if gpu_bytes is None:
        check_disk(out_path, of_models + of_adapters)
    sweep, choice, notes = _with_tokenizer(sweep, models, options)
    notes = [*sweep.notes, *notes]
    check_configuration_source(next(sweep.corners()).recipe, options, source)
    if not of_adapters:  # else once they are merged
        check_plans(sweep, models, options)
    check_generation_configs(choice, models.values())
    check_tokenizer_files(sweep, choice, models)
    strategy = strategy_of(sweep)

    with _of_file(source):
        check_model_args(block.model_args)
        compute_dtype(block.model_args.get("dtype"))
        device, device_map = _place(block.model_args, options, scores_here, gpu_bytes)
    waits = bool(of_adapters) and choice.folder is None  # for the LoRAs to be merged
    tokenizer = None if waits else tokenizer_of_points(sweep, choice, options, block.model_args)
    suite = Suite.load(block.suite, seeds=block.seeds, source=source)
    check_suite(block, suite, source)
    folder.items.entries = suite.entry_of
    objectives = objectives_of(sweep, suite.tasks)
    check_rule(sweep, rule_scores_of(objectives, suite.tasks))
    check_budget(sweep, suite)
    if note := strategy.note(most_points(sweep, suite)):
        notes = [*notes, note]

    if tokenizer is not None:
        check_prompts(suite, tokenizer, block.model_args, source)
    dtype, out_dtype = (sweep.recipe.get(key) for key in ("dtype", "out_dtype"))
    scored_in = compute_dtype(block.model_args.get("dtype"))
    others = device_map.devices[1:] if device_map else ()
    needed = footprint(models.values(), dtype, out_dtype, scored_in, device, options, growth, others)
    if device_map is not None:
        with _of_file(source):
            _check_device_map(device_map, models, needed, options)
    needed = with_vllm(needed, block.engine, gpu_bytes or free_memory(device)[0], gpu_bytes or total_memory(device))
    memory = needed
    if gpu_bytes is not None:
        memory = fitting_footprint(needed, gpu_bytes, None)
    elif scores_here:
        memory = _fitting(needed, workers, streams)
    prepared = Prepared(
        sweep,
        folder,
        options,
        models,
        layers,
        choice,
        suite,
        objectives,
        strategy,
        device,
        memory,
        notes,
        device_map,
    )
    if block.vllm is not None and not of_adapters:  # else once they are merged, as each point is made
        for point in (*prepared.parents, next(sweep.corners())):
            check_in_place(prepared.point_models(), point)
    return prepared


@contextmanager
def _of_file(source: str | None) -> Iterator[None]:
    """Name the file and the whole key in errors that are about `model_args`."""
    try:
        yield
    except CalibError as problem:
        if source is None or not str(problem).startswith("model_args"):
            raise
        raise CalibError(f"{source}: calibration.{problem}") from problem


def _place(
    model_args: dict[str, Any], options: MergeOptions, scores_here: bool, gpu_bytes: int | None
) -> tuple[torch.device, DeviceMap | None]:
    """Return the device that scores, the first of them if the model is spread over several, and how it is spread."""
    if gpu_bytes is not None:
        return torch.device("cuda"), None
    if not scores_here:
        return torch.device("cpu"), None
    device_map = device_map_of(model_args, rooms_for_weights())
    return (scoring_device(model_args, options), None) if device_map is None else (device_map.devices[0], device_map)


def _check_device_map(
    device_map: DeviceMap, models: Mapping[str, ParentModel], needed: Footprint, options: MergeOptions
) -> None:
    """Check that the largest model fits on the GPUs that it is spread over, in the dtype that it is scored in."""
    largest = max(models.values(), key=n_parameters)
    empty = empty_model(largest.config, options.trust_remote_code)
    device_map.resolved(empty, needed.compute_dtype)


def _fitting(needed: Footprint, workers: int, streams: bool | None) -> Footprint:
    """Return the memory that the sweep takes, which is checked for all workers of the host together.

    On GPUs, the process that starts workers checks the host's memory, and each worker that of its own GPUs.
    """
    on_cpu = needed.device.type == "cpu"
    if streams is not None:
        needed = replace(needed, streams=streams)
        return needed if on_cpu else fitting_footprint(needed, free_memory(needed.device, needed.others)[0], None)
    if workers > 1 and not on_cpu:
        return fitting_footprint(replace(needed, workers=workers), None, free_memory(torch.device("cpu"))[1])
    return fitting_footprint(replace(needed, workers=workers), *free_memory(needed.device, needed.others))


def _growth(sweep: Sweep, models: Mapping[str, ParentModel], options: MergeOptions) -> float:
    """Return how many times as deep as the deepest parent a point's model can be; at least 1."""
    if not list(slices_of(sweep.recipe)):
        return 1.0
    depth = max(merged_layers(point.recipe, options) for point in sweep.corners())
    return max(1.0, depth / max(layers_of(model).count for model in models.values()))


def _with_tokenizer(
    sweep: Sweep, models: Mapping[str, ParentModel], options: MergeOptions
) -> tuple[Sweep, TokenizerChoice, list[str]]:
    """Return the sweep with the keys that its tokenizer needs in its recipes, the tokenizer, and notes on them."""
    choices = [choose_tokenizer(each, models, options) for each in sweep.each_method()]
    choice = max(choices, key=lambda choice: len(choice.recipe_keys))  # for the method that needs the most keys
    sweep, base = choice.applied_to(sweep), choice.recipe_keys.get("base_model")
    borrowed = borrowed_tokenizer_note(sweep, choice, models)
    notes = [borrowed] if borrowed else []
    if base is None or (difference := config_difference(next(sweep.corners()).recipe, options)) is None:
        return sweep, choice, notes
    note = (
        f"The recipe names no base_model, and the models' configs differ: {difference}. The merged models have the "
        f"config of {base}, which their recipes name as base_model; that changes nothing else in {sweep.method}."
    )
    return sweep, choice, [*notes, note]


def _check_points(sweep: Sweep) -> None:
    """Check that a grid is not too large, and that mergekit accepts the recipes of its points (or of its corners)."""
    search = sweep.calibration.search
    if sweep.calibration.strategy == "grid" and search.points is None and sweep.n_in_grid > _LARGEST_GRID:
        others = ", ".join(sorted(plugins.search_strategies().keys() - {"grid"}))
        problem = (
            f"the grid has {sweep.n_in_grid:,} points: give the axes fewer values, or set search.points and a strategy "
        )
        raise RecipeError("calibration.axes", f"{problem}that chooses among them ({others})", sweep.source)
    points = sweep.grid() if grid_size(sweep.axes) <= _MOST_CHECKED else sweep.corners()
    for point in (*sweep.parents(), *points):
        check_method_inputs(configuration(point.recipe, sweep.source), sweep.source)


def scoring_device(model_args: dict[str, Any], options: MergeOptions) -> torch.device:
    """Return `model_args.device`; else mergekit's device, unless it is the CPU; else a GPU if there is one, or the CPU.

    Raises:
        CalibError: the device does not exist on this machine.
    """
    if "device" in model_args:
        return usable_device(model_args["device"], "model_args.device")
    if options.device and options.device != "cpu":
        return usable_device(options.device, "mergekit's device")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
