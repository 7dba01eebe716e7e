"""Everything that is found out before a sweep costs anything: what will be merged, scored, compared and written.

Each check raises a `CalibError` that names the file and key, and nothing is loaded but configurations, file headers
and the documents of the suite's tasks.
"""

from __future__ import annotations

import datetime
import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from mergekit_calib import pareto, plugins
from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.frontier import SUITE, Frontier, Objective
from mergekit_calib.merging.models import compute_dtype
from mergekit_calib.merging.parents import (
    ParentModel,
    apply_adapters,
    check_compatible,
    check_disk,
    fingerprint,
    open_parents,
)
from mergekit_calib.merging.plan import Plan, configuration
from mergekit_calib.merging.tokenizer import FILES, TokenizerChoice, choose_tokenizer, load_tokenizer
from mergekit_calib.recipe import Point, Sweep
from mergekit_calib.run_folder import RunFolder
from mergekit_calib.scoring.model import check_model_args
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search.store import content_key

_PACKAGES = ("mergekit-calib", "mergekit", "lm-eval", "transformers", "torch", "datasets")
_MERGE_OPTIONS = ("allow_crimes", "unsafe_truncate_embeddings", "lora_merge_dtype", "random_seed")


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run; nothing in it can still turn out to be misspelt."""

    sweep: Sweep
    folder: RunFolder
    options: MergeOptions
    parents: dict[str, ParentModel]
    tokenizer: TokenizerChoice
    suite: Suite
    objectives: list[Objective]
    points: list[Point]
    device: torch.device

    @property
    def rule(self) -> str:
        return str(self.sweep.calibration.select.get("rule", "knee"))

    @property
    def rule_options(self) -> dict[str, Any]:
        return {k: v for k, v in self.sweep.calibration.select.items() if k != "rule"}

    @property
    def dtype(self) -> str | None:
        """What the models compute in; None for the merged weights' own."""
        return self.sweep.calibration.model_args.get("dtype")

    @property
    def model_args(self) -> dict[str, Any]:
        """lm-eval's `model_args`."""
        return self.sweep.calibration.model_args

    def check_plan(self) -> None:
        """That mergekit finds in the models what the last point's recipe asks for.

        Raises:
            CalibError: naming what is missing.
        """
        Plan(configuration(self.points[-1].recipe, self.sweep.source), self.options).check_sources()

    def settle(self) -> None:
        """What a run needs on disk before its first point: LoRAs merged into their models, and `sweep.yml`."""
        if any(parent.reference.lora for parent in self.parents.values()):
            apply_adapters(self.parents.values(), self.options)
            self.check_plan()
        self.folder.record(_as_run(self))

    @cached_property
    def _common_content(self) -> dict[str, Any]:
        """What every point's scores depend on."""
        folder = self.tokenizer.folder
        files = [folder / name for name in FILES if (folder / name).exists()] if folder else []
        return {
            "models": {name: parent.fingerprint for name, parent in self.parents.items()},
            "merge_options": {name: getattr(self.options, name) for name in _MERGE_OPTIONS},
            "tokenizer": fingerprint(files),
            "suite": self.suite.describe(),
            "model_args": self.sweep.calibration.model_args,
        }

    def key_of(self, point: Point) -> str:
        """The content key of a point's item scores."""
        return content_key(recipe=point.recipe, **self._common_content)

    def facts_of(self, point: Point) -> dict[str, Any]:
        """What is written beside a point's item scores, to know them by."""
        return {"recipe": point.yaml, "role": point.role, "axes": point.axes, **self._common_content}

    def frontier(self) -> Frontier:
        """The result as it stands before the first point."""
        block = self.sweep.calibration
        return Frontier(
            name=self.folder.path.resolve().name,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            finished=False,
            axes=block.axes,
            models={"base": self.sweep.base, "aligned": self.sweep.aligned},
            method=self.sweep.method,
            seed=int(self.options.random_seed or 0),
            suite=self.suite.summaries(),
            objectives=self.objectives,
            level=block.level,
            n_resamples=block.n_resamples,
            n_bins=block.n_bins,
            points=[],
            versions=versions(),
            notes=_resolution_notes(sum(not p.role for p in self.points), block.n_resamples, block.level),
        )


def prepare(sweep: Sweep, out_path: Path, options: MergeOptions) -> Prepared:
    """Check a sweep from end to end.

    Raises:
        CalibError: the first thing found wrong.
    """
    block, source = sweep.calibration, sweep.source
    folder = RunFolder(out_path)
    folder.check({"base": sweep.base, "aligned": sweep.aligned})
    for point in (*sweep.parents(), *sweep.grid()):
        configuration(point.recipe, source)
    _check_rule(sweep)

    updates: dict[str, Any] = {"quiet": True}
    if options.random_seed is None:
        updates["random_seed"] = block.seed
    if options.lora_merge_cache is None:
        updates["lora_merge_cache"] = str(folder.scratch / "adapters")
    options = options.model_copy(update=updates)

    parents = open_parents(sweep.models, options)
    own_vocabulary = bool(sweep.recipe.get("tokenizer") or sweep.recipe.get("tokenizer_source"))
    check_compatible(parents.values(), options, own_vocabulary)
    check_disk(out_path, 2 * max(p.n_bytes for p in parents.values()))

    check_model_args(block.model_args)
    compute_dtype(block.model_args.get("dtype"))
    suite = Suite.load(block.suite, seeds=block.seeds, source=source)
    objectives = _objectives(sweep, suite)

    tokenizer = choose_tokenizer(sweep, parents[sweep.base], parents[sweep.aligned], options)
    if tokenizer.folder is not None:
        suite.check_chat_template(load_tokenizer(tokenizer.folder, options))
    sweep = sweep.with_recipe(**tokenizer.recipe_keys)
    points = [*sweep.parents(), *sweep.grid()]
    device = _scoring_device(block.model_args, options)
    prepared = Prepared(sweep, folder, options, parents, tokenizer, suite, objectives, points, device)
    if not any(parent.reference.lora for parent in parents.values()):
        prepared.check_plan()
    return prepared


