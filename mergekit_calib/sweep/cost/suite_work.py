"""The tokens and floating-point operations of a suite, counted from its requests with the tokenizer of the points.

It relies on lm-eval: `Instance` (its request type, arguments, `doc_id` and `repeats`), `normalize_gen_kwargs`, and the
windows of `loglikelihood_rolling`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.generating import GeneratingLM
from mergekit_calib.prefix_lm.generation import max_tokens_per_row
from mergekit_calib.prefix_lm.packed import windows_by_layer_type
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.steps import Step
from mergekit_calib.prefix_lm.work import StepCounts, attends_by_run, count_alone, count_steps, work_of
from mergekit_calib.results.cost import EntryCost
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search.racing import Documents

_PACKED = ("loglikelihood", "loglikelihood_rolling")


@dataclass(frozen=True)
class _Scored:
    """The requests of one type in one entry that ask for log-probabilities; each knows its document."""

    tokens: TokenRequests
    documents: list[tuple[str, int]]


@dataclass(frozen=True)
class Batch:
    """Answers that are generated together.

    Attributes:
        rows: answers.
        prompts: distinct prompts among them.
        context: tokens of the longest prompt, to which the others are padded.
        steps: tokens of the longest answer that is allowed.
    """

    rows: int
    prompts: int
    context: int
    steps: int


class SuiteWork:
    """Counts what a point costs in each entry of a suite.

    Args:
        suite: the suite; its requests are built.
        lm: the scorer of the points, without weights.
        device: the device that scores.
        max_rows: the number of answers that are generated together, by the tokens of each.
        blocks: the blocks that a race scores one after another; None if all documents are scored together.
    """

    def __init__(
        self,
        suite: Suite,
        lm: GeneratingLM,
        device: torch.device,
        max_rows: Callable[[int], int],
        blocks: Sequence[Documents] | None = None,
    ) -> None:
        self._suite, self._lm, self._max_rows, self._blocks = suite, lm, max_rows, blocks
        self.work = work_of(lm.model)
        config = lm.model.config.get_text_config(decoder=True)
        self.by_run = attends_by_run(lm.model, device)
        self.windows = windows_by_layer_type(config)
        self.limits = BatchLimits.for_device(device, self.by_run)
        suite.build_requests(lm)
        self._scored: dict[str, list[_Scored]] = {}
        for loaded in suite.entries:
            by_type: dict[str, list[tuple[str, Any]]] = defaultdict(list)
            for task in loaded.tasks:
                for instance in task.instances:
                    by_type[instance.request_type] += [(task.task_name, instance)] * instance.repeats
            self._scored[loaded.entry.name] = [
                self._tokenized(kind, given) for kind, given in by_type.items() if kind in _PACKED
            ]

    @property
    def packs(self) -> bool:
        """Whether the model runs in packed steps; else it is scored as `hf` scores it."""
        return self._lm.fallback_reason is None

    @property
    def most_documents(self) -> int:
        """The number of documents of the largest task."""
        return max(map(len, self._suite.documents.values()))

    def tokens(self) -> list[TokenRequests]:
        """Return the tokenised requests for log-probabilities, of all entries."""
        return [scored.tokens for some in self._scored.values() for scored in some]

    def steps(self, requests: TokenRequests) -> list[Step]:
        """Return the packed steps of requests, as they are run on the device."""
        return requests.steps(self.limits.step_tokens)

    def entries(self, limit: int | None = None) -> list[EntryCost]:
        """Return what a point costs in each entry.

        Args:
            limit: documents of each task; None for all.
        """
        return [self._entry(loaded.entry.name, limit) for loaded in self._suite.entries]

    def _tokenized(self, kind: str, given: Sequence[tuple[str, Any]]) -> _Scored:
        documents = [(task, int(instance.doc_id)) for task, instance in given]
        if kind == "loglikelihood":
            return _Scored(self._lm.tokenize([instance for _, instance in given]), documents)
        tokens, owners = TokenRequests(), []
        for document, (_, instance) in zip(documents, given, strict=True):
            windows = get_rolling_token_windows(
                token_list=self._lm.tok_encode(instance.args[0]),
                prefix_token=self._lm.prefix_token_id,
                max_seq_len=self._lm.max_length,
                context_len=1,
            )
            for context, continuation in map(make_disjoint_window, windows):
                tokens.add(context, continuation, self._lm.max_length)
                owners.append(document)
        return _Scored(tokens, owners)

    def _entry(self, name: str, limit: int | None) -> EntryCost:
        counts, asked, distinct = StepCounts(), 0, 0
        for scored in self._scored[name]:
            kept = None if limit is None else [i for i, (_, doc) in enumerate(scored.documents) if doc < limit]
            whole = scored.tokens if kept is None else scored.tokens.only(np.array(kept, dtype=np.int64))
            asked, distinct = asked + whole.n_asked, distinct + whole.n_distinct
            counts += self._counts(scored, whole, limit)
        body = self.work.body_flops(counts) if self.packs else self.work.plain_body_flops(counts)
        head = self.work.head_flops(counts)
        loaded = next(each for each in self._suite.entries if each.entry.name == name)
        instances = [i for task in loaded.tasks for i in task.instances if limit is None or i.doc_id < limit]
        batches = self._batches([i for i in instances if i.request_type == "generate_until"])
        prompts, decoded = self._generated(batches)
        n_items = sum(len(hashes[:limit]) for hashes in loaded.documents.values())
        lengths = sum(batch.prompts * batch.context for batch in batches)
        return EntryCost(
            name,
            items=n_items,
            requests=sum(i.repeats for i in instances),
            asked=asked + sum(batch.rows * batch.context for batch in batches),
            distinct=distinct + lengths,
            run=counts.tokens + lengths,
            generated=sum(batch.rows * batch.steps for batch in batches),
            body_flops=body + self.work.plain_body_flops(prompts) + self.work.plain_body_flops(decoded),
            head_flops=head + self.work.head_flops(prompts) + self.work.head_flops(decoded),
            decode_flops=self.work.plain_body_flops(decoded) + self.work.head_flops(decoded),
            decode_steps=sum(batch.steps for batch in batches),
        )

    def _counts(self, scored: _Scored, whole: TokenRequests, limit: int | None) -> StepCounts:
        """Return what the requests of documents below `limit`, which are `whole`, run."""
        if not self.packs:
            return count_alone(whole.input_lengths, self.windows)
        if self._blocks is None:
            return count_steps(self.steps(whole), self.windows, self.by_run)
        total = StepCounts()
        for block in self._blocks:
            inside = [
                i
                for i, (task, doc) in enumerate(scored.documents)
                if (limit is None or doc < limit) and doc in block.get(task, ())
            ]
            steps = scored.tokens.steps_for(np.array(inside, dtype=np.int64), self.limits.step_tokens)
            total += count_steps(steps, self.windows, self.by_run)
        return total

    def batches(self) -> list[Batch]:
        """Return the batches in which a point's answers are generated."""
        every = [i for loaded in self._suite.entries for task in loaded.tasks for i in task.instances]
        return self._batches([i for i in every if i.request_type == "generate_until"])

    def _batches(self, instances: Sequence[Any]) -> list[Batch]:
        """Return the batches in which answers are generated: long prompts first, as lm-eval sorts them."""
        if not instances:
            return []
        groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
        answer: dict[str, int] = {}
        every_option = []
        n_tokens = {text: len(self._lm.tok_encode(text)) for text in {i.args[0] for i in instances}}
        for instance in instances:
            options = normalize_gen_kwargs(instance.args[1], self._lm.max_gen_toks)
            every_option.append(options)
            key = json.dumps(instance.args[1], sort_keys=True, default=str)
            answer[key] = int(options["max_gen_toks"])
            longest = max(1, self._lm.max_length - answer[key])  # a longer prompt loses its beginning
            text = instance.args[0]
            groups[key] += [(min(n_tokens[text], longest), text)] * instance.repeats
        # One size for all requests of the suite entry, as `generate_until` chooses it.
        longest = max(n_tokens.values())
        rows = self._max_rows(max_tokens_per_row(min(longest, self._lm.max_length), every_option))
        batches = []
        for key, given in groups.items():
            given.sort(key=lambda pair: (-pair[0], pair[1]))
            for start in range(0, len(given), rows):
                part = given[start : start + rows]
                n_prompts = len({text for _, text in part}) if self.packs else len(part)
                batches.append(Batch(len(part), n_prompts, part[0][0], answer[key]))
        return batches

    def _generated(self, batches: Sequence[Batch]) -> tuple[StepCounts, StepCounts]:
        """Return what reading the prompts runs, and what generating the answers runs at most."""
        prompts = decoded = StepCounts()
        for batch in batches:
            read = batch.prompts * batch.context
            prompts += StepCounts(read, batch.prompts, dict.fromkeys(self.windows, read * batch.context))
            keys = batch.steps * batch.context + batch.steps * (batch.steps + 1) // 2
            n = batch.rows * batch.steps
            decoded += StepCounts(n, n, dict.fromkeys(self.windows, batch.rows * keys))
        return prompts, decoded
