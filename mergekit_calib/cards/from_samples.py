"""Item tables from finished `lm_eval --log_samples` runs: no model, no task, only what the files say.

Written for the files of lm-eval 0.4.13; earlier ones, whose `arguments` are lists and whose numbers are no strings, are
read too.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+))?\.jsonl$")
Line = Mapping[str, Any]


@dataclass
class SampledModel:
    """What one run of `lm_eval` left of one model.

    Attributes:
        name: the model, as `results_*.json` beside the samples names it; else the folder's name.
        tables: task → its item table, in a list of one.
        higher_is_better: task → metric → whether more of it is better, as far as the run says.
    """

    name: str
    tables: Tables = field(default_factory=dict)
    higher_is_better: dict[str, dict[str, bool]] = field(default_factory=dict)


def read_samples(paths: Iterable[str | Path]) -> list[SampledModel]:
    """The models whose samples are in `paths`: files, or folders that `--output_path` named.

    Files of one folder are of one model. Of a task that was run several times, the last is taken.

    Raises:
        CalibError: no samples are there, or a file that cannot be understood, with its line and key.
    """
    files: dict[Path, dict[str, Path]] = {}
    for path in _files(paths):
        match = _NAME.search(path.name)
        task = match["task"] if match else path.stem
        known = files.setdefault(path.parent, {}).get(task)
        if known is None or path.name > known.name:
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
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise CalibError(f"{path}: no such file or folder")
        inside = sorted(path.rglob("samples_*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise CalibError(f"{path}: there is no samples_*.jsonl in it; run lm_eval with --log_samples --output_path")
        found += inside
    return list(dict.fromkeys(found))


@dataclass
class _Runs:
    """What the `results_*.json` of a folder say: of a task that several have, what the newest says.

    Attributes:
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
            found = json.loads(file.read_text(encoding="utf-8"))
            runs.model_name = str(found.get("model_name") or runs.model_name)
            runs.configs |= found.get("configs") or {}
            runs.higher_is_better |= {task: ways or {} for task, ways in (found.get("higher_is_better") or {}).items()}
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
    first = lines[0].get("filter")  # an answer has a line for each filter; choices have one filter
    return [line for line in lines if line.get("filter") == first]


def table_of(task: str, lines: Sequence[Line], file: Path, config: Mapping[str, Any] | None = None) -> ItemTable:
    """The item table of a task's samples; without choices, where the task judges by something else than the likeliest.

    Args:
        config: the task's configuration, where it is known.

    Raises:
        CalibError: neither choices nor numbers of the task's own, or right answers that cannot be told.
    """
    config = config or {}
    left_out = _not_averaged(config)
    items = [_Item.of(line, left_out, f"{file}, document {line['doc_id']}") for line in lines]
    right = _right_answers(items, file) if _judges_by_choice(items, config) else None
    if right is None:
        items, right = [replace(item, scores=[], texts=[]) for item in items], [[] for _ in items]
    width = max(len(item.scores) for item in items)
    # Of choices, `acc` follows from the log-likelihoods.
    names = sorted(set().union(*(item.values for item in items)) - ({"acc"} if width else set()))
    if not width and not names:
        raise CalibError(
            f"{file}: task {task} has neither choices to judge by nor a number of a document that lm-eval averages, so "
            "it has no calibration here"
        )
    labels = [[i in those for i in range(len(item.scores))] for item, those in zip(items, right, strict=True)]
    return ItemTable(
        task=task,
        doc_ids=np.array([int(line["doc_id"]) for line in lines], dtype=np.int64),
        doc_hashes=[str(line.get("doc_hash") or _hash(line)) for line in lines],
        log_likelihoods=_padded([item.scores for item in items], np.nan, np.float64),
        labels=_padded(labels, False, np.bool_),
        choice_chars=_padded([[len(text) for text in item.texts] for item in items], 0, np.int64),
        choice_bytes=_padded([[len(text.encode()) for text in item.texts] for item in items], 0, np.int64),
        generations=None if width else [[str(text) for text in _flat(line["resps"])] for line in lines],
        values={name: np.array([item.values.get(name, np.nan) for item in items]) for name in names},
    )


@dataclass(frozen=True)
class _Item:
    """A document's choices, none if it has none, and the numbers that the task gave it to be averaged."""

    line: Line
    scores: list[float]
    texts: list[str]
    values: dict[str, float]

    @classmethod
    def of(cls, line: Line, left_out: Collection[str], where: str) -> _Item:
        choices = _choices(line, _requests(line, where))
        scores = [_log_likelihood(response, where) for response in line["resps"][: len(choices)]]
        return cls(line, scores, [choice.lstrip() for choice in choices], _own_values(line, left_out))

    @property
    def best(self) -> int:
        return int(np.argmax(self.scores))


def _padded(rows: Sequence[Sequence[Any]], fill: Any, dtype: type[np.generic]) -> NDArray[Any]:
    array = np.full((len(rows), max(map(len, rows))), fill, dtype=dtype)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array


