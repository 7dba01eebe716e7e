"""Checks of the plans of a sweep's points against the models' files, before any weight is loaded.

Relies on mergekit 0.1.5 for the tasks `ExecuteMergeMethodTask`, `GatherTensors` and `LoadTensor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import transformers
from mergekit.architecture.conversion import can_convert_checkpoint_keys
from mergekit.common import ModelReference
from mergekit.graph import TaskUniverse
from mergekit.io.tasks import GatherTensors, LoaderCache, LoadTensor, SaveTensor
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.merging.plan import Plan
from mergekit_calib.recipe import Sweep


def check_plans(sweep: Sweep, models: Mapping[str, ParentModel], options: MergeOptions) -> None:
    """Check that mergekit can plan a sweep's points, finds the tensors that it needs, and can save the config.

    The points at one corner of the axes are checked, one for each merge method.

    Args:
        sweep: the sweep, with its tokenizer's keys.
        models: every model that the recipe names; LoRAs must have been merged.
        options: mergekit's options.

    Raises:
        CalibError: it cannot; the message names what is missing or wrong.
    """
    checked_methods = set()
    for point in sweep.corners():
        if (method := point.recipe["merge_method"]) not in checked_methods:
            checked_methods.add(method)
            plan = Plan(configuration(point.recipe, sweep.source), options)
            check_sources(plan, options, models)
            check_shapes(plan, models, options)
            check_output_head(plan, models, options)
            check_config(plan)


def check_sources(plan: Plan, options: MergeOptions, models: Mapping[str, ParentModel] | None = None) -> None:
    """Check that every model has the tensors that a plan reads.

    Args:
        plan: the plan of a point.
        options: mergekit's options.
        models: the models whose files were read; their indexes may name tensors that no file holds.

    Raises:
        CalibError: a model lacks a tensor.
    """
    shapes = {model.reference: model.shapes for model in (models or {}).values() if not model.reference.lora}
    for task in TaskUniverse(plan.targets).tasks:
        if not isinstance(task, LoadTensor) or task.optional:
            continue
        loader = LoaderCache().get(task.model)
        if name := task._resolve_name(loader):
            if name not in (shapes.get(task.model) or {name}):
                file = f"{loader.index.base_path}/{loader.index.tensor_paths[name]}"
                raise CalibError(f"{file} has no tensor {name}, which the index beside it names; fetch the model again")
            continue
        names = loader.index.tensor_paths.keys()
        # Not before, because mergekit reads the model's config again each time: 4 ms for each of its tensors.
        model_type = task.model.config(trust_remote_code=options.trust_remote_code).model_type
        if not can_convert_checkpoint_keys(model_type, names, task.tensor):
            near = near_names(task.tensor, names)
            raise CalibError(
                f"{task.model} has no tensor {task.tensor}, which mergekit reads from a {model_type}{near}"
            )


def check_shapes(plan: Plan, models: Mapping[str, ParentModel], options: MergeOptions) -> None:
    """Check that the tensors that a plan merges with one another have one shape, and the embeddings that of the config.

    Args:
        plan: the plan of a point.
        models: every model that the recipe names. Those in pickle format are not checked.
        options: mergekit's options; with `--allow-crimes` nothing is checked.

    Raises:
        CalibError: the shapes differ, except along a vocabulary that the recipe makes.
    """
    if options.allow_crimes:
        return
    vocabularies = {model.config.get_text_config().vocab_size for model in models.values()}
    n_tokens = plan.config.get_text_config().vocab_size if len(vocabularies) > 1 else None
    for task, inputs in _merged_tensors(plan, {model.reference: model for model in models.values()}):
        axis, is_made = task.output_weight.vocabulary_axis, not isinstance(task.gather_tensors, GatherTensors)
        (first, name, shape), *others = inputs
        for other, other_name, other_shape in others:
            free = axis if is_made else None
            if _without(shape, free) == _without(other_shape, free):
                continue
            hint = ""
            if axis is not None and _without(shape, axis) == _without(other_shape, axis):
                hint = "; vocabularies of different size need `tokenizer: {source: union}` or `tokenizer_source`"
            in_other = f"{list(other_shape)} in {other}" + ("" if name == other_name else f" ({other_name})")
            raise CalibError(f"tensor {name} is {list(shape)} in {first} and {in_other}{hint}")
        if axis is not None and not is_made and n_tokens not in (None, shape[axis]):
            raise CalibError(
                f"tensor {name} of {first} has {shape[axis]} tokens, and the merged model's config {n_tokens}; name a "
                "base_model, which gives the config, with the same vocabulary"
            )


def check_output_head(plan: Plan, models: Mapping[str, ParentModel], options: MergeOptions) -> None:
    """Check that no model loses its output head, because the merged model's config ties it to the embeddings.

    Args:
        plan: the plan of a point.
        models: every model that the recipe names.
        options: mergekit's options; with `--allow-crimes` nothing is checked.

    Raises:
        CalibError: the config ties them, and a model has an output head of its own.
    """
    if options.allow_crimes or not _is_tied(plan.config):
        return
    tied = [model for model in models.values() if _is_tied(model.config)]
    for model in models.values():
        if tied and not _is_tied(model.config) and "lm_head.weight" in model.shapes:
            raise CalibError(
                f"{tied[0].folder / 'config.json'}: tie_word_embeddings is true, and false in {model.name}, whose "
                "output head the merged models would lose; save the first again with false, and its embeddings as "
                "lm_head.weight, too"
            )


def _is_tied(config: transformers.PretrainedConfig) -> bool:
    return bool(getattr(config.get_text_config(), "tie_word_embeddings", False))


def check_config(plan: Plan) -> None:
    """Check that the merged model's config can be saved.

    transformers 5 refuses one whose number of layers mergekit changed but not the list of their types, as when layers
    of Qwen or Gemma are stacked.

    Raises:
        CalibError: it cannot.
    """
    try:
        getattr(plan.config, "validate", lambda: None)()
    except Exception as problem:  # of several libraries, which change with transformers
        message = str(problem.__cause__ or problem).strip()
        version = transformers.__version__
        raise CalibError(f"transformers {version} cannot save the merged model's config: {message}") from problem


def _merged_tensors(
    plan: Plan, models: Mapping[ModelReference, ParentModel]
) -> Iterator[tuple[ExecuteMergeMethodTask, list[tuple[str, str, tuple[int, ...]]]]]:
    """Yield each task that merges tensors, with the model, the name and the shape of each of its inputs."""
    for target in plan.targets:
        task = target.tensor_task if isinstance(target, SaveTensor) else None
        if not isinstance(task, ExecuteMergeMethodTask):
            continue
        given = task.gather_tensors
        gathered = given if isinstance(given, GatherTensors) else given.gather_tensors
        inputs = []
        for load in gathered.arguments().values():
            shapes = models[load.model].shapes if load.model in models else {}
            names = (load.tensor, *(load.aliases or ()), *(load.tied_names or ()))
            inputs += [(str(load.model), name, shapes[name]) for name in names if name in shapes][:1]
        if inputs:
            yield task, inputs


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]
