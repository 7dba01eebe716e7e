"""From the entries of a suite to lm-eval's tasks, with their documents and the entry's options.

Everything that can be wrong with a task is found here, before any model is loaded. Relied on in lm-eval 0.4.13:
`TaskManager.load`, `load_yaml`, `Task.fewshot_context`; the rules for options are those of
`simple_evaluate`.
"""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lm_eval.tasks
import numpy as np
import torch
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import get_sample_size
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import handle_non_serializable, hash_string

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.metrics import Pooled
from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.items.table import in_split
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry


@dataclass
class LoadedEntry:
    """One entry of the suite with its tasks, and the documents of each that its limit leaves.

    Attributes:
        limits: how many documents of each task are scored; None for all.
        documents: task → lm-eval's hashes of those documents, in order.
    """

    entry: SuiteEntry
    tasks: list[Task]
    limits: list[int | None] = field(default_factory=list)
    documents: dict[str, list[str]] = field(default_factory=dict)


def load_entries(entries: Sequence[SuiteEntry], seeds: Seeds, source: str | None = None) -> list[LoadedEntry]:
    """The tasks of every entry, with documents read and options applied.

    Raises:
        RecipeError: a task that lm-eval does not have (with near names), whose data cannot be loaded, that lm-eval
            would not run either, whose right answers are not among the choices, or that cannot make a prompt with the
            entry's options; two entries with one task.
    """
    manager = task_manager([entry.task for entry in entries])
    for i, entry in enumerate(entries):
        if problem := _name_problem(entry.task, manager):
            raise RecipeError(f"calibration.suite[{i}].task", problem, source)
    # Some tasks shuffle choices as they read their documents.
    set_seeds(seeds)
    loaded: list[LoadedEntry] = []
    owner: dict[str, str] = {}
    for i, entry in enumerate(entries):
        key = f"calibration.suite[{i}]"
        with silence_lm_eval(progress_bars=True):
            loaded.append(_load(entry, manager, seeds, key, source))
        for task in loaded[-1].tasks:
            if task.task_name in owner:
                both = f"{owner[task.task_name]} and {entry.name} both hold task {task.task_name}"
                raise RecipeError(f"{key}.task", f"{both}; leave one out", source)
            owner[task.task_name] = entry.name
    return loaded


def task_manager(names: Sequence[str]) -> TaskManager:
    """A task manager that knows `names`: over the folders that hold them, for all of lm-eval's take 11 s to scan."""
    with silence_lm_eval(progress_bars=True):
        unknown = {name for name in names if not _is_self_contained(name)}
        folders = [str(TASKS_DIR), *_folders_named_for(unknown)]
        near = TaskManager(include_defaults=False, include_path=folders)
        ours = TaskManager(include_defaults=False, include_path=str(TASKS_DIR)) if len(folders) > 1 else near
        # What a folder holds of groups and tags may be only a part of them.
        return near if unknown <= {*near.all_subtasks, *ours.all_tasks} else _every_task()


def _folders_named_for(names: Collection[str]) -> list[str]:
    """The folders of lm-eval's tasks that are named after one of `names` or hold a file that is, as most tasks' do."""
    files = {f"{name}.yaml" for name in names}
    walk = os.walk(Path(lm_eval.tasks.__file__).parent)
    return [folder for folder, _, held in walk if files & set(held) or Path(folder).name in names]


@functools.cache
def _every_task() -> TaskManager:
    return TaskManager(include_path=str(TASKS_DIR))


def set_seeds(seeds: Seeds) -> None:
    """As `simple_evaluate` does, before each model, so that sampled answers are paired across models."""
    random.seed(seeds.random)
    np.random.seed(seeds.numpy)
    torch.manual_seed(seeds.torch)


def doc_hash(doc: Any) -> str:
    """lm-eval's own hash of a document, as in its sample logs."""
    text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return str(hash_string(text))


def judges_by_choice(task: Task) -> bool:
    """Whether a document's answer is its likeliest choice, right where `doc_to_target` says so.

    A task that computes its results itself may judge by anything else, unless it has metrics of ours.
    """
    in_its_own_way = callable(task.config.process_results) and not any(
        isinstance(aggregation, Pooled) for aggregation in task.aggregation().values()
    )
    return task.OUTPUT_TYPE == "multiple_choice" and not in_its_own_way


