"""Load the tasks of a suite's entries from lm-eval, with their documents and the entries' options.

Mistakes in a task are reported here, before any model is loaded. Relies on lm-eval for `TaskManager.load`,
`load_yaml` and `Task.fewshot_context`; options follow the rules of its `simple_evaluate`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import handle_non_serializable, hash_string

from lm_eval_tasks import host
from lm_eval_tasks.labels import LabelError, choices_and_labels
from lm_eval_tasks.pooled_metrics import PooledMetric
from mergekit_calib.errors import RecipeError
from mergekit_calib.items.table import in_split
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.entry_names import named_entries
from mergekit_calib.scoring.known_tasks import check_names, locate

_BLANKS_CHECKED = 5  # documents of a task

Renderer = Callable[[list[dict[str, str]], bool], str]
"""A function that takes a conversation, and whether a generation prompt follows, and returns the prompt."""


@dataclass
class LoadedEntry:
    """One entry of the suite with its tasks, and their documents up to the entry's limit.

    Attributes:
        entry: the entry, as in the recipe, with its name in results.
        tasks: lm-eval's tasks; several if the entry names a group or a tag.
        limits: the number of documents of each task that are scored; None for all.
        documents: task → lm-eval's hashes of those documents, in order.
        with_blank_choices: the first documents of each task with blank choices, and their numbers; a tokenizer may
            make no tokens of these.
    """

    entry: SuiteEntry
    tasks: list[Task]
    limits: list[int | None] = field(default_factory=list)
    documents: dict[str, list[str]] = field(default_factory=dict)
    with_blank_choices: list[tuple[Task, int, Any]] = field(default_factory=list)


def load_entries(entries: Sequence[SuiteEntry], seeds: Seeds, source: str | None = None) -> list[LoadedEntry]:
    """Load the tasks of every entry, read their documents and apply the entries' options.

    Args:
        entries: the suite, as in the recipe.
        seeds: seeds of few-shot examples and of tasks that shuffle choices.
        source: the file that the entries were read from, for messages.

    Raises:
        RecipeError: lm-eval does not have a task (the message names similar ones) or cannot load it; a task needs
            images, audio or running the model's code; a label is not among a document's choices; a task makes no prompt
            with the entry's options; two entries have the same name or task.
    """
    entries = named_entries(entries, source)
    check_names(entries, source)
    manager = task_manager([entry.task for entry in entries])
    # Some tasks shuffle choices as they read their documents.
    set_seeds(seeds)
    loaded: list[LoadedEntry] = []
    owner: dict[str, str] = {}
    for i, entry in enumerate(entries):
        key = f"calibration.suite[{i}]"
        with silence_lm_eval(keep_progress_bars=True), host.kept_templates():
            loaded.append(_load(entry, manager, seeds, key, source))
        for task in loaded[-1].tasks:
            if task.task_name in owner:
                both = f"{owner[task.task_name]} and {entry.task} both hold task {task.task_name}"
                raise RecipeError(f"{key}.task", f"{both}; leave one out", source)
            owner[task.task_name] = entry.task
    return loaded


def task_manager(names: Sequence[str]) -> TaskManager:
    """Return a task manager that knows `names`, and everything that groups and tags among them stand for.

    It scans only the folders that hold them, because scanning all of lm-eval's tasks takes more than four seconds.

    Args:
        names: tasks, groups, tags or files.
    """
    places = locate(names)
    with silence_lm_eval(keep_progress_bars=True):
        manager = TaskManager(include_defaults=False, include_path=places.folders)
    for tag, tasks in places.tagged.items():
        host.extend_tag(manager, tag, tasks)  # it knows only those in the last of the folders
    return manager


def set_seeds(seeds: Seeds) -> None:
    """Seed the random number generators as `simple_evaluate` does.

    A sweep does so before each model, so that sampled answers are paired across models.
    """
    random.seed(seeds.random)
    np.random.seed(seeds.numpy)
    torch.manual_seed(seeds.torch)


def doc_hash(doc: Any) -> str:
    """Return lm-eval's own hash of a document, as in its sample logs."""
    text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return str(hash_string(text))


