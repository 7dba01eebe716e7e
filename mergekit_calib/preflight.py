"""Everything that is found out before a sweep costs anything: what will be merged, scored, compared and written.

Each check raises a `CalibError` that names the file and key, and nothing is loaded but configurations, file headers
and the documents of the suite's tasks.
"""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from mergekit_calib import plugins
from mergekit_calib.checks import check_rule, objectives_of, strategy_of
from mergekit_calib.frontier import Frontier, Objective
from mergekit_calib.merging.difference import difference_norms, importance, layers_of
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
from mergekit_calib.recipe import Layers, Point, Sweep, Value
from mergekit_calib.recipe.axes import grid_size
from mergekit_calib.run_folder import RunFolder, Session
from mergekit_calib.scoring.model import check_model_args
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search import Strategy, Study
from mergekit_calib.search.claims import exclusive
from mergekit_calib.search.measure import Ruler
from mergekit_calib.search.racing import Race
from mergekit_calib.search.search import Search
from mergekit_calib.search.store import content_key

_PACKAGES = ("mergekit-calib", "mergekit", "lm-eval", "transformers", "torch", "datasets")
_MOST_CHECKED = 10_000  # points whose recipes are all checked beforehand; of more, the corners
_MERGE_OPTIONS = ("allow_crimes", "unsafe_truncate_embeddings", "lora_merge_dtype", "random_seed")


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run; nothing in it can still turn out to be misspelt."""

    sweep: Sweep
    folder: RunFolder
    options: MergeOptions
    models: dict[str, ParentModel]
    layers: Layers
    tokenizer: TokenizerChoice
    suite: Suite
    objectives: list[Objective]
    strategy: Strategy
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
        """That mergekit finds in the models what the points' recipes ask for.

        Raises:
            CalibError: naming what is missing.
        """
        seen = set()
        for point in self.sweep.corners():
            if (method := point.recipe["merge_method"]) not in seen:
                seen.add(method)
                Plan(configuration(point.recipe, self.sweep.source), self.options).check_sources()

    def settle(self) -> None:
        """What a run needs on disk before its first point: LoRAs merged into their models, and `sweep.yml`."""
        if any(model.reference.lora for model in self.models.values()):
            apply_adapters(self.models.values(), self.options)
            self.check_plan()
        self.record(self.parents)

    def record(self, points: Iterable[Point]) -> None:
        """Write `sweep.yml`, with the points that there are."""
        self.folder.record(_as_run(self, points))

    @cached_property
    def parents(self) -> list[Point]:
        """The parents, as points."""
        return list(self.sweep.parents())

    def point(self, setting: Mapping[str, Value]) -> Point:
        """The point at `setting`."""
        return self.sweep.point(setting)

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Whether the point at `setting` is a parent, which is scored anyway."""
        return self.sweep.is_parent(setting)

    @property
    def n_points(self) -> int | None:
        """How many points there will be at most, parents included; None where only the search will tell."""
        budget = self.sweep.calibration.search.points
        if self.sweep.calibration.search.strategy != "grid":
            return None if budget is None else budget + len(self.parents)
        size = sum(1 for _ in self.sweep.grid())
        return len(self.parents) + (size if budget is None else min(size, budget))

    @cached_property
    def study_name(self) -> str:
        """Of what all points of the study have in common."""
        block = self.sweep.calibration
        return content_key(
            axes={name: axis.model_dump() for name, axis in self.sweep.axes.items()},
            recipes={name: variant.recipe for name, variant in self.sweep.variants.items()},
            objectives=[objective.model_dump() for objective in self.objectives],
            n_bins=block.n_bins,
            seed=block.seed,
            racing=block.search.racing and block.search.racing.model_dump(),
            **self._common_content,
        )

    def search(self, session: Session) -> Search:
        """The search, joined with the other workers of the session."""
        block, settings = self.sweep.calibration, self.sweep.calibration.search
        known, up = plugins.metrics(), self.suite.higher_is_better
        ruler = Ruler(self.objectives, known, up, block.n_bins, block.seed)
        documents = self.suite.documents
        with exclusive(session.lock):
            study = Study(
                self.folder.study_log,
                self.study_name,
                self.sweep.axes,
                [objective.direction for objective in self.objectives],
                seed=settings.seed,
                session=session.id,
                importance=self._importance,
            )
        return Search(
            self,
            settings,
            self.strategy,
            study,
            self.folder.items,
            session.claims,
            ruler,
            session.lock,
            n_items=sum(map(len, documents.values())),
            race=Race(settings.racing, ruler, documents, settings.points) if settings.racing else None,
        )

    def _importance(self) -> dict[str, float]:
        """Axis → how far the parents differ in what it governs, for the axes that stand for a part of the model."""
        if not self.sweep.families:
            return {}
        norms = difference_norms(self.models[self.sweep.base], self.models[self.sweep.aligned])
        found: dict[str, float] = {}
        for expansion in self.sweep.families.values():
            found |= importance(expansion, self.layers, norms)
        return found

    @cached_property
    def _common_content(self) -> dict[str, Any]:
        """What every point's scores depend on."""
        folder = self.tokenizer.folder
        files = [folder / name for name in FILES if (folder / name).exists()] if folder else []
        return {
            "models": {name: model.fingerprint for name, model in self.models.items()},
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
            axes={name: axis.described for name, axis in self.sweep.axes.items()},
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
        )


