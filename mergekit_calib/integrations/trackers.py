"""Log a sweep to an experiment tracker, one step for each point. Off by default; each library is an extra."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import override

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult

_LOG = logging.getLogger(__name__)


class Tracker(Protocol):
    """One run in an experiment tracker."""

    def start(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        """Begin the run.

        Args:
            project: the project that the run belongs to.
            name: the run's name.
            config: the settings of the run.
        """

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of one step.

        Args:
            values: name → value.
            step: the step's number, from 1.
        """

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log the result, and end the run.

        Args:
            summary: name → value.
        """


class Trackio(Tracker):
    """Hugging Face's trackio: a local database, with a dashboard that `trackio show` opens."""

    def __init__(self) -> None:
        self._trackio = _library("trackio")

    @override
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

    @override
    def log(self, values: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(values), step=step)

    @override
    def finish(self, summary: Mapping[str, Any]) -> None:
        numbers = {f"chosen/{k}": v for k, v in summary.items() if isinstance(v, (int, float))}
        self._trackio.log(numbers)
        self._trackio.finish()


class Wandb(Tracker):
    """Weights & Biases, set up by its own environment variables (`WANDB_MODE=offline`, `WANDB_PROJECT`, …)."""

    def __init__(self) -> None:
        self._wandb = _library("wandb")
        self._run: Any = None

    @override
    def start(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        self._run = self._wandb.init(project=project, name=name, config=dict(config))

    @override
    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    @override
    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()


TRACKERS: dict[str, type[Trackio] | type[Wandb]] = {"trackio": Trackio, "wandb": Wandb}
"""Name for `--log` → tracker."""


class TrackedProgress(Progress):
    """Logs a sweep: a step with each point's axes and metrics (held-out split), and the chosen point at the end.

    The project is `mergekit-calib`, and the run has the output folder's name. If a tracker fails, the sweep
    goes on without it, with a warning.

    Args:
        name: one of `TRACKERS`.
        out_path: the sweep's output folder.

    Raises:
        CalibError: there is no such tracker, or its library is not installed.
    """

    def __init__(self, name: str, out_path: str | Path) -> None:
        if name not in TRACKERS:
            near = near_names(name, TRACKERS)
            raise CalibError(f"--log: there is no tracker {name!r}{near}; the trackers are {', '.join(TRACKERS)}")
        self._name, self._run = name, Path(out_path).resolve().name
        self._tracker: Tracker | None = TRACKERS[name]()
        self._step = 0

    @override
    def started(self, frontier: Frontier, n_points: int | None) -> None:
        config = {
            **{f"model/{role}": model for role, model in frontier.models.items()},
            "method": frontier.method,
            "suite": [entry.name for entry in frontier.suite],
            "objectives": [objective.name for objective in frontier.objectives],
            "axes": frontier.axes,
            "seed": frontier.seed,
            "n_points": n_points,
            **{f"version/{package}": version for package, version in frontier.versions.items()},
        }
        self._call("start", "mergekit-calib", self._run, config)

    @override
    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        self._step += 1
        failed = sum(p.status == "failed" for p in frontier.points)
        self._call(
            "log", {**_values(point), "sweep/points": float(self._step), "sweep/failed": float(failed)}, self._step
        )

    @override
    def finished(self, frontier: Frontier) -> None:
        chosen = frontier.selected
        summary: dict[str, Any] = {"point": chosen.id, **_values(chosen)} if chosen else {}
        if frontier.uncertainty is not None and frontier.uncertainty.hypervolume.value is not None:
            summary["hypervolume"] = frontier.uncertainty.hypervolume.value
        self._call("finish", summary)

    def _call(self, method: str, *arguments: Any) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, method)(*arguments)
        except Exception as problem:
            self._tracker = None
            _LOG.warning("%s failed and is not used again; the sweep goes on: %s", self._name, problem)


def _values(point: PointResult) -> dict[str, float]:
    """Return `axis/<name>`, `<task>/<metric>` on the held-out split and `seconds/<stage>`; no values that are names."""
    values = {f"axis/{name}": float(v) for name, v in point.axes.items() if not isinstance(v, str)}
    for scope, metrics in point.metrics.items():
        for metric, splits in metrics.items():
            estimate = splits.get("held_out")
            if estimate is not None and estimate.value is not None:
                values[f"{scope}/{metric}"] = estimate.value
    values |= {f"seconds/{stage}": seconds for stage, seconds in point.seconds.items()}
    return values


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise CalibError(
            f"--log {name} needs the package {name}, which cannot be imported ({problem}); "
            f"install it with `pip install mergekit-calib[{name}]`"
        ) from problem
