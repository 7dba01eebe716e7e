"""The output folder of a sweep: which folders can be used, where files go, and how workers share it."""

from __future__ import annotations

import os
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
from mergekit_calib.storage.atomic import write_text_atomic
from mergekit_calib.storage.locks import Claims, exclusive, share_lock, try_lock

_DIGEST = "model.digest"


@dataclass(frozen=True)
class Session:
    """The workers that run in one folder at the same time.

    Attributes:
        id: an id that all of these workers have in common.
        claims: the points that they are scoring.
        lock: a file that a worker locks while it decides on the next point.
    """

    id: str
    claims: Claims
    lock: Path


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
        self._run: IO[str] | None = None  # a file whose lock all workers share while they have joined

    @property
    def identity(self) -> str:
        """An id of this folder, the same wherever it is mounted; hold a lock, since the first call creates the id."""
        id_file = self.calibration / ".workers" / "folder"
        if not id_file.exists():
            write_text_atomic(id_file, uuid.uuid4().hex[:12])
        return id_file.read_text(encoding="utf-8")

    def check(self, models: Collection[str]) -> None:
        """Check that the folder is new, empty, or holds a run of the same models.

        Args:
            models: the models, as the recipe names them.

        Raises:
            CalibError: it holds something else, which a sweep must not overwrite.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CalibError(f"{self.path} is a file; a sweep writes a folder")
        record = self.calibration / "sweep.yml"
        if not record.exists():
            names = sorted(p.name for p in self.path.iterdir()) if self.path.exists() else []
            if names not in ([], ["calibration"]):
                raise CalibError(
                    f"{self.path} holds something else ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}); "
                    "name a new folder, or one that an earlier run of this sweep wrote"
                )
            return
        earlier = yaml.safe_load(record.read_text(encoding="utf-8"))["models"]
        if set(earlier) != set(models):
            raise CalibError(
                f"{self.path} holds a sweep of {', '.join(earlier)}, and this one is of {', '.join(models)}; name a "
                "new folder"
            )

    def record(self, sweep: dict[str, Any]) -> None:
        """Write `calibration/sweep.yml`, the sweep with everything that was resolved."""
        self.calibration.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True, width=120)
        write_text_atomic(self.calibration / "sweep.yml", text)

    def save(self, frontier: Frontier) -> None:
        """Write `calibration/frontier.json`."""
        self.calibration.mkdir(parents=True, exist_ok=True)
        write_text_atomic(self.calibration / "frontier.json", frontier.model_dump_json(indent=1) + "\n")

    def write_model(self, write: Callable[[Path], None], digest: str | None) -> None:
        """Write a model into the folder, whole or not at all.

        Args:
            write: writes the model into the folder that it is given; its files are then moved in.
            digest: of the model's weights. If the folder holds the model of that digest, nothing is written.
        """
        digest_file = self.calibration / _DIGEST
        if digest is not None and digest_file.exists() and digest_file.read_text(encoding="utf-8") == digest:
            return
        digest_file.unlink(missing_ok=True)
        staging = self.scratch / "model"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write(staging)
        for old in (*self.path.glob("model*.safetensors*"), *self.path.glob("pytorch_model*.bin*")):
            old.unlink()
        for file in sorted(staging.iterdir()):
            os.replace(file, self.path / file.name)
        if digest is not None:
            write_text_atomic(digest_file, digest)

    def remove_scratch(self) -> None:
        """Remove this worker's files from the scratch folder; the whole folder if no other worker has joined."""
        shutil.rmtree(self.scratch / "model", ignore_errors=True)
        if self._run is None:
            return
        if try_lock(self._run):
            shutil.rmtree(self.scratch, ignore_errors=True)
        share_lock(self._run)  # a failed `try_lock` has released the shared lock

    @contextmanager
    def joined(self, study: str) -> Iterator[Session]:
        """Work in the folder, alone or with other workers on the same study, while the context lasts.

        The locks are released when the process ends, however it ends.

        Args:
            study: the name of the study.

        Raises:
            CalibError: other processes are running another sweep in the folder.
        """
        workers = self.calibration / ".workers"
        workers.mkdir(parents=True, exist_ok=True)
        with (workers / "run").open("a+") as handle:
            is_first = try_lock(handle)
            handle.seek(0)
            if is_first:
                handle.truncate()
                handle.write(f"{study} {uuid.uuid4().hex}")
                handle.flush()
                for old in workers.glob("*.claim"):
                    old.unlink()
                share_lock(handle)
            else:
                share_lock(handle)
                if (other_study := handle.read().split()[0]) != study:
                    raise CalibError(
                        f"another process is running another sweep in {self.path} (study {other_study}, this one is "
                        f"{study}); wait for it, or name a new folder"
                    )
            handle.seek(0)
            self._run = handle
            try:
                with Claims(workers) as claims:
                    yield Session(handle.read().split()[1], claims, workers / "decide")
            finally:
                self._run = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for work that only one worker may do at a time, while the context lasts."""
        with exclusive(self.calibration / ".workers" / "write"):
            yield
