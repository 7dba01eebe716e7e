"""Item tables from finished `lm_eval --log_samples` runs: no model and no task is loaded, only their files are read.

Written for the files of lm-eval 0.4.13; earlier ones, whose `arguments` are lists and whose log-likelihoods are numbers
instead of texts, are read too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lm_eval_tasks.labels import warn_of_unlabelled
from mergekit_calib.cards.sample_lines import Document, Line, judged_by_choice, labels_of, metrics_not_averaged
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import pad

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+))?\.jsonl$")


@dataclass
class SampledModel:
    """The samples that runs of `lm_eval` wrote for one model.

    Attributes:
        name: the model, as `results_*.json` beside the samples names it; else the folder's name.
        tables: task → its item table, in a list of one.
        higher_is_better: task → metric → whether more of it is better, for the metrics that the run states.
    """

    name: str
    tables: Tables = field(default_factory=dict)
    higher_is_better: dict[str, dict[str, bool]] = field(default_factory=dict)


def read_samples(paths: Iterable[str | Path]) -> list[SampledModel]:
    """Return the models whose samples are in `paths`.

    Files of one folder are of one model. If a task was run several times, the last run is taken.

    Args:
        paths: samples files, or folders that `--output_path` named.

    Raises:
        CalibError: there are no samples, or a file cannot be understood; the message names its line and key.
    """
    files: dict[Path, dict[str, Path]] = {}
    for path in _files(paths):
        match = _NAME.search(path.name)
        task = match["task"] if match else path.stem
        earlier = files.setdefault(path.parent, {}).get(task)
        if earlier is None or path.name > earlier.name:
            files[path.parent][task] = path
    models = []
    for folder, tasks in files.items():
        run = _Runs.of(folder)
        model = SampledModel(run.model_name or folder.resolve().name)
        for task, file in tasks.items():
            model.tables[task] = [table_of(task, _lines(file), file, run.configs.get(task))]
            model.higher_is_better[task] = {k: bool(v) for k, v in run.higher_is_better.get(task, {}).items()}
        models.append(model)
    return models


def _files(paths: Iterable[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise CalibError(f"{path}: no such file or folder")
        inside = sorted(path.rglob("samples_*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise CalibError(f"{path}: there is no samples_*.jsonl in it; run lm_eval with --log_samples --output_path")
        files += inside
    return list(dict.fromkeys(files))


@dataclass
class _Runs:
    """The contents of a folder's `results_*.json`; if several have a task, those of the newest.

    Attributes:
        model_name: the model, as the newest file names it.
        configs: task → its configuration.
        higher_is_better: task → metric → whether more of it is better.
    """

    model_name: str = ""
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    higher_is_better: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> _Runs:
        runs = cls()
        for file in sorted(folder.glob("results_*.json")):
            results = json.loads(file.read_text(encoding="utf-8"))
            runs.model_name = str(results.get("model_name") or runs.model_name)
            runs.configs |= results.get("configs") or {}
            directions = results.get("higher_is_better") or {}
            runs.higher_is_better |= {task: ways or {} for task, ways in directions.items()}
        return runs


def _lines(file: Path) -> list[Line]:
    lines = []
    with file.open(encoding="utf-8") as stream:
        for number, text in enumerate(stream, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except json.JSONDecodeError as problem:
                raise CalibError(f"{file}, line {number}: not JSON ({problem.msg}); is the file whole?") from None
            missing = [key for key in ("doc_id", "target", "arguments", "resps") if key not in line]
            if missing:
                raise CalibError(f"{file}, line {number}: no key {missing[0]!r}; it is not a line of lm-eval's samples")
            lines.append(line)
    if not lines:
        raise CalibError(f"{file}: it is empty")
    first = lines[0].get("filter")  # a generated answer has a line for each filter; the first is read
    return [line for line in lines if line.get("filter") == first]


def table_of(task: str, lines: Sequence[Line], file: Path, config: Mapping[str, Any] | None = None) -> ItemTable:
    """Return the item table of a task's samples.

    The table has no choices if the task does not judge a document by its likeliest choice. A document whose label is
    not among its choices is left out with a warning, as in the run itself.

    Args:
        task: the task's name.
        lines: the samples of one filter.
        file: the file that they are from, for messages.
        config: the task's configuration, if it is known.

    Raises:
        CalibError: the documents have neither choices nor metrics of the task's own; or the samples do not tell which
            choices are correct.
    """
    config = config or {}
    not_averaged = metrics_not_averaged(config)
    documents = [Document.of(line, not_averaged, f"{file}, document {line['doc_id']}") for line in lines]
    labels = labels_of(documents, file) if judged_by_choice(documents, config) else None
    if labels is None:
        documents, labels = [document.without_choices() for document in documents], [[] for _ in documents]
    elif unlabelled := labels.count([]):
        warn_of_unlabelled(str(file), unlabelled, len(documents))
        labelled = [(document, each) for document, each in zip(documents, labels, strict=True) if each]
        documents, labels = [document for document, _ in labelled], [each for _, each in labelled]
    has_choices = any(document.scores for document in documents)
    # `acc` of choices follows from the log-likelihoods.
    names = sorted(set().union(*(document.values for document in documents)) - ({"acc"} if has_choices else set()))
    if not has_choices and not names:
        raise CalibError(
            f"{file}: task {task} has neither choices that decide which answer is correct nor a metric that lm-eval "
            "averages over documents, so no metric can be computed"
        )
    is_label = [[i in each for i in range(len(d.scores))] for d, each in zip(documents, labels, strict=True)]
    return ItemTable(
        task=task,
        doc_ids=np.array([int(document.line["doc_id"]) for document in documents], dtype=np.int64),
        doc_hashes=[str(d.line.get("doc_hash") or _hash(d.line)) for d in documents],
        log_likelihoods=pad([document.scores for document in documents]),
        labels=pad(is_label, False, np.bool_),
        choice_chars=pad([[len(text) for text in d.texts] for d in documents], 0, np.int64),
        choice_bytes=pad([[len(text.encode()) for text in d.texts] for d in documents], 0, np.int64),
        generations=None if has_choices else [[str(text) for text in _flat(d.line["resps"])] for d in documents],
        values={name: np.array([d.values.get(name, np.nan) for d in documents]) for name in names},
    )


def _flat(responses: Any) -> list[Any]:
    return [x for each in responses for x in _flat(each)] if isinstance(responses, list) else [responses]


def _hash(line: Line) -> str:
    return hashlib.sha256(json.dumps(line.get("doc"), indent=2, ensure_ascii=False).encode()).hexdigest()
