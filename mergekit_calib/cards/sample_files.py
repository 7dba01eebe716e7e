"""The files of finished `lm_eval --log_samples` runs: which model and task each is of, and its parsed lines.

Written from the source of lm-eval 0.4.2 to 0.4.13 and 0.5.0.dev1:

- From 0.4.3 on a run writes `samples_{task}_{date}.jsonl`, one document a line, and `results_{date}.json` beside it, or
  `{name}_{date}.json` if `--output_path` was `{name}.json` (`EvaluationTracker`).
- 0.4.2 writes `{model_args}_{task}.jsonl`, which is one JSON array, and `results.json` (`__main__.cli_evaluate`).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mergekit_calib.errors import CalibError
from mergekit_calib.report.text.safe_text import storable

Line = Mapping[str, Any]

_DATE = r"\d{4}-\d\d-\d\dT[\d.:-]+?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<date>{_DATE}))?\.jsonl(?:\.gz)?$", re.DOTALL)
_DATED = re.compile(rf"_(?P<date>{_DATE})\.json$")
_NEEDED = ("doc_id", "target", "arguments", "resps")


@dataclass(frozen=True)
class Run:
    """What the file of a run's results says about its samples; lm-eval names that file `results_*.json`.

    Attributes:
        date: when the run started, as in its files' names; empty if they have no date.
        model_name: the model; empty if the file does not name it.
        prefix: what the names of samples files begin with before the task; None if they are named by task and date.
        configs: task → its configuration.
        higher_is_better: task → metric → whether more of it is better.
        n_documents: task → the number of its documents that the run scored.
    """

    date: str = ""
    model_name: str = ""
    prefix: str | None = None
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    higher_is_better: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    n_documents: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path) -> Run | None:
        """Read a results file; return None if it is another JSON file, or damaged."""
        try:
            read = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not (isinstance(read, dict) and isinstance(read.get("configs"), dict) and "results" in read):
            return None
        dated = _DATED.search(file.name)
        called = _mapping(read.get("config"))
        model_args = str(called.get("model_args") or "")
        undated = not dated and bool(model_args)
        counts = {task: _mapping(n).get("effective") for task, n in _mapping(read.get("n-samples")).items()}
        return cls(
            date=dated["date"] if dated else "",
            model_name=str(read.get("model_name") or (_model_in(model_args) if undated else "")),
            prefix=re.sub("/|=", "__", model_args) + "_" if undated else None,
            configs={task: _mapping(config) for task, config in read["configs"].items()},
            higher_is_better={task: _mapping(ways) for task, ways in _mapping(read.get("higher_is_better")).items()},
            n_documents={task: n for task, n in counts.items() if isinstance(n, int)},
        )


@dataclass(frozen=True)
class SampleFile:
    """A file of one task's samples.

    Attributes:
        path: the file.
        task: the task.
        date: when the run started, as in the file's name; empty if that has no date.
        model_name: the model, by the run's results or by the file's name; empty if neither names it.
        run: what the run's results say; empty if they are not beside the file.
    """

    path: Path
    task: str
    date: str
    model_name: str
    run: Run


def sample_files(paths: Iterable[str | Path]) -> list[SampleFile]:
    """Return the samples files in `paths`, each once.

    Args:
        paths: samples files, or folders that `--output_path` named.

    Raises:
        CalibError: a path does not exist or holds no samples.
    """
    files: dict[Path, SampleFile] = {}
    runs: dict[Path, list[Run]] = {}
    for path in map(Path, paths):
        try:
            inside = sorted(_inside(path)) if path.is_dir() else [path]
            if not path.exists():
                raise CalibError(f"{path}: no such file or folder; give what --output_path of lm_eval named")
        except (OSError, ValueError) as problem:  # ValueError: a null byte
            raise CalibError(f"{path}: cannot be read ({problem})") from None
        if not inside:
            raise CalibError(f"{path}: {_without_samples(path)}")
        for file in inside:
            if file.parent not in runs:
                read = (Run.of(each) for each in sorted(file.parent.glob("*.json")))
                runs[file.parent] = [run for run in read if run is not None]
            found = _identified(file, runs[file.parent])
            files[file] = replace(found, task=storable(found.task))
    return list(files.values())


def read_lines(file: Path) -> tuple[list[Line], list[str]]:
    """Return the parsed lines of a samples file, and notes on what could not be read of it.

    A last line that is cut off, as that of a run that was killed, is left out with a note.

    Raises:
        CalibError: the file is empty, damaged, or holds something else; the message names the line and the key.
    """
    text = _text(file)
    notes: list[str] = []
    if not text.strip():
        raise CalibError(f"{file}: it is empty; run lm_eval again, with --log_samples")
    numbered = _array(text, file) if text.lstrip().startswith("[") else _json_lines(text, file, notes)
    lines: list[Line] = []
    for where, line in numbered:
        if not isinstance(line, dict):
            raise CalibError(f"{file}, {where}: it holds a {type(line).__name__}; a document of lm-eval's was expected")
        missing = [key for key in _NEEDED if key not in line]
        if missing:
            raise CalibError(f"{file}, {where}: {_not_a_sample(line, missing)}")
        if type(line["doc_id"]) is not int or not 0 <= line["doc_id"] < 2**63:
            raise CalibError(f"{file}, {where}: `doc_id` is {shown(line['doc_id'])}; a number from 0 was expected")
        lines.append(line)
    if not lines:
        raise CalibError(f"{file}: it holds no document; run lm_eval again, with --log_samples")
    return lines, notes


def shown(value: Any) -> str:
    """Return a value as it is shown in a message: its first 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the samples files of a folder and its folders."""
    for path in folder.rglob("*.jsonl*"):
        if path.is_file() and (_SAMPLES.fullmatch(path.name) or ("__" in path.name and _starts_an_array(path))):
            yield path


def _starts_an_array(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(64).lstrip().startswith(b"[")


def _without_samples(folder: Path) -> str:
    if (folder / "calibration").is_dir() or (folder / "frontier.json").is_file():
        return "this is the output of a sweep; `mergekit-calib report` reads it, and --from reads samples of lm_eval"
    if any(Run.of(file) for file in sorted(folder.rglob("*.json"))[:20]):
        return "it holds the results of lm_eval, but no samples; run lm_eval again, with --log_samples"
    return "there is no samples_*.jsonl in it; run lm_eval with --log_samples --output_path"


def _identified(file: Path, runs: list[Run]) -> SampleFile:
    """Return a file with its task, and the run that wrote it among those of its folder.

    Raises:
        CalibError: the name of a file of lm-eval 0.4.2 does not tell where the model ends and the task begins.
    """
    if named := _SAMPLES.fullmatch(file.name):
        task, date = named["task"], named["date"] or ""
        with_task = sorted((run for run in runs if task in run.configs), key=lambda run: run.date)
        same = [run for run in with_task if run.date == date]
        run = (same or with_task or sorted(runs, key=lambda run: run.date) or [Run()])[-1]
        return SampleFile(file, task, date, run.model_name, run)
    stem = file.name.removesuffix(".gz").removesuffix(".jsonl")
    for run in runs:
        if run.prefix is not None and stem.startswith(run.prefix) and stem.removeprefix(run.prefix) in run.configs:
            return SampleFile(file, stem.removeprefix(run.prefix), run.date, run.model_name, run)
    if "__" not in stem:
        return SampleFile(file, stem, "", "", Run())
    # Of 0.4.2, but a later run into the same folder has replaced `results.json`, or the file was copied without it.
    from mergekit_calib.scoring.known_tasks import every_definition

    known = {task for run in runs for task in run.configs} | every_definition().keys()
    model_args, _, rest = stem.rpartition("__")
    tasks = [rest[i + 1 :] for i, character in enumerate(rest) if character == "_"]
    task = next((task for task in tasks if task in known), "")
    if not task:
        raise CalibError(
            f"{file}: its name does not tell the model from the task; put the `results.json` of its run beside it, "
            "or rename it to samples_TASK.jsonl"
        )
    model = f"{model_args}__{rest}".removesuffix(f"_{task}").partition(",")[0].removeprefix("pretrained__")
    return SampleFile(file, task, "", model.replace("__", "/"), Run())


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise CalibError(f"{file}, line {line}: it is not text in UTF-8; samples of lm_eval were expected") from None
    except (OSError, EOFError, zlib.error) as problem:
        raise CalibError(f"{file}: cannot be read ({getattr(problem, 'strerror', None) or problem})") from None


def _array(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the documents of a file of lm-eval 0.4.2 with where they are."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as problem:
        line = f", line {problem.lineno}" if isinstance(problem, json.JSONDecodeError) else ""
        raise CalibError(f"{file}{line}: not JSON ({_reason(problem)}); is the file whole?") from None
    yield from ((f"document {i} of the array", item) for i, item in enumerate(items, 1))


def _json_lines(text: str, file: Path, notes: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the documents of a file with one a line, with where they are."""
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in numbered:
        try:
            parsed = json.loads(line)
        except (ValueError, RecursionError) as problem:
            if len(numbered) > 1 and number == numbered[-1][0] and not text.endswith("\n"):
                notes.append(f"{file}: line {number}, the last, is cut off, and is left out.")
                return
            if number == 1 and text.lstrip().startswith("{") and _is_results(text):
                parsed = {"results": {}}
            else:
                raise CalibError(
                    f"{file}, line {number}: not JSON ({_reason(problem)}); is it a samples file, and whole?"
                ) from None
        yield f"line {number}", parsed


def _is_results(text: str) -> bool:
    try:
        return "results" in json.loads(text)
    except (ValueError, RecursionError):
        return False


def _reason(problem: Exception) -> str:
    return problem.msg if isinstance(problem, json.JSONDecodeError) else "nested too deeply, or a number too long"


def _not_a_sample(line: Mapping[str, Any], missing: list[str]) -> str:
    if "results" in line:
        return "this is a file of results; give the samples_*.jsonl beside it (lm_eval --log_samples writes them)"
    if len(missing) == len(_NEEDED):
        keys = ", ".join(map(shown, list(line)[:5])) or "none"
        return f"no document of lm-eval's samples (its keys are {keys}); only those of lm_eval --log_samples are read"
    return f"no key {missing[0]!r}; it is not a line of lm-eval's samples"


def _model_in(model_args: str) -> str:
    """Return the model in `pretrained=org/model,dtype=float32`, with its adapter; all of it if there is none."""
    given = dict(part.split("=", 1) for part in model_args.split(",") if "=" in part)
    model = given.get("pretrained") or given.get("model") or model_args
    return f"{model}+{given['peft']}" if given.get("peft") else model


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
