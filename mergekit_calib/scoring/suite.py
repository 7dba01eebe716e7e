"""The suite: lm-eval's tasks and their requests, loaded and built once, and run on one model after another.

It relies on lm-eval: `Task.build_all_requests`, `Task.dump_config`, `Instance`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import lm_eval
from lm_eval.utils import hash_string
from transformers import PreTrainedTokenizerBase

from lm_eval_tasks import host
from mergekit_calib.errors import CalibError
from mergekit_calib.items.scopes import TaskDescription
from mergekit_calib.items.table import ItemTable, in_selection_split
from mergekit_calib.prefix_lm.shared_trees import SharedPrefixTrees
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.results.frontier import SuiteEntrySummary
from mergekit_calib.scoring.item_tables import item_table, own_metrics
from mergekit_calib.scoring.loading import LoadedEntry, is_judged_by_choices, load_entries, set_seeds
from mergekit_calib.scoring.requests import EntryProgress, answer_counter, only_documents, run_requests
from mergekit_calib.scoring.suite_lm import SuiteLM


class Suite:
    """The lm-eval tasks that score a model.

    Args:
        entries: suite entries with their tasks, as `load_entries` returns them.
        seeds: seeds of few-shot examples and of sampled answers.

    Attributes:
        entries: suite entries with their tasks.
        prefix_trees: what the scorers of all models share, above all the tokenised requests.
    """

    def __init__(self, entries: list[LoadedEntry], seeds: Seeds) -> None:
        self.entries, self._seeds = entries, seeds
        self._built_for: str | None = None
        self.prefix_trees = SharedPrefixTrees()

    @classmethod
    def load(cls, entries: Sequence[SuiteEntry], *, seeds: Seeds | None = None, source: str | None = None) -> Suite:
        """Load the tasks of every entry, and their documents.

        Args:
            entries: suite entries, as in a recipe.
            seeds: seeds of few-shot examples and of sampled answers; None for lm-eval's defaults.
            source: the file that `entries` were read from, for messages.

        Raises:
            RecipeError: a task cannot be loaded or used; see `load_entries`.
        """
        seeds = seeds or Seeds()
        return cls(load_entries(entries, seeds, source), seeds)

    @property
    def tasks(self) -> list[TaskDescription]:
        """Descriptions of the suite's tasks; `items.scopes` finds out from them which metrics each task has."""
        return [
            TaskDescription(
                task=task.task_name,
                entry=loaded.entry.name,
                has_choices=is_judged_by_choices(task),
                own_metrics={name: "maximize" if up else "minimize" for name, up in own_metrics(task).items()},
                doc_hashes=loaded.documents[task.task_name],
            )
            for loaded in self.entries
            for task in loaded.tasks
        ]

    @property
    def entry_of(self) -> dict[str, str]:
        """Task → the name of its entry."""
        return {task.task_name: loaded.entry.name for loaded in self.entries for task in loaded.tasks}

    @property
    def documents(self) -> dict[str, list[str]]:
        """Task → the hashes of its documents, in the order of their numbers; tasks are in the suite's order."""
        return {task: hashes for loaded in self.entries for task, hashes in loaded.documents.items()}

    @property
    def divisible(self) -> frozenset[str]:
        """The tasks whose documents can be scored apart: no answer is sampled, so none depends on those before it."""
        tasks = [task for loaded in self.entries for task in loaded.tasks]
        return frozenset(task.task_name for task in tasks if task.OUTPUT_TYPE != "generate_until")

    @property
    def higher_is_better(self) -> dict[str, dict[str, bool]]:
        """Entry → the metrics that its tasks compute themselves for each document → whether more is better."""
        by_entry: dict[str, dict[str, bool]] = {loaded.entry.name: {} for loaded in self.entries}
        for task in self.tasks:
            by_entry[task.entry] |= {name: direction == "maximize" for name, direction in task.own_metrics.items()}
        return by_entry

    def describe(self) -> list[dict[str, Any]]:
        """Return what the scores depend on besides the model: for each task its settings, documents and seeds.

        Returns:
            A dict for each task, which JSON can hold.
        """
        described = []
        for loaded in self.entries:
            for task in loaded.tasks:
                config = {k: v for k, v in task.dump_config().items() if k != "metadata"}
                described.append(
                    {
                        "entry": loaded.entry.model_dump(exclude={"split"}),  # `documents` depends on it
                        "config": hash_string(json.dumps(config, sort_keys=True, default=_stable)),
                        "version": str(task.VERSION),
                        "documents": hash_string("".join(loaded.documents[task.task_name])),
                        "seeds": self._seeds.model_dump(),
                        "lm_eval": lm_eval.__version__,
                        # Not of tasks without it: content keys of finished sweeps stay as they are.
                        **({"values": task.VALUES_VERSION} if hasattr(task, "VALUES_VERSION") else {}),
                    }
                )
        return described

    def summaries(self) -> list[SuiteEntrySummary]:
        """Return a summary of each entry, for reports."""
        summaries = []
        for loaded in self.entries:
            hashes = [h for of_task in loaded.documents.values() for h in of_task]
            n_selection = sum(in_selection_split(h) for h in hashes)
            summaries.append(
                SuiteEntrySummary(
                    name=loaded.entry.name,
                    tasks=[t.task_name for t in loaded.tasks],
                    n_items=len(hashes),
                    n_selection=n_selection,
                    n_held_out=len(hashes) - n_selection,
                    num_fewshot=loaded.tasks[0].config.num_fewshot,
                    limit=loaded.entry.limit,
                )
            )
        return summaries

    def check_chat_template(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise an error unless the tokenizer has every chat template that an entry asks for.

        Args:
            tokenizer: the tokenizer of the models that will be scored.

        Raises:
            CalibError: it has no chat template, or none of the name that an entry asks for.
        """
        for loaded in self.entries:
            name, templates = loaded.entry.apply_chat_template, tokenizer.chat_template
            if name and not templates:
                raise CalibError(
                    f"suite entry {loaded.entry.name}: apply_chat_template is set, but the tokenizer of the merged "
                    "models has no chat template; set `tokenizer_source` or `chat_template` in the recipe"
                )
            wanted = name if isinstance(name, str) else "default"
            if name and isinstance(templates, dict) and wanted not in templates:
                raise CalibError(
                    f"suite entry {loaded.entry.name}: the tokenizer has no chat template {wanted!r}; "
                    f"it has {', '.join(sorted(templates))}"
                )

    def build_requests(self, lm: SuiteLM) -> None:
        """Build the requests of all tasks, unless they were built already.

        With a chat template they depend on the tokenizer, and are built again for another one.

        Args:
            lm: the model that the requests are for.

        Raises:
            CalibError: the tokenizer lacks a chat template; see `check_chat_template`.
        """
        built_for = ""
        if any(loaded.entry.apply_chat_template for loaded in self.entries):
            self.check_chat_template(lm.tokenizer)
            built_for = repr((lm.tokenizer.chat_template, lm.tokenizer.special_tokens_map, lm.chat_template_args))
        if self._built_for == built_for:
            return
        set_seeds(self._seeds)
        with silence_lm_eval(), host.kept_templates():
            for loaded in self.entries:
                self._build(loaded, lm)
        self._built_for = built_for

    def _build(self, loaded: LoadedEntry, lm: SuiteLM) -> None:
        """Build the requests of one entry's tasks."""
        entry = loaded.entry
        chat = entry.apply_chat_template
        for task, limit in zip(loaded.tasks, loaded.limits, strict=True):
            task.set_fewshot_seed(self._seeds.fewshot)
            task.build_all_requests(
                limit=limit,
                system_instruction=entry.system_instruction,
                apply_chat_template=bool(chat),
                fewshot_as_multiturn=True if entry.fewshot_as_multiturn is None else entry.fewshot_as_multiturn,
                chat_template=lm.chat_renderer(chat) if chat else None,
                tokenizer_name=lm.tokenizer_name if chat else "",
            )

    def score(
        self,
        lm: SuiteLM,
        progress: EntryProgress | None = None,
        documents: Mapping[str, Collection[int]] | None = None,
    ) -> dict[str, list[ItemTable]]:
        """Score a model.

        Args:
            lm: the model.
            progress: called with the entry's name, how many of its requests are answered, and how many there are.
            documents: task → the numbers of the documents to score; None for all. Tasks without any are left out.

        Returns:
            Entry → the item tables of its tasks.

        Raises:
            ScoringError: a log-likelihood is not a number; it names task and document.
        """
        self.build_requests(lm)
        set_seeds(self._seeds_for(documents))
        tables: dict[str, list[ItemTable]] = {}
        for loaded in self.entries:
            with ExitStack() as narrowed:
                tasks = [t for t in loaded.tasks if documents is None or documents.get(t.task_name)]
                if documents is not None:
                    for task in tasks:
                        narrowed.enter_context(only_documents(task, documents[task.task_name]))
                instances = [instance for task in tasks for instance in task.instances]
                if not instances:
                    continue
                lm.on_answers = answer_counter(progress, loaded.entry.name, sum(i.repeats for i in instances))
                with silence_lm_eval(keep_progress_bars=True), host.kept_templates():
                    lengths = run_requests(lm, instances)
                    tables[loaded.entry.name] = [item_table(task, loaded.entry.split, lengths) for task in tasks]
                lm.on_answers(0)
        lm.on_answers = None
        return tables

    def _seeds_for(self, documents: Mapping[str, Collection[int]] | None) -> Seeds:
        """Return the seeds of sampled answers: the same for every model, but another for each part of a task."""
        numbers = documents or {}
        cut = [
            t
            for t, hashes in self.documents.items()
            if t not in self.divisible and 0 < len(numbers.get(t, ())) < len(hashes)
        ]
        if not cut:
            return self._seeds
        text = json.dumps({task: sorted(some) for task, some in numbers.items()})
        return self._seeds.model_copy(update={"torch": (self._seeds.torch + int(hash_string(text)[:8], 16)) % 2**32})


def _stable(value: Any) -> str:
    """Return a text that stands for a value that JSON cannot hold, and is the same in every process."""
    return getattr(value, "__qualname__", None) or type(value).__name__
