"""A point's recipe as mergekit plans it, executed on tensors that stay in memory.

Relies on mergekit 0.1.5 for `MergePlanner.plan_to_disk`, `graph.build_schedule`, the tasks `LoadTensor` and
`SaveTensor`. `plan_in_memory` cannot be used: in 0.1.5 its `ReturnTensor` does not validate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from mergekit.common import dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.graph import Task, TaskUniverse, build_schedule
from mergekit.io.tasks import GatherTensors, LoaderCache, LoadTensor, SaveTensor
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from mergekit.tokenizer import BuildTokenizer, PermutedVocabulary

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.fast_linear import WeightedSum, is_bit_identical_to_mergekit
from mergekit_calib.merging.merge_configuration import architecture_of, merged_configuration


class ResidentTensors:
    """The parents' tensors: memory-mapped if the file's dtype is the recipe's, otherwise copies.

    Args:
        options: mergekit's options.
        keep: True to read each tensor once and keep it, False to read it from its file each time.
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

    def largest_magnitude(self, task: LoadTensor) -> float:
        """Return the greatest magnitude in a tensor; NaN if it holds a NaN."""
        if task not in self._largest:
            tensor = self[task]
            assert tensor is not None
            low, high = torch.aminmax(tensor) if tensor.numel() else (torch.zeros(()), torch.zeros(()))
            self._largest[task] = max(-float(low), float(high)) if low == low else math.nan
        return self._largest[task]


class Plan:
    """The tensors of one point, computed as `mergekit-yaml` computes them from its recipe.

    Args:
        configuration: mergekit's configuration of the point.
        options: mergekit's options.
        keeps_vocabulary: whether the recipe's tokenizer changes no weights, so that it need not be made here.

    Attributes:
        config: the transformers configuration of the merged model.
        targets: mergekit's tasks that save a tensor each, and the others that it runs.
        builds_tokenizer: whether the recipe makes a tokenizer that may change the vocabulary.

    Raises:
        CalibError: mergekit cannot plan the recipe.
    """

    def __init__(
        self, configuration: MergeConfiguration, options: MergeOptions, keeps_vocabulary: bool = False
    ) -> None:
        # With the tokenizer's tasks, even if they are not run: randomised methods draw in the order of the whole plan.
        self._options, self._keeps_vocabulary = options, keeps_vocabulary
        self._out_dtype = configuration.out_dtype
        LoaderCache().setup(options)
        architecture = architecture_of(configuration, options)
        self.config = merged_configuration(configuration, architecture, options)
        try:
            planner = MergePlanner(configuration.model_copy(deep=True), architecture, options, self.config)
            self.targets = planner.plan_to_disk(out_path="")  # nothing is written: the writer's task is never run
        except (RuntimeError, ValueError) as problem:
            raise CalibError(f"mergekit cannot plan this recipe: {problem}") from problem
        self.builds_tokenizer = not keeps_vocabulary and any(isinstance(t, BuildTokenizer) for t in self.targets)

    @cached_property
    def vocabulary_axes(self) -> dict[str, int]:
        """Tensor → its axis along the vocabulary, for the tensors whose vocabulary the recipe's tokenizer changes."""
        if self._keeps_vocabulary:
            return {}
        return {
            target.tensor_name: task.vocabulary_axis
            for target in self.targets
            if isinstance(target, SaveTensor)
            for task in TaskUniverse([target]).tasks
            if isinstance(task, PermutedVocabulary)
        }

    def tensors(self, residents: ResidentTensors) -> Iterator[tuple[str, torch.Tensor | WeightedSum]]:
        """Yield the name and value of every tensor that `mergekit-yaml` would write, bit for bit.

        Values may share memory with the residents, so copy them before writing to them. Randomised methods draw from
        torch's generators in mergekit's own order: seed as `run_merge` does (`set_seed`) before iterating.

        Args:
            residents: the parents' tensors.
        """
        save_of = {}
        for save in self.targets:
            if not isinstance(save, SaveTensor):
                continue
            if weighted_sum := self._weighted_sum(save, residents):  # It draws no random numbers, so it may come first.
                yield save.tensor_name, weighted_sum
            else:
                save_of[save.tensor_task] = save
        if not save_of:
            return
        universe = TaskUniverse(self.targets)
        schedule = build_schedule([universe.add_task(t) for t in self.targets], cached_values={})
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
        """Return the tensor as a weighted sum if its task is a plain `linear` merge on the CPU with finite results."""
        task = save.tensor_task
        gathered = self._without_permutation(task.gather_tensors) if isinstance(task, ExecuteMergeMethodTask) else None
        if not isinstance(task, ExecuteMergeMethodTask) or not isinstance(gathered, GatherTensors):
            return None
        if task.method_name != "linear" or self._options.device != "cpu":
            return None
        of_model = {load.model: load for load in gathered.arguments().values()}
        sources = [of_model[model] for model in task.model_order]
        tensors = [tensor for tensor in (residents[load] for load in sources) if tensor is not None]
        kinds = {(tensor.shape, tensor.dtype) for tensor in tensors}
        if len(tensors) < len(sources) or len(kinds) > 1:
            return None
        dtype = tensors[0].dtype
        asked_dtypes = {dtype_from_name(name) for name in (task.dtype, task.out_dtype, save.dtype)}
        if dtype not in (torch.float32, torch.bfloat16, torch.float16) or asked_dtypes - {None, dtype}:
            return None
        weights = tuple(float(task.input_parameters[model]["weight"]) for model in task.model_order)
        weighted_sum = WeightedSum(tuple(tensors), weights, bool(task.parameters["normalize"]), dtype)
        bound = weighted_sum.magnitude_bound(tuple(residents.largest_magnitude(load) for load in sources))
        fits = bound < torch.finfo(dtype).max  # so no result needs to be checked for infinities
        return weighted_sum if fits and is_bit_identical_to_mergekit(dtype, tensors[0].device) else None

    def _evaluate(self, task: Task, residents: ResidentTensors, tokenizers: dict[Task, Any]) -> Any:
        """Execute a task and those it depends on, on the devices that mergekit's Executor would use."""
        task = self._without_permutation(task)
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

    def _without_permutation(self, task: Task) -> Task:
        """Return the task that a permutation of the vocabulary takes its tensors from, if it changes nothing."""
        is_identity = self._keeps_vocabulary and isinstance(task, PermutedVocabulary)
        return task.gather_tensors if is_identity else task


def _moved(value: Any, device: torch.device) -> Any:
    """Return a task's argument with its tensors moved to a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=device.type in ("cuda", "xpu"))
    if isinstance(value, dict):
        return {key: _moved(v, device) for key, v in value.items()}
    return value
