"""A sweep in an experiment tracker, one step a point. Off unless asked for; each library is an extra."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult

_LOG = logging.getLogger(__name__)


class Tracker(Protocol):
    """What is asked of a library."""

    def start(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        """Open a run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One step of it."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """What came out; close the run."""


class Trackio:
    """Hugging Face's trackio: a local database, and a dashboard by `trackio show`."""

    def __init__(self) -> None:
        self._trackio = _library("trackio")

    def start(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        self._trackio.init(
            project=project,
            name=name,
            config=dict(config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        numbers = {f"chosen/{k}": v for k, v in summary.items() if isinstance(v, (int, float))}
        self._trackio.log(numbers)
        self._trackio.finish()


class Wandb:
    """Weights & Biases, as its own environment variables have it (`WANDB_MODE=offline`, `WANDB_PROJECT`, …)."""

    def __init__(self) -> None:
        self._wandb = _library("wandb")
        self._run: Any = None

    def start(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        self._run = self._wandb.init(project=project, name=name, config=dict(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()


TRACKERS: dict[str, type[Trackio] | type[Wandb]] = {"trackio": Trackio, "wandb": Wandb}


class TrackedProgress(Progress):
    """Logs a sweep to `--log NAME`: each point's axes and metrics (held-out split) as a step, the choice at the end.

    The project is `mergekit-calib`, the run has the output folder's name. A tracker that fails is left alone from then
    on, with a warning: it must not cost the sweep.

    Args:
        name: one of `TRACKERS`.
        out_path: the sweep's output folder.

    Raises:
        CalibError: there is no such tracker, or its library is not installed.
    """

    def __init__(self, name: str, out_path: str | Path) -> None:
        if name not in TRACKERS:
            raise CalibError(
                f"--log: there is no tracker {name!r}{near_names(name, TRACKERS)}; there are {', '.join(TRACKERS)}"
            )
        self._name, self._run = name, Path(out_path).resolve().name
        self._tracker: Tracker | None = TRACKERS[name]()
        self._step = 0

    def started(self, frontier: Frontier, n_points: int | None) -> None:
        config = {
            "base": frontier.models["base"],
            "aligned": frontier.models["aligned"],
            "method": frontier.method,
            "suite": [entry.name for entry in frontier.suite],
            "objectives": [objective.name for objective in frontier.objectives],
            "axes": frontier.axes,
            "seed": frontier.seed,
            "n_points": n_points,
            **{f"version/{package}": version for package, version in frontier.versions.items()},
        }
        self._ask("start", "mergekit-calib", self._run, config)

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        self._step += 1
        failed = sum(p.status == "failed" for p in frontier.points)
        self._ask(
            "log", {**_values(point), "sweep/points": float(self._step), "sweep/failed": float(failed)}, self._step
        )

    def finished(self, frontier: Frontier) -> None:
        chosen = frontier.selected
        summary: dict[str, Any] = {"point": chosen.id, **_values(chosen)} if chosen else {}
        if frontier.uncertainty is not None and frontier.uncertainty.hypervolume.value is not None:
            summary["hypervolume"] = frontier.uncertainty.hypervolume.value
        self._ask("finish", summary)

    def _ask(self, what: str, *arguments: Any) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, what)(*arguments)
        except Exception as problem:
            self._tracker = None
            _LOG.warning("%s is left alone from here on, the sweep goes on: %s", self._name, problem)


def _values(point: PointResult) -> dict[str, float]:
    """`axis/lambda`, and `<task>/<metric>` on the held-out split; what is no number is left out."""
    found = {f"axis/{name}": float(v) for name, v in point.axes.items() if not isinstance(v, str)}
    for scope, metrics in point.metrics.items():
        for metric, splits in metrics.items():
            estimate = splits.get("held_out")
            if estimate is not None and estimate.value is not None:
                found[f"{scope}/{metric}"] = estimate.value
    found |= {f"seconds/{stage}": seconds for stage, seconds in point.seconds.items()}
    return found


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise CalibError(
            f"--log {name} needs the package {name}, which cannot be imported ({problem}); "
            f"`pip install mergekit-calib[{name}]` brings it"
        ) from problem
