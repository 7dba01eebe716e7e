"""The output folder of a sweep: which folders can be used, where files go, and how workers share it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import point_name
from mergekit_calib.storage.atomic import remove_leftovers, write_text_atomic
from mergekit_calib.storage.failures import machine_error
from mergekit_calib.storage.locks import Claims, exclusive, share_lock, try_lock, unlock
from mergekit_calib.storage.set_aside import make_way, set_aside
from mergekit_calib.sweep.folder_checks import check_same_models, check_usable
from mergekit_calib.sweep.model_record import ModelRecord, is_weights, weight_files

_ID = re.compile(r"[0-9a-f]{12}")
_OLD_RECORD = "model.digest"  # of version 0.1: the digest alone, which does not tell whether the files are whole


@dataclass(frozen=True)
class Session:
    """The workers that run in one folder at the same time.

    Attributes:
        id: an id that all of these workers have in common.
        claims: the points that they are scoring.
        lock: a file that a worker locks while it decides on the next point.
        is_first: whether this worker began the session, so that all else in the folder is of earlier runs.
    """

    id: str
    claims: Claims
    lock: Path
    is_first: bool = True


class RunFolder:
    """The output folder of a sweep, `out/`.

    Args:
        path: the folder; created when something is first written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calibration = path / "calibration"
        self.scratch = self.calibration / "scratch"
        self.items = ItemStore(self.calibration / "items")
        self.study_log = self.calibration / "study.log"
        self.sweep_record = self.calibration / "sweep.yml"
        self.frontier = self.calibration / "frontier.json"
        self.session = ""  # the id of the session that this worker has joined
        self._workers = self.calibration / ".workers"
        self.contents = self._workers / "contents.json"  # hashes of the parents' files, where nodes compare them
        self._run: IO[str] | None = None  # a file whose lock all workers share while they have joined

    @property
    def identity(self) -> str:
        """An id of this folder, the same wherever it is mounted; hold a lock, since the first call creates the id."""
        id_file = self._workers / "folder"
        text = id_file.read_text(encoding="utf-8", errors="replace").strip() if id_file.exists() else ""
        if not _ID.fullmatch(text):
            text = uuid.uuid4().hex[:12]
            write_text_atomic(id_file, text)
        return text

    def check(self, models: Collection[str]) -> None:
        """Check that the folder can be used, and that it is new, empty, or holds a run of the same models.

        Args:
            models: the models, as the recipe names them.

        Raises:
            CalibError: it holds something else, which a sweep must not overwrite, or cannot be written to.
        """
        check_usable(self.path, [self.calibration, self.items.folder, self._workers, self.scratch])
        check_same_models(self.path, self.sweep_record, self.frontier, self.items.folder, models)

    def check_is_there(self) -> None:
        """Check that the folder was neither deleted nor moved since this worker joined.

        Else the next file would make a new folder with a part of the run in it.

        Raises:
            CalibError: it was.
        """
        if self._run is None:
            return
        try:
            is_there = os.path.samestat(os.fstat(self._run.fileno()), os.stat(self._workers / "run"))
        except OSError:
            is_there = False
        if not is_there:
            raise CalibError(
                f"{self.path} was deleted, moved or replaced during the run, so nothing more is written; the same "
                "command goes on with what is there"
            )

    def write_error(self) -> OSError | None:
        """Return why nothing can be written to the folder now; None if something can."""
        probe = self._workers / "probe"
        try:
            write_text_atomic(probe, "x" * 4096)
            probe.unlink(missing_ok=True)
        except OSError as problem:
            return problem
        return None

    def record(self, sweep: dict[str, Any]) -> None:
        """Write `calibration/sweep.yml`, the sweep with everything that was resolved."""
        text = yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True, width=120)
        write_text_atomic(self.sweep_record, text)

    def save(self, frontier: Frontier) -> None:
        """Write `calibration/frontier.json`."""
        write_text_atomic(self.frontier, frontier.to_json())

    def write_model(self, write: Callable[[Path], None], digest: str, point: str) -> str | None:
        """Write a model into the folder, whole or not at all, unless it is there and as it was written.

        Args:
            write: writes the model into the folder that it is given; its files are then moved in.
            digest: of the model's weights.
            point: the id of the point that it is.

        Returns:
            A sentence if the folder held another point's model, which is replaced.
        """
        record_file = self.calibration / "model.json"
        old = ModelRecord.load(record_file)
        problems = old.problems(self.path) if old else {}
        if old and old.digest == digest and not problems:
            return None
        self._tell_of_model(old, digest, problems)
        staging = self.scratch / "model"
        self._remove_scratch_of(["model"])
        staging.mkdir(parents=True)
        try:
            write(staging)
            new = ModelRecord.of(staging, digest, point)
        except Exception as problem:
            refused = machine_error(problem) or self.write_error()
            self._remove_scratch_of(["model"])
            if refused:
                raise refused from problem
            raise
        for file in (record_file, self.calibration / _OLD_RECORD):
            make_way(file)
            file.unlink(missing_ok=True)
        if old is not None:
            for path in (self.path / name for name in problems if name not in old.files):
                set_aside(path, "is not part of the model", "loading the model does not take it", suffix=".replaced")
        stale = {*weight_files(self.path), *(self.path / n for n in (old.files if old else ()) if n not in problems)}
        for path in stale:
            make_way(path, "the model's own file is written")
            path.unlink(missing_ok=True)
        for name in new.files:
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in problems and not is_weights(name) and target.is_file() and not target.is_symlink():
                set_aside(target, problems[name], "the model's own file is written", suffix=".replaced")
            make_way(target, "the model's own file is written")
            os.replace(staging / name, target)
        new.save(record_file)
        if old is None or old.digest == digest:
            return None
        return f"{self.path} held {point_name(old.point)}, which is replaced by {point_name(point)}"

    def _tell_of_model(self, old: ModelRecord | None, digest: str, problems: dict[str, str]) -> None:
        """Warn if the model in the folder is not whole, or if nothing says that it is."""
        if old and old.digest == digest:
            name, problem = next(iter(problems.items()))
            others = f", nor {len(problems) - 1} other files" if len(problems) > 1 else ""
            found = f"the model in {self.path} is not whole: {name} {problem}{others}"
        elif old is None and any(weight_files(self.path)):
            found = f"nothing says whether the model in {self.path} is whole (calibration/model.json)"
        else:
            return
        logging.getLogger(__name__).warning("%s; it is written again", found)

    def remove_scratch(self) -> None:
        """Remove this worker's files from the scratch folder; the whole folder if no other worker has joined."""
        self._remove_scratch_of(["model"])
        if self._run is None:
            return
        if try_lock(self._run):
            _remove(self.scratch)
        share_lock(self._run)  # a failed `try_lock` has released the shared lock

    def _remove_scratch_of(self, names: Collection[str]) -> None:
        for name in names:
            _remove(self.scratch / name)

    def _tidy(self) -> None:
        """Remove what killed runs have left, and set aside what writes would follow out of the folder.

        Only the first worker of a session does so. Adapters that were merged already are kept, since they are used.
        """
        for old in self._workers.glob("*.claim"):
            old.unlink()
        remove_leftovers([self.path, self.calibration, self.items.folder, self._workers])
        if self.scratch.is_dir():
            self._remove_scratch_of([path.name for path in self.scratch.iterdir() if path.name != "adapters"])
        make_way(self.study_log, "a new one is filled from the item scores")
        for path in (self.calibration / "run.log", self.calibration / f".{self.study_log.name}.lock"):
            make_way(path)

    @contextmanager
    def joined(self, study: str) -> Iterator[Session]:
        """Work in the folder, alone or with other workers on the same study, while the context lasts.

        The locks are released when the process ends, however it ends.

        Args:
            study: the name of the study.

        Raises:
            CalibError: other processes are running another sweep in the folder.
        """
        self._workers.mkdir(parents=True, exist_ok=True)
        for path in self._workers.iterdir():
            make_way(path)
        with (self._workers / "run").open("a+", encoding="utf-8", errors="replace") as handle:
            is_first = try_lock(handle)
            handle.seek(0)
            if is_first:
                self._tidy()
                handle.truncate()
                handle.write(f"{study} {uuid.uuid4().hex}")
                handle.flush()
                share_lock(handle)
                handle.seek(0)
            else:
                share_lock(handle)
            other_study, _, session = handle.read().rpartition(" ")
            if other_study != study or not session:
                raise CalibError(
                    f"another process is running another sweep in {self.path} (study {other_study[:40] or 'unknown'}, "
                    f"this one is {study}); wait for it, or name a new folder"
                )
            self._run, self.session = handle, session
            try:
                with Claims(self._workers) as claims:
                    yield Session(session, claims, self._workers / "decide", is_first)
            finally:
                self._run, self.session = None, ""
                unlock(handle)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Hold the lock for work that takes much memory, so that workers do it one after another."""
        with exclusive(self._workers / "build"):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for work that only one worker may do at a time, while the context lasts."""
        with exclusive(self._workers / "write"):
            yield


def _remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
