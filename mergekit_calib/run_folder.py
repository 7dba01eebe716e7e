"""The output folder of a sweep: what it may hold before, where things go, and that they go there whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.errors import CalibError
from mergekit_calib.files import write_text_atomic
from mergekit_calib.frontier import Frontier
from mergekit_calib.search.store import ItemStore

_DIGEST = "model.digest"


class RunFolder:
    """`out/` of a sweep.

    Args:
        path: the folder; created when something is first written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calibration = path / "calibration"
        self.scratch = self.calibration / "scratch"
        self.items = ItemStore(self.calibration / "items")

    def check(self, parents: dict[str, str]) -> None:
        """That the folder is new, empty, or holds a run of the same parents.

        Raises:
            CalibError: it holds something else, which a sweep must not write over.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CalibError(f"{self.path} is a file; a sweep writes a folder")
        record = self.calibration / "sweep.yml"
        if not record.exists():
            held = sorted(p.name for p in self.path.iterdir()) if self.path.exists() else []
            if held not in ([], ["calibration"]):
                raise CalibError(
                    f"{self.path} holds something else ({', '.join(held[:3])}{', …' if len(held) > 3 else ''}); "
                    "name a new folder, or an earlier run of this sweep to go on with"
                )
            return
        earlier = yaml.safe_load(record.read_text(encoding="utf-8"))["parents"]
        if earlier != parents:
            raise CalibError(
                f"{self.path} holds a sweep between {earlier['base']} and {earlier['aligned']}, and this one is "
                f"between {parents['base']} and {parents['aligned']}; name a new folder"
            )

    def record(self, sweep: dict[str, Any]) -> None:
        """Write `calibration/sweep.yml`: the sweep as run."""
        self.calibration.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True, width=120)
        write_text_atomic(self.calibration / "sweep.yml", text)

    def save(self, frontier: Frontier) -> None:
        """Write `calibration/frontier.json`."""
        self.calibration.mkdir(parents=True, exist_ok=True)
        write_text_atomic(self.calibration / "frontier.json", frontier.model_dump_json(indent=1) + "\n")

    def write_model(self, write: Callable[[Path], None], digest: str | None) -> None:
        """Have `write` fill a folder beside the output, and move its files in once it is whole.

        Nothing is done where the model of that digest is there already.
        """
        mark = self.calibration / _DIGEST
        if digest is not None and mark.exists() and mark.read_text(encoding="utf-8") == digest:
            return
        mark.unlink(missing_ok=True)
        staging = self.scratch / "model"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write(staging)
        for old in (*self.path.glob("model*.safetensors*"), *self.path.glob("pytorch_model*.bin*")):
            old.unlink()
        for file in sorted(staging.iterdir()):
            os.replace(file, self.path / file.name)
        if digest is not None:
            write_text_atomic(mark, digest)

    def remove_scratch(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run out of the folder; the lock goes with the process, however that ends.

        Raises:
            CalibError: another process is running this sweep.
        """
        self.calibration.mkdir(parents=True, exist_ok=True)
        with (self.calibration / ".lock").open("w") as handle:
            if not _lock(handle.fileno()):
                raise CalibError(f"another process is running a sweep in {self.path}")
            yield
        (self.calibration / ".lock").unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: runs there go unguarded
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