def versions() -> dict[str, str]:
    """Package → installed version, of those that the numbers depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _check_rule(sweep: Sweep) -> None:
    select = sweep.calibration.select
    rules = plugins.selection_rules()
    rule = select.get("rule", "knee")
    if rule not in rules:
        known = ", ".join(sorted(rules))
        raise RecipeError(
            "calibration.select.rule",
            f"no rule {rule!r}{near_names(str(rule), rules)}; there are {known}",
            sweep.source,
        )
    names = [objective.name for objective in sweep.calibration.objectives]
    options = {k: v for k, v in select.items() if k != "rule"}
    if problems := pareto.validate_options(rule, options, names, rules):
        raise RecipeError("calibration.select", problems[0], sweep.source)


def _objectives(sweep: Sweep, suite: Suite) -> list[Objective]:
    """The objectives with their directions.

    Raises:
        RecipeError: one that no task yields, with near names.
    """
    known = {m.name: m.direction for m in plugins.metrics()}
    available: dict[str, dict[str, str]] = {}
    for entry in sweep.calibration.suite:
        own = {name: "maximize" if up else "minimize" for name, up in suite.higher_is_better[entry.name].items()}
        available[entry.name] = {**known, **own} if suite.has_choices[entry.name] else own
    # The suite's own scope pools the entries with choices, or all if none has any; a metric is there if all yield it.
    pooled = [names for name, names in available.items() if suite.has_choices[name]] or list(available.values())
    available[SUITE] = {name: way for name, way in pooled[0].items() if all(name in names for names in pooled)}
    found = []
    for i, spec in enumerate(sweep.calibration.objectives):
        key = f"calibration.objectives[{i}]"
        scope = spec.task or SUITE
        if scope not in available:
            tasks = [entry.name for entry in sweep.calibration.suite]
            raise RecipeError(
                key,
                f"{spec.task!r} is not in the suite{near_names(scope, tasks)}; it has {', '.join(tasks)}",
                sweep.source,
            )
        if spec.metric not in available[scope]:
            where = f"task {spec.task}" if spec.task else "no task of the suite"
            verb = "does not yield" if spec.task else "yields"
            names = ", ".join(sorted(available[scope]))
            near = near_names(spec.metric, available[scope])
            raise RecipeError(key, f"{where} {verb} a metric {spec.metric!r}{near}; there are {names}", sweep.source)
        weights = spec.weights or {}
        averaged = [e.name for e in sweep.calibration.suite if suite.has_choices[e.name]]
        averaged = averaged or [e.name for e in sweep.calibration.suite]
        if weights and set(weights) != set(averaged):
            raise RecipeError(
                f"{key}.weights",
                f"found {', '.join(weights)}; a weight for each of {', '.join(averaged)} is needed",
                sweep.source,
            )
        objective = {"metric": spec.metric, "task": spec.task, "direction": available[scope][spec.metric]}
        found.append(Objective.model_validate({**objective, "average": spec.average or "pooled", "weights": weights}))
    return found


def _resolution_notes(n_tested: int, n_resamples: int, level: float) -> list[str]:
    """A note where the test of superiority could show nothing, however large a gain."""
    needed = pareto.resamples_needed(n_tested, level)
    if n_resamples >= needed:
        return []
    return [
        f"With {n_resamples:,} resamples, none of {n_tested:,} points can be shown to be Pareto-superior at the "
        f"{100 * (1 - level):g} % level, however large its gain: set n_resamples to {needed:,} or more."
    ]


def _scoring_device(model_args: dict[str, Any], options: MergeOptions) -> torch.device:
    """`model_args.device`, else mergekit's device where that is an accelerator, else the GPU there is, else the CPU."""
    if "device" in model_args:
        return torch.device(model_args["device"])
    if options.device and options.device != "cpu":
        return torch.device(options.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _as_run(prepared: Prepared) -> dict[str, Any]:
    """`calibration/sweep.yml`: the sweep with everything that was resolved."""
    sweep = prepared.sweep
    return {
        "parents": {"base": sweep.base, "aligned": sweep.aligned},
        "recipe": sweep.recipe,
        "calibration": sweep.calibration.model_dump(mode="json", exclude_none=True),
        "models": {
            name: {"fingerprint": parent.fingerprint, "bytes": parent.n_bytes}
            for name, parent in prepared.parents.items()
        },
        "merge_options": prepared.options.model_dump(mode="json", exclude_defaults=True),
        "device": str(prepared.device),
        "points": {point.id: prepared.key_of(point) for point in prepared.points},
        "versions": versions(),
    }
