"""A point's recipe as mergekit plans it, executed on tensors that stay in memory.

Relies on mergekit 0.1.5 for `MergePlanner.plan_to_disk`, `graph.build_schedule`, the tasks `LoadTensor` and
`SaveTensor`, and `merge._model_out_config`, which takes the first of `MergeConfiguration.referenced_models` if there is
no `base_model`. `plan_in_memory` cannot be used: in 0.1.5 its `ReturnTensor` does not validate.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

import torch
import transformers
from mergekit import merge_methods
from mergekit.architecture import ModelArchitecture, get_architecture_info
from mergekit.architecture.conversion import can_convert_checkpoint_keys
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.graph import Task, TaskUniverse, build_schedule
from mergekit.io.tasks import GatherTensors, LoaderCache, LoadTensor, SaveTensor
from mergekit.merge import _model_out_config
from mergekit.merge_methods.base import BasePolicy
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from mergekit.tokenizer import BuildTokenizer, PermutedVocabulary
from pydantic import ValidationError

from mergekit_calib.errors import CalibError, RecipeError, near_names
from mergekit_calib.merging.fast_linear import WeightedSum, gives_mergekits_bits
from mergekit_calib.merging.live_model import active_configuration
from mergekit_calib.recipe import Recipe

_ABSENT = "absent"  # in messages, for a config field that is not there


class _Configuration(MergeConfiguration):  # type: ignore[misc]  # mergekit has no types
    """mergekit's configuration with the models in the recipe's order, instead of the order of a set.

    Without `base_model` mergekit takes the tokenizer from the first model, which in a set differs between processes.
    """

    def referenced_models(self) -> list[ModelReference]:
        """Return the models that the recipe names, in its order."""
        modules = list((self.modules or {}).values())
        slices = [*(self.slices or []), *(part for module in modules for part in module.slices or [])]
        inputs = [*(self.models or []), *(model for module in modules for model in module.models or [])]
        named = [given.model for given in (*inputs, *(source for part in slices for source in part.sources))]
        return list(dict.fromkeys([*([self.base_model] if self.base_model else []), *named]))


def configuration(recipe: Recipe, source: str | None = None) -> MergeConfiguration:
    """Return mergekit's configuration for a plain recipe.

    Args:
        recipe: the recipe.
        source: its file, for messages.

    Raises:
        RecipeError: mergekit does not accept it, or does not know its dtype; with the key path.
    """
    for key in ("dtype", "out_dtype"):
        if problem := dtype_problem(recipe.get(key)):
            raise RecipeError(key, problem, source)
    try:
        return _Configuration.model_validate(recipe)
    except ValidationError as problems:
        error = problems.errors()[0]
        key = ".".join(str(part) for part in error["loc"]) or "recipe"
        raise RecipeError(key, f"{error['msg']} (found {error['input']!r})", source) from None
    except RuntimeError as problem:  # mergekit's own validators raise these
        raise RecipeError("recipe", str(problem), source) from None


def dtype_problem(name: Any) -> str | None:
    """Return what is wrong with the name of a dtype, or None; None as a name is accepted."""
    try:
        known = name is None or (dtype_from_name(str(name)) or torch.float32).is_floating_point
    except RuntimeError:
        known = False
    return None if known else f"is {name!r}; it can be float32, bfloat16, float16 or float64"


def check_configuration_source(recipe: Recipe, options: MergeOptions, source: str | None = None) -> None:
    """Check that every model gives the same config, if the recipe does not say which one mergekit takes it from.

    Args:
        recipe: a point's plain recipe.
        options: mergekit's options.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: the recipe has no `base_model`, and two models' configs differ in a field that affects a forward
            pass.
    """
    given = configuration(recipe, source)
    if given.base_model is not None:
        return
    architecture = _architecture(given, options)
    made_later = {"vocab_size"} if given.tokenizer or given.tokenizer_source else set()

    def taken_from(model: ModelReference) -> dict[str, Any]:
        of_model = given.model_copy(update={"base_model": model})
        return _flat(_merged_configuration(of_model, architecture, options), made_later)

    first, *others = given.referenced_models()
    mine = taken_from(first)
    for other in others:
        theirs = taken_from(other)
        differing = [key for key in (*mine, *theirs) if mine.get(key, _ABSENT) != theirs.get(key, _ABSENT)]
        if differing:
            key = differing[0]
            difference = f"{key} is {mine.get(key, _ABSENT)} in {first} and {theirs.get(key, _ABSENT)} in {other}"
            raise RecipeError("base_model", f"{difference}; {_base_model_needed(given.merge_method)}", source)


def _base_model_needed(method: str) -> str:
    problem = "without base_model, mergekit takes the merged model's config from any of them"
    if merge_methods.get(method).spec.contract.base == BasePolicy.IGNORED:
        return f"{problem}: name the model that it should come from, which changes nothing else in {method}"
    return f"{problem}: name the model that it should come from (in {method} it is also the base), or make them equal"


class ResidentTensors:
    """The parents' tensors: memory-mapped if the file's dtype is the recipe's, otherwise copies.

    Args:
        options: mergekit's options.
        keep: whether each tensor is read once and kept, or read from its file each time.
    """

    def __init__(self, options: MergeOptions, keep: bool = True) -> None:
        self._keep = keep
        self._loaded: dict[LoadTensor, torch.Tensor | None] = {}
        self._largest: dict[LoadTensor, float] = {}
        LoaderCache().setup(options)

    def __getitem__(self, task: LoadTensor) -> torch.Tensor | None:
        if task in self._loaded:
            return self._loaded[task]
        tensor: torch.Tensor | None = task.execute()
        if self._keep:
            self._loaded[task] = tensor
        return tensor

    def largest(self, task: LoadTensor) -> float:
        """Return the greatest magnitude in a tensor; NaN if it holds one."""
        if task not in self._largest:
            tensor = self[task]
            assert tensor is not None
            low, high = torch.aminmax(tensor) if tensor.numel() else (torch.zeros(()), torch.zeros(()))
            self._largest[task] = max(-float(low), float(high)) if low == low else math.nan
        return self._largest[task]


class Plan:
    """The tensors of one point, in the order and with the arithmetic of `mergekit-yaml` on its recipe.

    Attributes:
        config: the transformers configuration of the merged model.
        builds_tokenizer: whether the recipe makes a tokenizer (and so may change the vocabulary).
    """

    def __init__(self, configuration: MergeConfiguration, options: MergeOptions) -> None:
        self._options = options
        self._out_dtype = configuration.out_dtype
        LoaderCache().setup(options)
        architecture = _architecture(configuration, options)
        self.config = _merged_configuration(configuration, architecture, options)
        planner = MergePlanner(configuration.model_copy(deep=True), architecture, options, self.config)
        self._targets = planner.plan_to_disk(out_path="")  # nothing is written: the writer's task is never run
        self.builds_tokenizer = any(isinstance(t, BuildTokenizer) for t in self._targets)

    @cached_property
    def vocabulary_axes(self) -> dict[str, int]:
        """Tensor that has a row or column for each token of a tokenizer that the recipe makes → its axis of tokens."""
        return {
            target.tensor_name: task.vocabulary_axis
            for target in self._targets
            if isinstance(target, SaveTensor)
            for task in TaskUniverse([target]).tasks
            if isinstance(task, PermutedVocabulary)
        }

    def check_sources(self) -> None:
        """Check that every model has the tensors that the plan reads.

        Raises:
            CalibError: a model lacks a tensor.
        """
        for task in TaskUniverse(self._targets).tasks:
            if not isinstance(task, LoadTensor) or task.optional:
                continue
            loader = LoaderCache().get(task.model)
            names = loader.index.tensor_paths.keys()
            model_type = task.model.config(trust_remote_code=self._options.trust_remote_code).model_type
            if not (task._resolve_name(loader) or can_convert_checkpoint_keys(model_type, names, task.tensor)):
                near = near_names(task.tensor, names)
                raise CalibError(
                    f"{task.model} has no tensor {task.tensor}, which mergekit reads from a {model_type}{near}"
                )

    def tensors(self, residents: ResidentTensors) -> Iterator[tuple[str, torch.Tensor | WeightedSum]]:
        """Yield the name and value of every tensor that `mergekit-yaml` would write, bit for bit.

        Values may share memory with the residents, so copy them before writing to them. Randomised methods draw from
        torch's generators in mergekit's own order: seed as `run_merge` does (`set_seed`) before iterating.

        Args:
            residents: the parents' tensors.
        """
        save_of = {}
        for save in self._targets:
            if not isinstance(save, SaveTensor):
                continue
            if weighted_sum := self._weighted_sum(save, residents):  # draws no random numbers, so may come first
                yield save.tensor_name, weighted_sum
            else:
                save_of[save.tensor_task] = save
        if not save_of:
            return
        universe = TaskUniverse(self._targets)
        schedule = build_schedule([universe.add_task(t) for t in self._targets], cached_values={})
        tokenizers: dict[Task, Any] = {}
        for handle in schedule.tasks:
            task = handle.task()
            if task not in save_of:
                continue
            value = self._evaluate(task, residents, tokenizers)
            if value is None:
                continue
            save = save_of[task]
            dtype = dtype_from_name(save.dtype)
            yield save.tensor_name, value if dtype is None else value.to(dtype=dtype)

    def _weighted_sum(self, save: SaveTensor, residents: ResidentTensors) -> WeightedSum | None:
        """Return the tensor as a weighted sum, if that is all of its task, on the CPU and with finite numbers."""
        task = save.tensor_task
        if not isinstance(task, ExecuteMergeMethodTask) or not isinstance(task.gather_tensors, GatherTensors):
            return None
        if task.method_name != "linear" or self._options.device != "cpu":
            return None
        of_model = {load.model: load for load in task.gather_tensors.arguments().values()}
        sources = [of_model[model] for model in task.model_order]
        tensors = [tensor for tensor in (residents[load] for load in sources) if tensor is not None]
        kinds = {(tensor.shape, tensor.dtype) for tensor in tensors}
        if len(tensors) < len(sources) or len(kinds) > 1:
            return None
        dtype = tensors[0].dtype
        asked_for = {dtype_from_name(name) for name in (task.dtype, task.out_dtype, save.dtype)}
        if dtype not in (torch.float32, torch.bfloat16, torch.float16) or asked_for - {None, dtype}:
            return None
        weights = tuple(float(task.input_parameters[model]["weight"]) for model in task.model_order)
        weighted_sum = WeightedSum(tuple(tensors), weights, bool(task.parameters["normalize"]), dtype)
        bound = weighted_sum.largest(tuple(residents.largest(load) for load in sources))
        fits = bound < torch.finfo(dtype).max  # so no sum needs to be searched for infinities
        return weighted_sum if fits and gives_mergekits_bits(dtype, tensors[0].device) else None

    def _evaluate(self, task: Task, residents: ResidentTensors, tokenizers: dict[Task, Any]) -> Any:
        """Execute a task and those it depends on, on the devices that mergekit's Executor would use."""
        if isinstance(task, LoadTensor):
            return residents[task]
        if task in tokenizers:
            return tokenizers[task]
        arguments = {
            name: self._evaluate(dependency, residents, tokenizers) for name, dependency in task.arguments().items()
        }
        if task.uses_accelerator():
            arguments = {name: _moved(value, torch.device(self._options.device)) for name, value in arguments.items()}
        value = task.execute(**arguments)
        if isinstance(task, BuildTokenizer):
            tokenizers[task] = value
        return value


def _merged_configuration(
    configuration: MergeConfiguration, architecture: ModelArchitecture, options: MergeOptions
) -> transformers.PretrainedConfig:
    """Return the transformers config of the merged model."""
    config: transformers.PretrainedConfig = _model_out_config(
        configuration, architecture, trust_remote_code=options.trust_remote_code
    )
    return config


def _flat(config: transformers.PretrainedConfig, without: Collection[str]) -> dict[str, Any]:
    """Return key path → value, of the config fields that affect a forward pass."""

    def leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, dict):
            yield path, node
            return
        for key, value in node.items():
            if key not in without:
                yield from leaves(value, f"{path}.{key}" if path else str(key))

    return dict(leaves(active_configuration(config), ""))


def _architecture(configuration: MergeConfiguration, options: MergeOptions) -> ModelArchitecture:
    try:
        return get_architecture_info(configuration, options)
    except RuntimeError as problem:
        raise CalibError(f"mergekit cannot plan this recipe: {problem}") from problem


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=device.type in ("cuda", "xpu"))
    if isinstance(value, dict):
        return {key: _moved(v, device) for key, v in value.items()}
    return value
