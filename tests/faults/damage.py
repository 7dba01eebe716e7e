"""What can happen to a file of a run folder, and whether the same command then ends as if it had not."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.recipe_runner import run_source

_OF_A_RUN = {"created", "seconds", "reused"}  # keys of a result that differ from run to run
_LONGEST_LINE = 500


def deleted(path: Path, elsewhere: Path) -> None:
    path.unlink()


def emptied(path: Path, elsewhere: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path, elsewhere: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path, elsewhere: Path) -> None:
    path.write_bytes(bytes((i * 37 + 11) % 256 for i in range(3000)))


def flipped(path: Path, elsewhere: Path) -> None:
    """Flip one bit in the middle, without a new time of change, as a disk does."""
    data, times = bytearray(path.read_bytes()), path.stat()
    if data:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def folder(path: Path, elsewhere: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").write_text("stray")


def dangling(path: Path, elsewhere: Path) -> None:
    path.unlink()
    path.symlink_to(elsewhere / "nowhere")


def linked(path: Path, elsewhere: Path) -> None:
    """A link to a file outside, with other contents."""
    target = elsewhere / path.name
    target.write_bytes(b"not of this run\n")
    path.unlink()
    path.symlink_to(target)


def of_a_newer_version(path: Path, elsewhere: Path) -> None:
    """What a later version might write; a file without a version stays as it is."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        check = json.loads(table.schema.metadata[b"mergekit_calib_check"]) | {"format": 99}
        metadata = {**table.schema.metadata, b"mergekit_calib_check": json.dumps(check).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    elif path.name == "frontier.json":
        fields = json.loads(path.read_text()) | {"schema_version": 99}
        path.write_text(json.dumps({name: value for name, value in fields.items() if name != "checksum"}))


Damage = Callable[[Path, Path], None]
DAMAGES: list[Damage] = [
    deleted,
    emptied,
    truncated,
    garbage,
    flipped,
    folder,
    dangling,
    linked,
    of_a_newer_version,
]


@dataclass
class FinishedRun:
    """A finished sweep, and how it ended.

    Attributes:
        recipe: its text.
        out: its folder, which stays as it is.
        files: the names of all files in it.
        end: what a run into a damaged copy must end with.
    """

    recipe: str
    out: Path
    files: list[str] = field(init=False)
    end: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.files = sorted(p.relative_to(self.out).as_posix() for p in self.out.rglob("*") if p.is_file())
        self.end = end_of(self.out)


@dataclass(frozen=True)
class Aftermath:
    """What the same command did in a damaged folder.

    Attributes:
        kind: `same`: it ended as the undisturbed run; `refused`: it ended with one line, and went on to the same end
            once the damaged file was taken away; else what is wrong.
        lines: what it printed.
    """

    kind: str
    lines: str


def rerun(run: FinishedRun, damages: Mapping[str, Damage], to: Path) -> Aftermath:
    """Copy a finished run, damage files of the copy, run the same command in it, and compare the end.

    Args:
        run: the run.
        damages: file → what happens to it.
        to: an empty folder for the copy and for what lies outside of it.
    """
    out, elsewhere = to / "out", to / "elsewhere"
    shutil.copytree(run.out, out, symlinks=True)
    elsewhere.mkdir()
    for name, damage in damages.items():
        damage(out / name, elsewhere)
    outside = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    lines, problem = printed(lambda: run_source(run.recipe, str(out)))
    kind = "same"
    if problem is not None:
        if not isinstance(problem, CalibError):
            return Aftermath(f"traceback: {type(problem).__name__}: {problem}", lines)
        if len(str(problem)) > _LONGEST_LINE or "\n" in str(problem):
            return Aftermath(f"no one line: {problem}", lines)
        for name in damages:
            path = out / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        lines += str(problem)
        kind, (_, problem) = "refused", printed(lambda: run_source(run.recipe, str(out)))
        if problem is not None:
            return Aftermath(f"does not go on: {problem}", lines)
    if {path.name: path.read_bytes() for path in elsewhere.iterdir()} != outside:
        return Aftermath("wrote outside of the folder", lines)
    end = end_of(out)
    different = [name for name in run.end if end.get(name) != run.end[name]]
    return Aftermath(f"silent: {', '.join(different)}" if different else kind, lines)


def printed(call: Callable[[], Any]) -> tuple[str, Exception | None]:
    """Call, and return what was printed and the error that ended the call."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            call()
        except Exception as problem:
            return out.getvalue(), problem
    return out.getvalue(), None


def end_of(out: Path) -> dict[str, Any]:
    """Return the numbers of a result, without those of time and order, and the hash of each file of the model."""
    result = _comparable(json.loads((out / "calibration" / "frontier.json").read_text(encoding="utf-8")))
    result.pop("checksum", None)
    result["points"] = sorted(result["points"], key=lambda point: point["id"])
    record = json.loads((out / "calibration" / "model.json").read_text(encoding="utf-8"))
    return {
        **{f"frontier.json: {name}": value for name, value in result.items()},
        **{name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in record["files"]},
        "points.csv": len((out / "calibration" / "points.csv").read_text(encoding="utf-8").splitlines()),
        "report.html": "</html>" in (out / "calibration" / "report.html").read_text(encoding="utf-8"),
    }


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _comparable(each) for name, each in value.items() if name not in _OF_A_RUN}
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value