def choices_of(task: Any, doc: Any) -> tuple[list[str], list[int]]:
    """The choices of a multiple-choice task's document, and which of them are right.

    Raises:
        ValueError: no right answer, or one that is not among the choices.
    """
    choices = task.doc_to_choice(doc)
    labels = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    given = list(labels) if isinstance(labels, (list, tuple)) else [labels]
    right = [choices.index(g) if isinstance(g, str) and g in choices else g for g in given]
    if not right or not all(isinstance(g, (int, np.integer)) and 0 <= g < len(choices) for g in right):
        raise ValueError(f"the right answer {labels!r} is not among {choices}")
    return choices, right


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _is_self_contained(name: str) -> bool:
    """Whether `name` is a file that loads without knowing any other task: all but groups, which list names."""
    if not _is_file(name) or not Path(name).expanduser().is_file():
        return _is_file(name)
    try:
        return "group" not in load_yaml(name, resolve_func=False)
    except Exception:  # loading it will say what is wrong
        return True


def _name_problem(name: str, manager: TaskManager) -> str | None:
    if name in manager.all_tasks:
        return None
    if _is_file(name):
        return None if Path(name).expanduser().is_file() else f"there is no file {name}"
    near = near_names(name, manager.all_tasks)
    return f"lm-eval has no task, group or tag {name!r}{near}; `lm_eval ls tasks` lists them"


def _load(entry: SuiteEntry, manager: TaskManager, seeds: Seeds, key: str, source: str | None) -> LoadedEntry:
    try:
        # As lm-eval's command does: `TaskManager.load` itself trips over a group given as a file.
        known = entry.task in manager.all_tasks
        spec = entry.task if known else load_yaml(entry.task)
        tasks = list(manager.load([spec])["tasks"].values())
    except Exception as problem:
        raise RecipeError(f"{key}.task", f"{entry.task} cannot be loaded: {_first_line(problem)}", source) from problem
    loaded = LoadedEntry(entry, tasks)
    for task in tasks:
        if getattr(task, "UNSAFE_CODE", False):
            raise RecipeError(f"{key}.task", f"{task.task_name} runs code that a model wrote: not done here", source)
        if getattr(task, "MULTIMODAL", False):
            raise RecipeError(f"{key}.task", f"{task.task_name} shows images or plays audio: not done here", source)
        _apply_options(task, entry, seeds)
        limit = get_sample_size(task, entry.limit)
        documents = [doc for _, doc in task.doc_iterator(limit=limit)]
        try:
            _prompt(task, documents[0], entry)
        except Exception as problem:
            what = f"{task.task_name} makes no prompt with num_fewshot {task.get_config('num_fewshot')}"
            raise RecipeError(key, f"{what}: {_first_line(problem)}", source) from problem
        if judges_by_choice(task):
            for i, doc in enumerate(documents):
                try:
                    choices_of(task, doc)
                except ValueError as problem:
                    raise RecipeError(f"{key}.task", f"{task.task_name}, document {i}: {problem}", source) from problem
        loaded.limits.append(limit)
        loaded.documents[task.task_name] = [in_split(doc_hash(doc), entry.split) for doc in documents]
    return loaded


def _apply_options(task: Task, entry: SuiteEntry, seeds: Seeds) -> None:
    """An entry's options on a task, by the rules of `simple_evaluate`."""
    if task.OUTPUT_TYPE == "generate_until" and entry.gen_kwargs:
        task.set_config(key="generation_kwargs", value=dict(entry.gen_kwargs), update=True)
    default = task.get_config("num_fewshot")
    if entry.num_fewshot is not None and default != 0:  # a task that says 0 means it
        task.set_config(key="num_fewshot", value=entry.num_fewshot)
    elif default is None:
        task.set_config(key="num_fewshot", value=0)
    if entry.repeats is not None:
        task.set_config(key="repeats", value=entry.repeats)
    task.set_fewshot_seed(seeds.fewshot)


def _prompt(task: Task, doc: Any, entry: SuiteEntry) -> Any:
    """A document's prompt without a chat template, which only a tokenizer has."""
    return task.fewshot_context(
        doc,
        num_fewshot=task.get_config("num_fewshot") or 0,
        system_instruction=entry.system_instruction,
        apply_chat_template=False,
        fewshot_as_multiturn=False,
        chat_template=None,
        gen_prefix=task.doc_to_prefix(doc),
    )


def _first_line(problem: Exception) -> str:
    text = str(problem).strip().split("\n")[0]
    return text if text else type(problem).__name__
