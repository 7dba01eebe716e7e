"""A validated sweep with everything that was resolved; it makes the points, their models and the search."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import yaml
from mergekit.options import MergeOptions

from mergekit_calib import pareto, plugins
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.sweep_analysis import SEED_OF_RESAMPLES
from mergekit_calib.engines import transformers_engine
from mergekit_calib.engines.engine_checks import content_of_engine
from mergekit_calib.items.store import Tables, content_key
from mergekit_calib.items.table import Split
from mergekit_calib.merging.device_map import DeviceMap
from mergekit_calib.merging.difference import difference_norms, importance
from mergekit_calib.merging.memory import Footprint
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import ParentModel, apply_adapters, fingerprint
from mergekit_calib.merging.plan_checks import check_plans
from mergekit_calib.merging.tokenizer import tokenizer_files
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.prefix_lm.model_args import without_placement
from mergekit_calib.recipe import Layers, Point, Sweep, Value, dump_recipe
from mergekit_calib.report.text.safe_text import storable
from mergekit_calib.results.frontier import Frontier, Objective
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.search import Strategy, Study
from mergekit_calib.search.driver import Search
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.racing import Race
from mergekit_calib.storage.locks import exclusive
from mergekit_calib.sweep.earlier_keys import adopt_earlier_scores
from mergekit_calib.sweep.folder import RunFolder, Session
from mergekit_calib.sweep.local_scorer import local_scorer
from mergekit_calib.sweep.point_scorer import PointScorer
from mergekit_calib.versions import versions

_RESAMPLES_OF_PREDICTIONS = 100  # enough for a standard error; a search predicts dozens of points before each it scores
_MERGE_OPTIONS = ("allow_crimes", "unsafe_truncate_embeddings", "lora_merge_dtype", "random_seed")


@dataclass(frozen=True)
class Prepared:
    """A validated sweep, ready to run.

    Attributes:
        sweep: the recipe and the `calibration:` block, with axes expanded and the tokenizer's keys resolved.
        folder: the output folder.
        options: mergekit's options.
        models: name in the recipe → the model, as its files describe it; no weights are loaded.
        layers: the parents' layers, for axes over blocks.
        tokenizer: the tokenizer of the merged models.
        suite: the tasks, loaded.
        objectives: the objectives with their directions.
        strategy: the search strategy.
        device: the device that models are scored on.
        memory: an estimate of the memory that the sweep takes.
        notes: sentences on what the reader should know about the run.
        device_map: spreads a model over several devices, of which `device` is the first; None to use that one alone.
        elsewhere: makes what scores points on other machines; None to score them in this process.
    """

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
    memory: Footprint
    notes: list[str]
    device_map: DeviceMap | None = None
    elsewhere: Callable[[Prepared], PointScorer] | None = None

    @property
    def rule(self) -> str:
        """The name of the selection rule."""
        return str(self.sweep.calibration.select.get("rule", pareto.DEFAULT_RULE))

    @property
    def rule_options(self) -> dict[str, Any]:
        """The options of the selection rule."""
        return {k: v for k, v in self.sweep.calibration.select.items() if k != "rule"}

    @property
    def dtype(self) -> str | None:
        """The dtype that models are scored in; None for the merged weights' own."""
        return self.sweep.calibration.model_args.get("dtype")

    @property
    def model_args(self) -> dict[str, Any]:
        """lm-eval's `model_args`."""
        return self.sweep.calibration.model_args

    def merge_adapters(self) -> None:
        """Merge LoRA adapters into their models, on disk, and check the points' recipes against the results.

        Raises:
            CalibError: as `check_plans`.
        """
        if any(model.reference.lora for model in self.models.values()):
            apply_adapters(self.models.values(), self.options)
            check_plans(self.sweep, self.models, self.options)

    def adopt_earlier_scores(self) -> None:
        """Let item scores that an earlier version has filed under other content keys be found."""
        adopt_earlier_scores(self.folder.items, transformers_engine.identity())

    def record(self, points: Iterable[Point]) -> None:
        """Write `calibration/sweep.yml`: the sweep with everything that was resolved, and the keys of `points`."""
        self.folder.record(self.resolved(points))

    def resolved(self, points: Iterable[Point] = ()) -> dict[str, Any]:
        """Return the contents of `calibration/sweep.yml`."""
        return _resolved(self, points)

    @cached_property
    def parents(self) -> list[Point]:
        """The parents, as points."""
        return self.sweep.parents()

    def point_models(self) -> PointModels:
        """Return an object that turns points into models, one at a time."""
        keep_parents = not self.memory.streams
        add_bos_token = self.model_args.get("add_bos_token")
        scratch = self.folder.scratch
        return PointModels(
            self.options,
            self.tokenizer,
            scratch,
            self.device,
            self.dtype,
            keep_parents,
            add_bos_token,
            device_map=self.device_map,
            in_turn=self.folder.in_turn,
        )

    def scorer(self) -> PointScorer:
        """Return an object that makes and scores the models of points."""
        if self.elsewhere is not None:
            return self.elsewhere(self)
        return local_scorer(self)

    @property
    def choose_on(self) -> Split:
        """The items that the point is chosen on: all, unless only the selection split is meant for it.

        That is so if suite entries name their splits, and if the selection split decided which points are scored: then
        a choice on the held-out split, which cross-fitting needs, is no mirror image of one on the selection split.
        """
        block = self.sweep.calibration
        named = any(entry.split for entry in block.suite)
        return "selection" if named or block.search.racing or not self.strategy.treats_splits_alike else "all"

    def point(self, setting: Mapping[str, Value]) -> Point:
        """Return the point at `setting`."""
        return self.sweep.point(setting)

    def is_parent(self, setting: Mapping[str, Value]) -> bool:
        """Return whether the point at `setting` is a parent; parents are scored in any case."""
        return self.sweep.is_parent(setting)

    @property
    def n_points(self) -> int | None:
        """How many points are scored at most, parents included; None if that depends on the search."""
        budget = self.sweep.calibration.search.points
        if self.sweep.calibration.strategy != "grid":
            return None if budget is None else budget + len(self.parents)
        size = self.sweep.n_in_grid
        return len(self.parents) + (size if budget is None else min(size, budget))

    @cached_property
    def study_name(self) -> str:
        """The name of the study: a hash of everything that its points have in common."""
        block = self.sweep.calibration
        return content_key(
            axes={name: axis.model_dump() for name, axis in self.sweep.axes.items()},
            recipes={name: variant.recipe for name, variant in self.sweep.variants.items()},
            # Without a `to` that is not given, so that studies begun before it existed are still found.
            objectives=[o.model_dump(exclude={"to"} if o.to is None else None) for o in self.objectives],
            n_bins=block.n_bins,
            seed=block.seed,
            racing=block.search.racing and block.search.racing.model_dump(),
            **self._common_content,
        )

    def search(self, session: Session) -> Search:
        """Return the search, shared with the other workers of the session."""
        block, settings = self.sweep.calibration, self.sweep.calibration.search
        evaluator = Evaluator(self.objectives, list(plugins.metrics().values()), block.n_bins, block.seed)
        documents = self.suite.documents
        choosing = self.analysis(evaluator.references, _RESAMPLES_OF_PREDICTIONS)
        item_scores = choosing.item_score_chooser(self.rule, self.rule_options)
        with exclusive(session.lock):
            # A database may hold the same sweep of another folder, whose item scores are not in this folder.
            study = Study(
                settings.storage or self.folder.study_log,
                f"{self.study_name}-{self.folder.identity}" if settings.storage else self.study_name,
                self.sweep.axes,
                [objective.direction for objective in self.objectives],
                seed=settings.seed,
                session=session.id,
                importance=self._importance,
                evaluator=evaluator,
                choose=item_scores.choose,
                parents=[p.axes for p in self.parents if self._is_on_axes(p)],
            )
        return Search(
            self,
            settings,
            self.strategy,
            study,
            self.folder.items,
            session.claims,
            evaluator,
            session.lock,
            n_documents={task: len(hashes) for task, hashes in documents.items()},
            divisible=self.suite.divisible,
            race=Race(settings.racing, evaluator, documents) if settings.racing else None,
        )

    def analysis(self, references: Mapping[str, Tables], n_resamples: int | None = None) -> SweepAnalysis:
        """Return the sweep's statistics, before a point is added.

        Args:
            references: role → scores, of the parents that objectives compare with; they are there before any point is.
            n_resamples: the number of resamples; the recipe's if None.
        """
        block = self.sweep.calibration
        return SweepAnalysis(
            objectives=self.objectives,
            of_choices=list(plugins.metrics().values()),
            level=block.level,
            n_resamples=n_resamples or block.n_resamples,
            n_bins=block.n_bins,
            seed=SEED_OF_RESAMPLES,
            references=references,
            choose_on=self.choose_on,
        )

    def _is_on_axes(self, parent: Point) -> bool:
        axes = self.sweep.axes
        return parent.axes.keys() == axes.keys() and all(axis.holds(parent.axes[name]) for name, axis in axes.items())

    def _importance(self) -> dict[str, float]:
        """Return axis → how much the parents differ in its part of the model; without axes that have no part."""
        first, *others = (self.models[model] for model in self.sweep.parent_models.values())
        if not self.sweep.families:
            return {}
        norms = Counter[str]()  # summed over the other parents
        for other in others:
            norms.update(difference_norms(first, other))
        importances: dict[str, float] = {}
        for expansion in self.sweep.families.values():
            importances |= importance(expansion, self.layers, norms)
        return importances

    @cached_property
    def _common_content(self) -> dict[str, Any]:
        """Everything that the scores of every point depend on: the engine that scores, but not on which devices."""
        folder = self.tokenizer.folder
        # If the recipe asks for a tokenizer, mergekit makes it from one model's, or from all of them.
        folders = [folder] if folder else [model.tokenizer_folder for model in self.models.values()]
        return {
            "models": {name: model.fingerprint for name, model in self.models.items()},
            "merge_options": {name: getattr(self.options, name) for name in _MERGE_OPTIONS},
            "tokenizer": fingerprint(tokenizer_files(folders)),
            "suite": self.suite.describe(),
            "model_args": without_placement(self.model_args),
            "engine": {**transformers_engine.identity(), **content_of_engine(self.sweep.calibration)},
        }

    def key_of(self, point: Point) -> str:
        """Return the content key of a point's item scores."""
        return content_key(recipe=point.recipe, **self._common_content)

    def facts_of(self, point: Point) -> dict[str, Any]:
        """Return the facts that are stored with a point's item scores."""
        own = {"recipe": point.yaml, "role": point.role, "axes": point.axes, "session": self.folder.session}
        return {**own, **self._common_content}

    def new_frontier(self) -> Frontier:
        """Return the result before the first point is scored."""
        block = self.sweep.calibration
        return Frontier(
            name=storable(self.folder.path.resolve().name),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            finished=False,
            axes={name: axis.levels for name, axis in self.sweep.axes.items()},
            models=self.sweep.parent_models,
            method=self.sweep.method,
            seed=int(self.options.random_seed or 0),
            suite=self.suite.summaries(),
            objectives=self.objectives,
            level=block.level,
            n_resamples=block.n_resamples,
            n_bins=block.n_bins,
            points=[],
            versions=versions(),
            notes=self.notes,
        )


def text_without_storage(sweep: Sweep) -> str | None:
    """Return the YAML that a sweep was read from, without its database's URL, which may contain a password."""
    if sweep.text is None or sweep.calibration.search.storage is None:
        return sweep.text
    recipe = yaml.safe_load(sweep.text)
    del recipe["calibration"]["search"]["storage"]
    return dump_recipe(recipe)


def _resolved(prepared: Prepared, points: Iterable[Point]) -> dict[str, Any]:
    """Return the contents of `calibration/sweep.yml`."""
    sweep = prepared.sweep
    return {
        "parents": sweep.parent_models,
        "recipe": sweep.recipe,
        "calibration": sweep.calibration.model_dump(mode="json", exclude_none=True),
        "models": {
            name: {"fingerprint": model.fingerprint, "bytes": model.n_bytes} for name, model in prepared.models.items()
        },
        "merge_options": prepared.options.model_dump(mode="json", exclude_defaults=True),
        "device": prepared.memory.devices,
        "points": {point.id: prepared.key_of(point) for point in points},
        "versions": versions(),
        "directory": storable(os.getcwd()),  # paths in the recipe are relative to it
        "yaml": text_without_storage(sweep),
    }