def prepare(sweep: Sweep, out_path: Path, options: MergeOptions) -> Prepared:
    """Check a sweep from end to end.

    Raises:
        CalibError: the first thing found wrong.
    """
    block, source = sweep.calibration, sweep.source
    folder = RunFolder(out_path)
    folder.check({"base": sweep.base, "aligned": sweep.aligned})
    if not any(axis.kind for axis in sweep.axes.values()):
        _check_points(sweep)  # before a model is fetched
    check_rule(sweep)

    updates: dict[str, Any] = {"quiet": True}
    if options.random_seed is None:
        updates["random_seed"] = block.seed
    if options.lora_merge_cache is None:
        updates["lora_merge_cache"] = str(folder.scratch / "adapters")
    options = options.model_copy(update=updates)

    models = open_parents(sweep.models, options)
    own_vocabulary = bool(sweep.recipe.get("tokenizer") or sweep.recipe.get("tokenizer_source"))
    check_compatible(models.values(), options, own_vocabulary)
    check_disk(out_path, 2 * max(model.n_bytes for model in models.values()))
    layers = layers_of(models[sweep.base])
    sweep = sweep.expanded(layers, plugins.axis_kinds())
    _check_points(sweep)
    strategy = strategy_of(sweep)

    check_model_args(block.model_args)
    compute_dtype(block.model_args.get("dtype"))
    suite = Suite.load(block.suite, seeds=block.seeds, source=source)
    objectives = objectives_of(sweep, suite)

    tokenizer = choose_tokenizer(sweep, models[sweep.base], models[sweep.aligned], options)
    if tokenizer.folder is not None:
        suite.check_chat_template(load_tokenizer(tokenizer.folder, options))
    sweep = sweep.with_recipe(**tokenizer.recipe_keys)
    device = _scoring_device(block.model_args, options)
    prepared = Prepared(sweep, folder, options, models, layers, tokenizer, suite, objectives, strategy, device)
    if not any(model.reference.lora for model in models.values()):
        prepared.check_plan()
    return prepared


def _check_points(sweep: Sweep) -> None:
    """That mergekit accepts the recipes: of every point of a grid, or of the corners of what is searched."""
    everything = sweep.grid() if grid_size(sweep.axes) <= _MOST_CHECKED else sweep.corners()
    for point in (*sweep.parents(), *everything):
        configuration(point.recipe, sweep.source)


def versions() -> dict[str, str]:
    """Package → installed version, of those that the numbers depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _scoring_device(model_args: dict[str, Any], options: MergeOptions) -> torch.device:
    """`model_args.device`, else mergekit's device where that is an accelerator, else the GPU there is, else the CPU."""
    if "device" in model_args:
        return torch.device(model_args["device"])
    if options.device and options.device != "cpu":
        return torch.device(options.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _as_run(prepared: Prepared, points: Iterable[Point]) -> dict[str, Any]:
    """`calibration/sweep.yml`: the sweep with everything that was resolved."""
    sweep = prepared.sweep
    return {
        "parents": {"base": sweep.base, "aligned": sweep.aligned},
        "recipe": sweep.recipe,
        "calibration": sweep.calibration.model_dump(mode="json", exclude_none=True),
        "models": {
            name: {"fingerprint": model.fingerprint, "bytes": model.n_bytes} for name, model in prepared.models.items()
        },
        "merge_options": prepared.options.model_dump(mode="json", exclude_defaults=True),
        "device": str(prepared.device),
        "points": {point.id: prepared.key_of(point) for point in points},
        "versions": versions(),
    }
