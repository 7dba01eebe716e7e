"""The suite: lm-eval's tasks, loaded once, their requests built once, and run on one model after another.

Relied on in lm-eval 0.4.13: `TaskManager.load`, `Task.build_all_requests`, `Task.process_results`, `Instance`. The
rules for `num_fewshot`, `limit`, `gen_kwargs` and seeds are those of `simple_evaluate`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lm_eval.utils
import numpy as np
import torch
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import get_sample_size
from lm_eval.tasks import TaskManager
from lm_eval.utils import hash_string

from lm_eval_tasks import TASKS_DIR
from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.frontier import SuiteEntrySummary
from mergekit_calib.items import ItemTable, in_selection_half
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.model import LiveHFLM
from mergekit_calib.scoring.tables import item_table


@dataclass
class LoadedEntry:
    """One entry of the suite with its tasks, and the documents of each that its limit leaves."""

    entry: SuiteEntry
    tasks: list[Task]
    limits: list[int | None]
    documents: dict[str, list[str]] = field(default_factory=dict)  # task → hashes

    @property
    def has_choices(self) -> bool:
        return all(task.OUTPUT_TYPE == "multiple_choice" for task in self.tasks)


class Suite:
    """The tasks that score a point."""

    def __init__(self, entries: list[LoadedEntry], seeds: Seeds) -> None:
        self.entries, self._seeds = entries, seeds
        self._built_for: tuple[Any, ...] | None = None

    @classmethod
    def load(cls, entries: Sequence[SuiteEntry], *, seeds: Seeds | None = None) -> Suite:
        """Load the tasks of every entry, and their documents.

        Raises:
            CalibError: a task that lm-eval does not have (with near names), or whose data cannot be loaded; two entries
                that hold the same task.
        """
        seeds = seeds or Seeds()
        manager = _task_manager([entry.task for entry in entries])
        loaded = [_load(entry, manager, seeds) for entry in entries]
        owner: dict[str, str] = {}
        for item in loaded:
            for task in item.tasks:
                if task.task_name in owner:
                    raise CalibError(
                        f"suite: {owner[task.task_name]} and {item.entry.name} both hold task {task.task_name}"
                    )
                owner[task.task_name] = item.entry.name
        return cls(loaded, seeds)

    @property
    def higher_is_better(self) -> dict[str, dict[str, bool]]:
        """Entry → its tasks' own metrics, and whether more of each is better."""
        return {e.entry.name: {k: v for t in e.tasks for k, v in t.higher_is_better().items()} for e in self.entries}

    @property
    def has_choices(self) -> dict[str, bool]:
        """Entry → whether its items are multiple choice, so that calibration is defined."""
        return {e.entry.name: e.has_choices for e in self.entries}

    def describe(self) -> list[dict[str, Any]]:
        """What the scores depend on: tasks, versions, prompts' settings, documents, seeds."""
        described = []
        for item in self.entries:
            for task in item.tasks:
                config = {k: v for k, v in task.dump_config().items() if k != "metadata"}
                described.append(
                    {
                        "entry": item.entry.model_dump(),
                        "config": hash_string(json.dumps(config, sort_keys=True, default=_stable)),
                        "version": str(task.VERSION),
                        "documents": hash_string("".join(item.documents[task.task_name])),
                        "seeds": self._seeds.model_dump(),
                    }
                )
        return described

    def summaries(self) -> list[SuiteEntrySummary]:
        """One summary an entry, for reports."""
        found = []
        for item in self.entries:
            hashes = [h for some in item.documents.values() for h in some]
            n_selection = sum(in_selection_half(h) for h in hashes)
            found.append(
                SuiteEntrySummary(
                    name=item.entry.name,
                    tasks=[t.task_name for t in item.tasks],
                    n_items=len(hashes),
                    n_selection=n_selection,
                    n_report=len(hashes) - n_selection,
                    num_fewshot=item.tasks[0].config.num_fewshot,
                    limit=item.entry.limit,
                )
            )
        return found

    def build_requests(self, lm: LiveHFLM) -> None:
        """Build the requests of all tasks, unless they stand already; a chat template makes them the tokenizer's."""
        if self._built_for == (lm.tokenizer.chat_template,):
            return
        self._seed()
        for item in self.entries:
            entry = item.entry
            chat = entry.apply_chat_template
            if chat:
                lm.chat_template(chat)  # complains of a template that the tokenizer does not have
            for task, limit in zip(item.tasks, item.limits, strict=True):
                task.set_fewshot_seed(self._seeds.fewshot)
                task.build_all_requests(
                    limit=limit,
                    system_instruction=entry.system_instruction,
                    apply_chat_template=bool(chat),
                    fewshot_as_multiturn=True if entry.fewshot_as_multiturn is None else entry.fewshot_as_multiturn,
                    chat_template=lm.apply_chat_template if chat else None,
                    tokenizer_name=lm.tokenizer_name if chat else "",
                )
        self._built_for = (lm.tokenizer.chat_template,)

    def score(
        self, lm: LiveHFLM, progress: Callable[[str, int, int], None] | None = None
    ) -> dict[str, list[ItemTable]]:
        """Run every request on `lm`: entry → the item tables of its tasks.

        Raises:
            CalibError: a log-likelihood is not a number, naming task and document.
        """
        self.build_requests(lm)
        self._seed()
        tables: dict[str, list[ItemTable]] = {}
        for item in self.entries:
            name = item.entry.name
            lm.on_progress = (lambda done, total, name=name: progress(name, done, total)) if progress else None
            self._run(lm, [instance for task in item.tasks for instance in task.instances])
            tables[name] = [item_table(task, limit) for task, limit in zip(item.tasks, item.limits, strict=True)]
        lm.on_progress = None
        return tables

    def _run(self, lm: LiveHFLM, instances: Iterable[Any]) -> None:
        by_type: dict[str, list[Any]] = {}
        for instance in instances:
            instance.resps, instance.filtered_resps = [], {}
            by_type.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
        for request_type, requests in by_type.items():
            responses = getattr(lm, request_type)(requests, disable_tqdm=True)
            for instance, response in zip(requests, responses, strict=True):
                instance.resps.append(response)

    def _seed(self) -> None:
        """As `simple_evaluate` does, before each model, so that sampled answers are paired across models."""
        random.seed(self._seeds.random)
        np.random.seed(self._seeds.numpy)
        torch.manual_seed(self._seeds.torch)


