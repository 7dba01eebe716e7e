"""Item tables from finished `lm_eval --log_samples` runs: no model and no task is loaded, only their files are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mergekit_calib.cards.sample_files import Line, SampleFile, read_lines, sample_files
from mergekit_calib.cards.sample_labels import has_misread_accuracy, judged_by_choice, labels_of
from mergekit_calib.cards.sample_lines import Document, metrics_not_averaged, own_values
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import pad
from mergekit_calib.report.text.safe_text import storable


class NoMetricError(CalibError):
    """A task from whose samples no metric can be computed; other tasks can still be read."""


@dataclass
class SampledModel:
    """The samples that runs of `lm_eval` wrote for one model.

    Attributes:
        name: the model, as `results_*.json` beside the samples names it; else the folder's name.
        tables: task → its item table, in a list of one.
        higher_is_better: task → metric → whether more of it is better, for the metrics that the run states.
        notes: what was left out, one sentence each.
    """

    name: str
    tables: Tables = field(default_factory=dict)
    higher_is_better: dict[str, dict[str, bool]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_samples(paths: Iterable[str | Path]) -> list[SampledModel]:
    """Return the models whose samples are in `paths`.

    The model is the one that the run's results name. If a task was run several times, the newest run is read, and a
    note says so. A task without any metric is left out with a note, if there are others.

    Args:
        paths: samples files, or folders that `--output_path` named.

    Raises:
        CalibError: there are no samples, or a file cannot be understood; the message names its line and key.
    """
    by_model: dict[tuple[Path, str], dict[str, list[SampleFile]]] = {}
    for file in sample_files(paths):
        tasks = by_model.setdefault((file.path.parent, file.model_name), {})
        tasks.setdefault(file.task, []).append(file)
    models = [_model(folder, name, tasks) for (folder, name), tasks in by_model.items()]
    names = [model.name for model in models]
    for (folder, _), model in zip(by_model, models, strict=True):
        if names.count(model.name) > 1:
            model.name = f"{model.name} ({folder})"
    for model in models:
        model.name, model.notes = storable(model.name), [storable(note) for note in model.notes]
    return models


def table_of(
    task: str,
    lines: Sequence[Line],
    file: Path,
    config: Mapping[str, Any] | None = None,
    notes: list[str] | None = None,
) -> ItemTable:
    """Return the item table of a task's samples, in the order of its documents.

    The table has no choices if the task does not judge a document by its likeliest choice. A document whose label is
    not among its choices is left out with a note, as in the run itself.

    Args:
        task: the task's name.
        lines: the samples of one filter.
        file: the file that they are from, for messages.
        config: the task's configuration, if it is known.
        notes: where remarks for the reader are added, one sentence each.

    Raises:
        NoMetricError: the documents have neither choices nor metrics of the task's own.
        CalibError: the samples do not tell which choices are correct.
    """
    config, notes = config or {}, [] if notes is None else notes
    not_averaged = metrics_not_averaged(config)
    documents = [Document.of(line, not_averaged, f"{file}, document {line['doc_id']}") for line in lines]
    labels = labels_of(documents, file, notes) if judged_by_choice(documents, config) else None
    without_value: set[str] = set()
    if labels is None:
        documents, labels = [document.without_choices() for document in documents], [[] for _ in documents]
    elif unlabelled := labels.count([]):
        notes.append(
            f"{file}: left out of the calibration metrics: {unlabelled} of {len(documents)} documents, whose label is "
            "not among their choices."
        )
        labelled = [(document, each) for document, each in zip(documents, labels, strict=True) if each]
        documents, labels = [document for document, _ in labelled], [each for _, each in labelled]
    has_choices = any(document.scores for document in documents)
    if has_choices:
        without_value = {"acc"}  # it follows from the log-likelihoods
        if has_misread_accuracy(documents, labels):
            without_value = set().union(*(document.values for document in documents))
            notes.append(
                f"{file}: lm-eval 0.4.5 to 0.4.8 computes the metrics of tasks with acc_mutual_info from the wrong "
                "requests; here they are computed from the choices, and acc_mutual_info is left out."
            )
    names = sorted(set().union(*(document.values for document in documents)) - without_value)
    if not has_choices and not names:
        raise NoMetricError(
            f"{file}: task {task} has neither choices that decide which answer is correct nor a metric that lm-eval "
            "averages over documents, so no metric can be computed"
        )
    is_label = [[i in each for i in range(len(d.scores))] for d, each in zip(documents, labels, strict=True)]
    table = ItemTable(
        task=task,
        doc_ids=np.array([document.line["doc_id"] for document in documents], dtype=np.int64),
        doc_hashes=[str(d.line.get("doc_hash") or _hash(d.line)) for d in documents],
        log_likelihoods=pad([document.scores for document in documents]),
        labels=pad(is_label, False, np.bool_),
        choice_chars=pad([[len(text) for text in d.texts] for d in documents], 0, np.int64),
        choice_bytes=pad([[len(text.encode(errors="replace")) for text in d.texts] for d in documents], 0, np.int64),
        generations=None if has_choices else [[str(text) for text in _flat(d.line["resps"])] for d in documents],
        values={name: np.array([d.values.get(name, np.nan) for d in documents]) for name in names},
    )
    # The lines of a run on several devices are in another order.
    return table.take(np.argsort(table.doc_ids, kind="stable"))


def _model(folder: Path, name: str, tasks: Mapping[str, Sequence[SampleFile]]) -> SampledModel:
    model = SampledModel(name or folder.resolve().name)
    problem: NoMetricError | None = None
    for task, files in tasks.items():
        file = max(files, key=lambda each: (each.date, each.path.name))
        config = file.run.configs.get(task, {})
        lines, notes = read_lines(file.path)
        try:
            by_filter = _by_filter(lines, file, config, notes)
            first, *others = by_filter.values()
            table = table_of(task, first, file.path, config, notes)
        except NoMetricError as found:
            problem = problem or found
            model.notes.append(f"Left out: {found}.")
            continue
        directions = {k: bool(v) for k, v in file.run.higher_is_better.get(task, {}).items()}
        if not table.has_choices:
            for other, of_filter in zip(list(by_filter)[1:], others, strict=True):
                for metric, values in _values_of(of_filter, table, config).items():
                    table.values[f"{metric},{other}"] = values
                    directions[f"{metric},{other}"] = directions.get(metric, True)
        if len(files) > 1:
            notes.append(f"{task}: {len(files)} runs of it are in {folder}; the newest is read, {file.path.name}.")
        scored = file.run.n_documents.get(task) if file.run.date == file.date else None
        if scored and len(first) < scored:
            notes.append(f"{file.path}: it holds {len(first):,} of the {scored:,} documents that the run scored.")
        model.tables[task] = [table]
        model.higher_is_better[task] = directions
        model.notes += notes
    if problem and not model.tables:
        raise problem
    return model


def _by_filter(
    lines: Sequence[Line], file: SampleFile, config: Mapping[str, Any], notes: list[str]
) -> dict[str, list[Line]]:
    """Return filter → its lines, each document once; the first filter is the one that metrics are named plainly for.

    Before lm-eval 0.4.7 a line does not name its filter: each document is logged once for each of the task's filters,
    in their order.

    Raises:
        CalibError: a document is logged twice with different answers, so two runs are in the file.
    """
    listed = config.get("filter_list")
    entries = listed if isinstance(listed, list) else []
    names = [str(entry.get("name")) for entry in entries if isinstance(entry, dict)] or ["none"]
    seen: dict[int, list[Line]] = {}
    by_filter: dict[str, dict[int, Line]] = {}
    n_repeated = 0
    for line in lines:
        earlier = seen.setdefault(line["doc_id"], [])
        if any(each["resps"] != line["resps"] or each["arguments"] != line["arguments"] for each in earlier[:1]):
            raise CalibError(
                f"{file.path}, document {line['doc_id']}: it is there twice, with different answers; the file seems to "
                "hold two runs. Split it, or run lm_eval again"
            )
        name = str(line["filter"]) if "filter" in line else names[min(len(earlier), len(names) - 1)]
        if line["doc_id"] in by_filter.get(name, {}):
            n_repeated += 1
        else:
            by_filter.setdefault(name, {})[line["doc_id"]] = line
        earlier.append(line)
    # Without the run's results the filters of a run before 0.4.7 have no names, and look like repetitions.
    every_time = all(len(each) == len(seen[lines[0]["doc_id"]]) for each in seen.values())
    if n_repeated and not (every_time and not config and "filter" not in lines[0]):
        notes.append(f"{file.path}: {n_repeated:,} lines repeat a document; each document is counted once.")
    return {name: list(of_filter.values()) for name, of_filter in by_filter.items()}


def _values_of(lines: Sequence[Line], table: ItemTable, config: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the task's own metrics under another filter, for the documents of a table."""
    not_averaged = metrics_not_averaged(config)
    by_document = {line["doc_id"]: own_values(line, not_averaged) for line in lines}
    of_documents = [by_document.get(int(doc_id), {}) for doc_id in table.doc_ids]
    names = sorted(set().union(*of_documents))
    return {name: np.array([values.get(name, np.nan) for values in of_documents]) for name in names}


def _flat(responses: Any) -> list[Any]:
    return [x for each in responses for x in _flat(each)] if isinstance(responses, list) else [responses]


def _hash(line: Line) -> str:
    """Return lm-eval's hash of a document, which 0.4.2 does not log."""
    text = json.dumps(line.get("doc"), indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