def is_judged_by_choices(task: Task) -> bool:
    """Return whether a document is correct if its likeliest choice is the one that `doc_to_target` names.

    A task that computes its results itself may judge otherwise, unless it has one of our metrics.
    """
    judges_otherwise = callable(task.config.process_results) and not any(
        isinstance(aggregation, PooledMetric) for aggregation in task.aggregation().values()
    )
    return task.OUTPUT_TYPE == "multiple_choice" and not judges_otherwise


def _load(entry: SuiteEntry, manager: TaskManager, seeds: Seeds, key: str, source: str | None) -> LoadedEntry:
    """Load one entry's tasks, apply its options and check its documents; `key` is the entry's path, for messages."""
    try:
        # As lm-eval's command does: `TaskManager.load` itself fails on a group given as a file.
        spec = entry.task if entry.task in manager.all_tasks else load_yaml(entry.task)
        tasks = list(manager.load([spec])["tasks"].values())
    except Exception as problem:
        raise RecipeError(f"{key}.task", f"{entry.task} cannot be loaded: {_first_line(problem)}", source) from problem
    loaded = LoadedEntry(entry, tasks)
    for task in tasks:
        if host.is_unsafe(task):
            reason = f"{task.task_name} runs code that a model wrote, which is not supported"
            raise RecipeError(f"{key}.task", reason, source)
        if host.shows_media(task):
            reason = f"{task.task_name} shows images or plays audio, which is not supported"
            raise RecipeError(f"{key}.task", reason, source)
        _apply_options(task, entry, seeds)
        limit = host.sample_size(task, entry.limit)
        documents = [doc for _, doc in task.doc_iterator(limit=limit)]
        try:
            prompt_of(task, documents[0], entry)
        except Exception as problem:
            failure = f"{task.task_name} makes no prompt with num_fewshot {task.get_config('num_fewshot')}"
            raise RecipeError(key, f"{failure}: {_first_line(problem)}", source) from problem
        if is_judged_by_choices(task):
            blank = []
            for i, doc in enumerate(documents):
                try:
                    choices, _ = choices_and_labels(task, doc)
                except LabelError as problem:
                    raise RecipeError(f"{key}.task", f"{task.task_name}, document {i}: {problem}", source) from problem
                if not all(str(choice).strip() for choice in choices):
                    blank.append((task, i, doc))
            loaded.with_blank_choices += blank[:_BLANKS_CHECKED]
        loaded.limits.append(limit)
        loaded.documents[task.task_name] = [in_split(doc_hash(doc), entry.split) for doc in documents]
    return loaded


def _apply_options(task: Task, entry: SuiteEntry, seeds: Seeds) -> None:
    """Apply an entry's options to a task, by the rules of `simple_evaluate`."""
    if task.OUTPUT_TYPE == "generate_until" and entry.gen_kwargs:
        task.set_config(key="generation_kwargs", value=dict(entry.gen_kwargs), update=True)
    default = task.get_config("num_fewshot")
    if entry.num_fewshot is not None and default != 0:  # lm-eval leaves a task with 0 examples at 0
        task.set_config(key="num_fewshot", value=entry.num_fewshot)
    elif default is None:
        task.set_config(key="num_fewshot", value=0)
    if entry.repeats is not None:
        host.set_repeats(task, entry.repeats)
    task.set_fewshot_seed(seeds.fewshot)


def prompt_of(task: Task, doc: Any, entry: SuiteEntry, renderer: Renderer | None = None) -> Any:
    """Return a document's prompt.

    Args:
        task: the task, with the entry's options.
        doc: the document.
        entry: the suite entry.
        renderer: renders a conversation with a chat template; None for a prompt without one.
    """
    multiturn = entry.fewshot_as_multiturn is None or entry.fewshot_as_multiturn
    return task.fewshot_context(
        doc,
        num_fewshot=task.get_config("num_fewshot") or 0,
        system_instruction=entry.system_instruction,
        apply_chat_template=renderer is not None,
        fewshot_as_multiturn=multiturn and renderer is not None,
        chat_template=renderer,
        gen_prefix=host.prompt_prefix(task, doc),
    )


def _first_line(problem: Exception) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    text = str(problem).strip().split("\n")[0]
    if isinstance(problem, IndexError):  # lm-eval looks at the first letter of a choice
        text = f"{text} (is a choice or a target of its first document empty?)"
    return text if text else type(problem).__name__
