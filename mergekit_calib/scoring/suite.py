"""The suite: lm-eval's tasks, loaded once, their requests built once, and run on one model after another.

Relied on in lm-eval 0.4.13: `Task.build_all_requests`, `Task._instances`, `Instance`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import lm_eval
from lm_eval.api.task import Task
from lm_eval.utils import hash_string
from transformers import PreTrainedTokenizerBase

from mergekit_calib.errors import CalibError
from mergekit_calib.items.scopes import TaskDescription
from mergekit_calib.items.table import ItemTable, in_selection_split
from mergekit_calib.prefix_lm.model import Arrangements, PrefixLM
from mergekit_calib.prefix_lm.silence import quiet_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.results.frontier import SuiteEntrySummary
from mergekit_calib.scoring.item_tables import item_table, own_metrics
from mergekit_calib.scoring.loading import LoadedEntry, judges_by_choice, load_entries, set_seeds

ProgressOfEntry = Callable[[str, int, int], None]


class Suite:
    """The tasks that score a point.

    Attributes:
        arrangements: the requests as they were arranged for the first model; the scorers of all share them.
    """

    def __init__(self, entries: list[LoadedEntry], seeds: Seeds) -> None:
        self.entries, self._seeds = entries, seeds
        self._built_for: str | None = None
        self.arrangements = Arrangements()

    @classmethod
    def load(cls, entries: Sequence[SuiteEntry], *, seeds: Seeds | None = None, source: str | None = None) -> Suite:
        """Load the tasks of every entry, and their documents.

        Args:
            source: the file that `entries` were read from, for messages.

        Raises:
            RecipeError: as `load_entries`.
        """
        seeds = seeds or Seeds()
        return cls(load_entries(entries, seeds, source), seeds)

    @property
    def tasks(self) -> list[TaskDescription]:
        """The suite's tasks as `items.scopes` needs them, to tell which metrics can be taken of which items."""
        return [
            TaskDescription(
                task=task.task_name,
                entry=item.entry.name,
                has_choices=judges_by_choice(task),
                own_metrics={name: "maximize" if up else "minimize" for name, up in own_metrics(task).items()},
                doc_hashes=item.documents[task.task_name],
            )
            for item in self.entries
            for task in item.tasks
        ]

    @property
    def higher_is_better(self) -> dict[str, dict[str, bool]]:
        """Entry → the metrics that its tasks themselves give every document, and whether more of each is better.

        Of an entry with several tasks, those that all of them have.
        """
        found = {}
        for item in self.entries:
            directions = [own_metrics(task) for task in item.tasks]
            shared = set.intersection(*(set(d) for d in directions))
            found[item.entry.name] = {name: up for name, up in directions[0].items() if name in shared}
        return found

    def describe(self) -> list[dict[str, Any]]:
        """What the scores depend on: tasks, versions, prompts' settings, documents, seeds."""
        described = []
        for item in self.entries:
            for task in item.tasks:
                config = {k: v for k, v in task.dump_config().items() if k != "metadata"}
                described.append(
                    {
                        "entry": item.entry.model_dump(exclude={"split"}),  # which the documents' hashes tell
                        "config": hash_string(json.dumps(config, sort_keys=True, default=_stable)),
                        "version": str(task.VERSION),
                        "documents": hash_string("".join(item.documents[task.task_name])),
                        "seeds": self._seeds.model_dump(),
                        "lm_eval": lm_eval.__version__,
                    }
                )
        return described

    def summaries(self) -> list[SuiteEntrySummary]:
        """One summary an entry, for reports."""
        found = []
        for item in self.entries:
            hashes = [h for some in item.documents.values() for h in some]
            n_selection = sum(in_selection_split(h) for h in hashes)
            found.append(
                SuiteEntrySummary(
                    name=item.entry.name,
                    tasks=[t.task_name for t in item.tasks],
                    n_items=len(hashes),
                    n_selection=n_selection,
                    n_held_out=len(hashes) - n_selection,
                    num_fewshot=item.tasks[0].config.num_fewshot,
                    limit=item.entry.limit,
                )
            )
        return found

    def check_chat_template(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """That every entry which asks for a chat template gets one.

        Raises:
            CalibError: `tokenizer` has none, or none of the name that an entry asks for.
        """
        for item in self.entries:
            name, has = item.entry.apply_chat_template, tokenizer.chat_template
            if name and not has:
                raise CalibError(
                    f"suite entry {item.entry.name}: apply_chat_template is set, but the tokenizer of the merged "
                    "models has no chat template; set `tokenizer_source` or `chat_template` in the recipe"
                )
            wanted = name if isinstance(name, str) else "default"
            if name and isinstance(has, dict) and wanted not in has:
                raise CalibError(
                    f"suite entry {item.entry.name}: the tokenizer has no chat template {wanted!r}; "
                    f"it has {', '.join(sorted(has))}"
                )

    def build_requests(self, lm: PrefixLM) -> None:
        """Build the requests of all tasks, unless they stand already; chat templates make them the tokenizer's.

        Raises:
            CalibError: as `check_chat_template`.
        """
        built_for = ""
        if any(item.entry.apply_chat_template for item in self.entries):
            self.check_chat_template(lm.tokenizer)
            built_for = repr((lm.tokenizer.chat_template, lm.tokenizer.special_tokens_map, lm.chat_template_args))
        if self._built_for == built_for:
            return
        set_seeds(self._seeds)
        with quiet_lm_eval():
            for item in self.entries:
                self._build(item, lm)
        self._built_for = built_for

    def _build(self, item: LoadedEntry, lm: PrefixLM) -> None:
        entry = item.entry
        chat = entry.apply_chat_template
        for task, limit in zip(item.tasks, item.limits, strict=True):
            task.set_fewshot_seed(self._seeds.fewshot)
            task.build_all_requests(
                limit=limit,
                system_instruction=entry.system_instruction,
                apply_chat_template=bool(chat),
                fewshot_as_multiturn=True if entry.fewshot_as_multiturn is None else entry.fewshot_as_multiturn,
                chat_template=lm.chat_renderer(chat) if chat else None,
                tokenizer_name=lm.tokenizer_name if chat else "",
            )

    @property
    def documents(self) -> dict[str, list[str]]:
        """Task → the hash of each of its documents, in order of their numbers; tasks in the suite's order."""
        return {task: hashes for item in self.entries for task, hashes in item.documents.items()}

    def score(
        self,
        lm: PrefixLM,
        progress: ProgressOfEntry | None = None,
        documents: Mapping[str, Collection[int]] | None = None,
    ) -> dict[str, list[ItemTable]]:
        """Run every request on `lm`: entry → the item tables of its tasks.

        Args:
            progress: told the entry's name, how many of its requests were answered, and how many there are.
            documents: task → the numbers of its documents, where not all are wanted; tasks without any are left out.

        Raises:
            ScoringError: a log-likelihood is not a number; it names task and document.
        """
        self.build_requests(lm)
        set_seeds(_seeds_of(self._seeds, documents))
        tables: dict[str, list[ItemTable]] = {}
        for item in self.entries:
            with ExitStack() as narrowed:
                tasks = [t for t in item.tasks if documents is None or documents.get(t.task_name)]
                if documents is not None:
                    for task in tasks:
                        narrowed.enter_context(_only(task, documents[task.task_name]))
                instances = [instance for task in tasks for instance in task.instances]
                if not instances:
                    continue
                lm.on_answers = _counter(progress, item.entry.name, sum(i.repeats for i in instances))
                with quiet_lm_eval(progress_bars=True):
                    self._run(lm, instances)
                    tables[item.entry.name] = [item_table(task, item.entry.split) for task in tasks]
                lm.on_answers(0)
        lm.on_answers = None
        return tables

    def _run(self, lm: PrefixLM, instances: Iterable[Any]) -> None:
        by_type: dict[str, list[Any]] = {}
        for instance in instances:
            instance.resps, instance.filtered_resps = [], {}
            by_type.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
        for request_type, requests in by_type.items():
            responses = getattr(lm, request_type)(requests, disable_tqdm=True)
            for instance, response in zip(requests, responses, strict=True):
                instance.resps.append(response)


@contextmanager
def _only(task: Task, numbers: Collection[int]) -> Iterator[None]:
    """Let a task have only the requests of the documents with these numbers."""
    every, wanted = task._instances, frozenset(numbers)
    task._instances = [instance for instance in every if instance.doc_id in wanted]
    try:
        yield
    finally:
        task._instances = every


def _seeds_of(seeds: Seeds, documents: Mapping[str, Collection[int]] | None) -> Seeds:
    """Seeds of sampled answers that are the same for every model and not the same for every block of documents."""
    if documents is None:
        return seeds
    block = int(hash_string(json.dumps({task: sorted(some) for task, some in documents.items()}))[:8], 16)
    return seeds.model_copy(update={"torch": (seeds.torch + block) % 2**32})


def _counter(progress: ProgressOfEntry | None, name: str, total: int) -> Callable[[int], None]:
    """Adds up what is answered; 0 says that all is."""
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done = min(done + n, total) if n else total
        if progress:
            progress(name, done, total)

    return count


def _stable(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__name__
