"""Item tables from finished `lm_eval --log_samples` runs: no model, no task, only what the files say.

Written for the files of lm-eval 0.4.13; earlier ones, whose `arguments` are lists and whose numbers are no strings, are
read too.
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
from numpy.typing import NDArray

from mergekit_calib.errors import CalibError
from mergekit_calib.items import ItemTable
from mergekit_calib.search.store import Tables

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
        run = _run_of(folder)
        model = SampledModel(str(run.get("model_name") or folder.resolve().name))
        directions = run.get("higher_is_better") or {}
        for task, file in tasks.items():
            model.tables[task] = [table_of(task, _lines(file), file)]
            model.higher_is_better[task] = {k: bool(v) for k, v in (directions.get(task) or {}).items()}
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


def _run_of(folder: Path) -> dict[str, Any]:
    results = sorted(folder.glob("results_*.json"))
    if not results:
        return {}
    found: dict[str, Any] = json.loads(results[-1].read_text(encoding="utf-8"))
    return found


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


def table_of(task: str, lines: Sequence[Line], file: Path) -> ItemTable:
    """The item table of a task's samples.

    Raises:
        CalibError: neither choices nor numbers of the task's own, or right answers that cannot be told.
    """
    items = [_Item.of(line, f"{file}, document {line['doc_id']}") for line in lines]
    width = max(len(item.scores) for item in items)
    names = set.intersection(*(set(item.values) for item in items))
    if not width and not names:
        raise CalibError(
            f"{file}: task {task} has neither choices nor a number for each document, so it has no calibration here"
        )
    right = _right_answers(items, file) if width else [[] for _ in items]
    gold = [[i in those for i in range(len(item.scores))] for item, those in zip(items, right, strict=True)]
    return ItemTable(
        task=task,
        doc_ids=np.array([int(line["doc_id"]) for line in lines], dtype=np.int64),
        doc_hashes=[str(line.get("doc_hash") or _hash(line)) for line in lines],
        log_likelihoods=_padded([item.scores for item in items], np.nan, np.float64),
        gold=_padded(gold, False, np.bool_),
        choice_chars=_padded([[len(text) for text in item.texts] for item in items], 0, np.int64),
        choice_bytes=_padded([[len(text.encode()) for text in item.texts] for item in items], 0, np.int64),
        generations=None if width else [[str(text) for text in _flat(line["resps"])] for line in lines],
        values={name: np.array([item.values[name] for item in items], dtype=np.float64) for name in sorted(names)},
    )


@dataclass(frozen=True)
class _Item:
    """A document's choices, none if it has none, and the numbers that the task gave it."""

    line: Line
    scores: list[float]
    texts: list[str]
    values: dict[str, float]

    @classmethod
    def of(cls, line: Line, where: str) -> _Item:
        choices = _choices(line, _requests(line, where))
        scores = [_log_likelihood(response, where) for response in line["resps"][: len(choices)]]
        return cls(line, scores, [choice.lstrip() for choice in choices], _own_values(line, bool(choices)))

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


def _own_values(line: Line, has_choices: bool) -> dict[str, float]:
    """The numbers that the task gave the document; `acc` of choices follows from the log-likelihoods."""
    names = line.get("metrics") or [k for k in line if k in ("acc", "acc_norm", "exact_match", "f1", "bleu", "em")]
    values = {name: line[name] for name in names if isinstance(line.get(name), (bool, int, float))}
    return {name: float(v) for name, v in values.items() if not (has_choices and name == "acc") and not np.isnan(v)}


def _right_answers(items: Sequence[_Item], file: Path) -> list[list[int]]:
    """Item → its right choices: as our own metrics state them, else by number, by text, or from `acc` between two."""
    for read in (_as_pooled, _as_number, _as_text, _from_accuracy):
        found = [read(item) for item in items]
        if all(right and _agrees(item, right) for item, right in zip(items, found, strict=True)):
            return found
    item = next((item for item in items if not _as_number(item) and not _as_text(item)), items[0])
    raise CalibError(
        f"{file}, document {item.line['doc_id']}: `target` is {item.line['target']!r}; the number or the text of a "
        f"choice was expected that goes with `acc` (the choices are {', '.join(map(repr, item.texts))})"
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