def _task_manager(names: Sequence[str]) -> TaskManager:
    """A task manager that knows `names`: over our own tasks where they are enough, for lm-eval's take 11 s to scan."""
    ours = TaskManager(include_defaults=False, include_path=str(TASKS_DIR))
    if all(name in ours.all_tasks for name in names):
        return ours
    return TaskManager(include_path=str(TASKS_DIR))


def _load(entry: SuiteEntry, manager: TaskManager, seeds: Seeds) -> LoadedEntry:
    is_file = entry.task.endswith((".yaml", ".yml"))
    if not is_file and entry.task not in manager.all_tasks:
        near = near_names(entry.task, manager.all_tasks)
        raise CalibError(
            f"suite: lm-eval has no task, group or tag {entry.task!r}{near}; `lm_eval ls tasks` lists them"
        )
    try:
        tasks = list(manager.load([entry.task])["tasks"].values())
    except Exception as problem:
        first_line = str(problem).strip().split("\n")[0]
        raise CalibError(f"suite: task {entry.task} cannot be loaded: {first_line}") from problem
    loaded = LoadedEntry(entry, tasks, [])
    for task in tasks:
        _apply_options(task, entry, seeds)
        limit = get_sample_size(task, entry.limit)
        loaded.limits.append(limit)
        loaded.documents[task.task_name] = [doc_hash(doc) for _, doc in task.doc_iterator(limit=limit)]
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


def doc_hash(doc: Any) -> str:
    """lm-eval's own hash of a document, as in its sample logs."""
    text = json.dumps(doc, indent=2, default=lm_eval.utils.handle_non_serializable, ensure_ascii=False)
    return hash_string(text)


def _stable(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__name__
