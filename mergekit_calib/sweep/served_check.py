"""Score a sweep's written model and its parents once as they will be served, on the sweep's items."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mergekit_calib.analysis.served_comparison import served_models
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.cards.from_models import check_hf_args
from mergekit_calib.engines import transformers_engine
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import ItemStore, StoredPoint, content_key
from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.parents import fingerprint
from mergekit_calib.merging.tokenizer import tokenizer_files
from mergekit_calib.prefix_lm.model_args import LOADING_ARGS, without_placement
from mergekit_calib.prefix_lm.quantised import QuantisedLM, check_quantisation, is_of_quantisation
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.result_reader import load_sweep
from mergekit_calib.results.served_findings import ServedCheck, save_check
from mergekit_calib.sweep.another_choice import prepared_again
from mergekit_calib.sweep.chosen_model import save_result
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.model_record import ModelRecord
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.versions import versions


@dataclass(frozen=True)
class _Model:
    """A model on disk, and what its content key has of it."""

    point: PointResult
    arguments: dict[str, Any]
    content: Any


def check_model_args(model_args: Mapping[str, Any]) -> None:
    """Raise an error if models cannot be loaded so.

    Args:
        model_args: arguments of lm-eval's `hf`.

    Raises:
        CalibError: a name is misspelt, names the model, or a package is missing.
    """
    for name in ("pretrained", "peft", "delta", "revision", "subfolder"):
        if name in model_args:
            raise CalibError(f"model_args: {name} says which model is loaded, but the sweep's models are checked")
    check_quantisation(model_args)
    check_hf_args({name: value for name, value in model_args.items() if not is_of_quantisation(name)})


def check_served(stored: StoredSweep, target: Path, model_args: Mapping[str, Any], progress: Progress) -> Frontier:
    """Score the written model and the parents as they will be served, unless they were, and add them to the report.

    Args:
        stored: the finished sweep.
        target: the folder with the written model: the sweep's own, or one that `choose_again` wrote.
        model_args: arguments of lm-eval's `hf`. Those of the sweep that say how requests are scored hold too, not
            those that say how weights are loaded (`dtype`).
        progress: receives what is done.

    Returns:
        The result of `target`, with the check.

    Raises:
        CalibError: the model is not whole, a sweep is running, or a model cannot be loaded so.
    """
    check_model_args(model_args)
    folder, frontier = RunFolder(target), load_sweep(target)
    selected = frontier.selected
    if selected is None or not frontier.finished:
        raise CalibError(f"{target} holds no written model; run the sweep to its end")
    _check_whole(folder, selected)
    prepared = prepared_again(stored, writes_model=False)
    with prepared.folder.joined(prepared.study_name) as session:
        if not session.is_first:
            raise CalibError(f"a sweep is running in {stored.folder}; wait until it has ended")
        with prepared.folder.alone():
            models = _models(prepared, frontier, selected, target, model_args)
            served = {model.point.id: _scored(model, prepared, progress).tables for model in models}
            points = [model.point for model in models]
            scored = {point.id: _stored_tables(stored, prepared, point) for point in points}
            progress.concluding()
            roles = {o.to for o in frontier.objectives if o.to is not None}
            references = {p.role: stored.tables(p.id) for p in frontier.parents if p.role in roles and p.role}
            check = ServedCheck(
                model_args=dict(model_args),
                point=selected.id,
                digest=str(selected.digest),
                models=served_models(prepared.analysis(references), points, served, scored),
                versions=versions(),
            )
            save_check(check, folder.calibration)
            save_result(frontier, folder, prepared.options.write_model_card)
    return frontier


def _check_whole(folder: RunFolder, selected: PointResult) -> None:
    if (folder.path / "adapter_config.json").exists():
        raise CalibError(f"{folder.path} holds an adapter; the check loads merged models: write one with --to")
    record = ModelRecord.load(folder.calibration / "model.json")
    if record is None or record.digest != selected.digest:
        raise CalibError(f"the model in {folder.path} is not {selected.name}; run `mergekit-calib write` again")
    if problems := record.problems(folder.path):
        name, problem = next(iter(problems.items()))
        raise CalibError(f"the model in {folder.path} is not whole: {name} {problem}; write it again")


def _models(
    prepared: Prepared, frontier: Frontier, selected: PointResult, target: Path, model_args: Mapping[str, Any]
) -> list[_Model]:
    """Return the parents, then the written model unless it is one, with all arguments of `hf-prefix`."""
    sweeps = {name: value for name, value in prepared.model_args.items() if name not in LOADING_ARGS}
    common = {"device": "cuda" if torch.cuda.is_available() else "cpu", **sweeps, **model_args}
    common.setdefault("batch_size", prepared.sweep.calibration.batch_size)
    if prepared.options.trust_remote_code:
        common["trust_remote_code"] = True
    if not prepared.tokenizer.changes_weights:
        # The parents answer the same prompts, as they did in the sweep.
        common.setdefault("tokenizer", str(target))
    models = []
    for point in frontier.parents:
        if point.status != "complete":
            continue
        model = prepared.models[prepared.sweep.parent_models[str(point.role)]]
        own: dict[str, Any] = {"pretrained": model.reference.model.path}
        if model.reference.model.revision:
            own["revision"] = model.reference.model.revision
        if model.reference.lora:
            own["peft"] = model.reference.lora.path
        models.append(_Model(point, {**common, **own}, model.fingerprint))
    if selected.role is None:
        content = {"weights": selected.digest, "config": fingerprint([target / "config.json"])}
        models.append(_Model(selected, {**common, "pretrained": str(target)}, content))
    return models


def _scored(model: _Model, prepared: Prepared, progress: Progress) -> StoredPoint:
    """Return the model's item scores as served, from the store if it was scored before."""
    given = {k: v for k, v in model.arguments.items() if k not in ("pretrained", "revision", "peft", "tokenizer")}
    tokenizer = Path(model.arguments.get("tokenizer") or model.arguments["pretrained"])
    content = {
        "model": model.content,
        "model_args": without_placement(given),
        "tokenizer": fingerprint(tokenizer_files([tokenizer])),
        "suite": prepared.suite.describe(),
        "engine": transformers_engine.identity(),
    }
    store, key = ItemStore(prepared.folder.calibration / "served"), content_key(**content)
    store.entries = prepared.suite.entry_of
    found = store.load(key)
    if found is None:
        progress.folder_noted(f"{model.point.name}: scoring it as it will be served")
        found = _score(model, prepared, progress)
        store.save(key, found, content)
    return found


def _score(model: _Model, prepared: Prepared, progress: Progress) -> StoredPoint:
    began, suite = time.perf_counter(), prepared.suite
    try:
        with silence_lm_eval(keep_progress_bars=True), silence_transformers():
            lm = QuantisedLM(**model.arguments)
    except CalibError:
        raise
    except Exception as problem:  # transformers and what quantises raise many kinds
        reason = " ".join(str(problem).split())[:300]
        raise CalibError(
            f"{model.point.name} cannot be loaded as it will be served: {type(problem).__name__}: {reason}"
        ) from problem
    tables = suite.score(lm, progress.scoring)
    del lm
    gc.collect()  # before the next model is loaded
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return StoredPoint(model.point.id, tables, str(model.point.digest), {"score": time.perf_counter() - began})


def _stored_tables(stored: StoredSweep, prepared: Prepared, point: PointResult) -> Any:
    """Return a point's item scores in the sweep; those of a point that was asked for later lie there too."""
    if point.id in stored.keys:
        return stored.tables(point.id)
    asked = replace(stored, record={**stored.record, "points": {point.id: prepared.key_of(prepared.point(point.axes))}})
    return asked.tables(point.id)