def _requests(line: Line, where: str) -> list[list[Any]]:
    """The arguments of each request: a context, and what follows it or how to go on."""
    arguments = line["arguments"]
    if isinstance(arguments, dict):
        ordered = sorted(arguments, key=lambda name: int(name.rsplit("_", 1)[-1]))
        return [[arguments[name][key] for key in sorted(arguments[name])] for name in ordered]
    if isinstance(arguments, list):
        return [list(each) for each in arguments]
    raise CalibError(f"{where}: `arguments` is a {type(arguments).__name__}; an object or a list was expected")


def _choices(line: Line, requests: Sequence[Sequence[Any]]) -> list[str]:
    """What was scored after the context; empty where nothing was chosen among."""
    texts = [r[1] for r in requests if len(r) > 1 and isinstance(r[1], str)]
    if len(texts) < 2 or len(texts) < len(requests):
        return []
    # With acc_mutual_info, the choices follow again without the question.
    return texts[: len(texts) // 2] if "acc_mutual_info" in line else texts


def _log_likelihood(response: Any, where: str) -> float:
    """Of `[["-2.69", "False"]]`, `[[-2.69, false]]`, or either with one bracket fewer."""
    found = response
    while isinstance(found, list) and found:
        found = found[0]
    try:
        value = float(found)
    except (TypeError, ValueError):
        raise CalibError(f"{where}: `resps` holds {response!r}; a log-likelihood was expected") from None
    if np.isnan(value):
        raise CalibError(f"{where}: a log-likelihood is not a number")
    return value


def _own_values(line: Line, left_out: Collection[str]) -> dict[str, float]:
    """The numbers that the task gave the document."""
    names = line.get("metrics") or [k for k in line if k in ("acc", "acc_norm", "exact_match", "f1", "bleu", "em")]
    values = {k: line[k] for k in names if k not in left_out and isinstance(line.get(k), (bool, int, float))}
    return {name: float(value) for name, value in values.items() if not np.isnan(value)}


def _not_averaged(config: Mapping[str, Any]) -> set[str]:
    """The metrics of which lm-eval takes something else than the mean over documents, as the task or its default is."""
    stated = {entry["metric"]: entry.get("aggregation") for entry in config.get("metric_list") or ()}
    aggregations = {"perplexity": "perplexity"} | {name: how for name, how in stated.items() if how}
    return {name for name, how in aggregations.items() if how != "mean"}


def _judges_by_choice(items: Sequence[_Item], config: Mapping[str, Any]) -> bool:
    """Whether a document is right or wrong by its likeliest choice, as far as configuration and `acc` tell."""
    if not any(item.scores for item in items):
        return False
    if all(map(_as_pooled, items)):
        return True
    in_its_own_way = config.get("process_results") not in (None, "CalibrationTask")
    return not in_its_own_way and all(item.values.get("acc", 0.0) in (0.0, 1.0) for item in items)


def _right_answers(items: Sequence[_Item], file: Path) -> list[list[int]] | None:
    """Item → its right choices: as our own metrics state them, else by number, by text, or from `acc` between two.

    None where they can be told, and `acc` is something else than whether the likeliest is among them.
    """
    told = False
    for read in (_as_pooled, _as_number, _as_text, _from_accuracy):
        found = [read(item) for item in items]
        if all(right and _agrees(item, right) for item, right in zip(items, found, strict=True)):
            return found
        told = told or all(found)
    if told:
        warnings.warn(
            f"{file}: `acc` is not whether the likeliest choice is the one that `target` names; only the task's own "
            "numbers are taken, without calibration",
            stacklevel=2,
        )
        return None
    item = next((item for item in items if not _as_number(item) and not _as_text(item)), items[0])
    raise CalibError(
        f"{file}, document {item.line['doc_id']}: `target` is {item.line['target']!r}; the number or the text of a "
        f"choice was expected (the choices are {', '.join(map(repr, item.texts))})"
    )


def _as_pooled(item: _Item) -> list[int]:
    for name in item.line.get("metrics") or ():
        value = item.line.get(name)
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], list) and isinstance(value[1], list):
            return [int(i) for i in value[0]]
    return []


def _as_number(item: _Item) -> list[int]:
    numbers = re.fullmatch(r"\[?\s*(\d+(?:\s*,\s*\d+)*)\s*\]?", str(item.line["target"]).strip())
    found = [int(n) for n in numbers[1].split(",")] if numbers else []
    return found if found and max(found) < len(item.scores) else []


def _as_text(item: _Item) -> list[int]:
    found = [i for i, text in enumerate(item.texts) if text.strip() == str(item.line["target"]).strip()]
    return found if len(found) == 1 else []


def _from_accuracy(item: _Item) -> list[int]:
    accuracy = item.line.get("acc")
    if len(item.scores) != 2 or accuracy not in (0, 1):
        return []
    return [item.best if accuracy == 1 else 1 - item.best]


def _agrees(item: _Item, right: list[int]) -> bool:
    """Whether the likeliest choice is right just where the file says so."""
    accuracy = item.line.get("acc")
    return accuracy not in (0, 1) or (item.best in right) == bool(accuracy)


def _flat(responses: Any) -> list[Any]:
    return [x for each in responses for x in _flat(each)] if isinstance(responses, list) else [responses]


def _hash(line: Line) -> str:
    return hashlib.sha256(json.dumps(line.get("doc"), indent=2, ensure_ascii=False).encode()).hexdigest()
