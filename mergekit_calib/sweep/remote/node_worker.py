"""What runs on a node of a cluster: it prepares the sweep there, and makes and scores models of points.

Everything heavy is imported when the sweep arrives, so that a new worker answers at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

    from mergekit_calib.recipe import Point, Sweep
    from mergekit_calib.sweep.prepared import Prepared

_SCRATCH = "mergekit-calib-node-"


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of a sweep.

    Attributes:
        sweep: the parsed sweep.
        options: mergekit's options.
        folder: the driver's working folder, which relative paths in the recipe start from.
    """

    sweep: Sweep
    options: MergeOptions
    folder: str


class NodeWorker:
    """Scores points of one sweep, on the machine that it runs on."""

    def __init__(self) -> None:
        self._prepared: Prepared | None = None
        self._held = ExitStack()  # the current point's model
        self._point: Point | None = None
        self._digest = ""
        self._told: tuple[str, int, int] | None = None

    def prepare(self, job: Job) -> dict[str, Any]:
        """Check the sweep on this machine, and load what all points share.

        Args:
            job: the sweep.

        Returns:
            The fields of a `NodeContent`.

        Raises:
            CalibError: the sweep cannot run here.
        """
        from mergekit_calib.merging.method import register
        from mergekit_calib.sweep.preflight import prepare
        from mergekit_calib.sweep.remote.node_content import content_here

        with suppress(OSError):  # a node may lack the folder, and a recipe may need no relative path
            os.chdir(job.folder)
        register()
        self.discard()
        prepared = prepare(job.sweep, _scratch_folder(), job.options, writes_model=False)
        prepared.merge_adapters()
        self._prepared, self._scorer = prepared, prepared.scorer()
        return content_here(prepared).as_plain()

    def make(self, point: Point) -> str:
        """Make the model of a point, unless it is the current one, and return the digest of its weights.

        Args:
            point: the point.

        Raises:
            CalibError: the model cannot be made.
        """
        assert self._prepared is not None
        if self._point != point:
            self.discard_point()
            self._ready = self._held.enter_context(self._scorer.at(point))
            self._point = point
        return self._ready.digest

    def score(self, point: Point, documents: Mapping[str, list[int]] | None) -> tuple[str, Any]:
        """Score a point.

        Args:
            point: the point.
            documents: task → the numbers of the documents; None for all.

        Returns:
            The digest of its weights, and its item tables.
        """
        digest = self.make(point)
        try:
            return digest, self._ready.score(None if documents is None else dict(documents), self._tell)
        finally:
            self._told = None

    def progress(self) -> tuple[str, int, int] | None:
        """Return the suite entry that is being scored, how many requests are answered, and how many there are."""
        return self._told

    def discard_point(self) -> None:
        """Leave the current point; its model is kept for the next one to overwrite."""
        self._held.close()
        self._point = None

    def discard(self) -> None:
        """Free the model."""
        self.discard_point()
        if self._prepared is not None:
            self._scorer.discard()

    def _tell(self, entry: str, done: int, total: int) -> None:
        self._told = entry, done, total


_scratch_lock: IO[str] | None = None  # held while this process lives
_once = threading.Lock()


def _scratch_folder() -> Path:
    """Return a new temporary folder, and remove those of workers that were killed."""
    from mergekit_calib.storage.locks import share_lock, try_lock

    global _scratch_lock
    with _once:
        top = Path(tempfile.gettempdir())
        for folder in top.glob(f"{_SCRATCH}*"):
            with suppress(OSError), (folder / "lock").open("r+") as handle:
                if try_lock(handle):
                    shutil.rmtree(folder, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        _scratch_lock = (new / "lock").open("w")
        share_lock(_scratch_lock)
        return new / "run"
