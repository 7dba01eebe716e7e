"""From models to their cards: loaded one after another as lm-eval loads them, scored on one suite."""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from mergekit.options import MergeOptions

from mergekit_calib.cards.calibration_card import ModelScores, Scores
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.errors import CalibError, RecipeError, near_names
from mergekit_calib.items.store import ItemStore, StoredPoint, content_key
from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.parents import ParentModel, fingerprint, open_parents
from mergekit_calib.merging.tokenizer import tokenizer_files
from mergekit_calib.prefix_lm.model import PrefixLM
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.suite import Suite

Told = Callable[[str, int, int], None]
"""Told the task, how many of its requests were answered, and how many there are."""


def score_model(model: str, suite: Sequence[str | SuiteEntry], **options: Any) -> Scores:
    """The card of one model; see `score_models`."""
    return score_models([model], suite, **options)


def score_models(
    models: Sequence[str],
    suite: Sequence[str | SuiteEntry],
    *,
    out: str | Path | None = None,
    model_args: Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    seeds: Seeds | None = None,
    n_bins: int = 15,
    level: float = 0.95,
    n_resamples: int = 1000,
    on_model: Callable[[str], None] = lambda name: None,
    on_answers: Told | None = None,
    on_card: Callable[[ModelScores, Scores], None] = lambda model, card: None,
) -> Scores:
    """Score models on lm-eval's tasks and take every metric, the later ones in pairs with the first.

    Args:
        models: as mergekit names them: a hub name, a folder, `model+lora`.
        suite: tasks, or entries with their own options.
        out: where item scores and `scores.json` go, a model at a time; a model that is there is not scored again.
        model_args: as lm-eval's `hf` takes them.
        level, n_resamples, n_bins: of intervals and binned errors.
        on_model, on_answers, on_card: told of a model that is begun, of its requests, and of its card.

    Raises:
        CalibError: a model or a task that there is not, before anything is loaded; or scores that are unusable.
    """
    entries = [SuiteEntry(task=entry) if isinstance(entry, str) else entry for entry in suite]
    repeated = [name for name in dict.fromkeys(models) if list(models).count(name) > 1]
    if repeated:
        raise CalibError(f"model {repeated[0]} is named twice")
    _check_model_args(model_args or {})
    opened = open_parents(models, MergeOptions(trust_remote_code=trust_remote_code))
    try:
        loaded = Suite.load(entries, seeds=seeds)
    except RecipeError as problem:
        raise CalibError(f"tasks: {problem.problem}") from problem
    given = dict(model_args or {}) | ({"trust_remote_code": True} if trust_remote_code else {})
    maker = CardMaker(loaded.higher_is_better, level, n_resamples, n_bins)
    store = ItemStore(Path(out) / "items") if out else None
    for name, model in opened.items():
        on_model(name)
        content = {
            "tokenizer": _fingerprint_of_tokenizer(model, given),
            "suite": loaded.describe(),
            "model_args": given,
        }
        key = content_key(model=model.fingerprint, **content)
        stored = store.load(key) if store else None
        if stored is None:
            stored = _scored(model, loaded, given, on_answers)
            if store:
                store.save(key, stored, {"model": name, **content})
        on_card(maker.add(name, stored.tables, stored.seconds.get("score")), maker.card)
        if out:
            maker.card.save(Path(out))
    return maker.card


def _check_model_args(model_args: Mapping[str, Any]) -> None:
    """`hf` hands on what it does not know to the model's class: what looks like a slip is stopped here."""
    known = list(inspect.signature(HFLM.__init__).parameters)
    for name in model_args:
        if name not in known and (near := near_names(name, known)):
            raise CalibError(f"model_args: {name} is not an argument of lm-eval's `hf`{near}")


def _fingerprint_of_tokenizer(model: ParentModel, model_args: Mapping[str, Any]) -> str:
    """Of the files that say how a model reads and speaks: its own, and those of a `tokenizer` that is named instead."""
    folders = [model.folder, *([Path(model_args["tokenizer"])] if model_args.get("tokenizer") else [])]
    return fingerprint(tokenizer_files(folders))


def _scored(model: ParentModel, suite: Suite, model_args: Mapping[str, Any], on_answers: Told | None) -> StoredPoint:
    began = time.perf_counter()
    reference = model.reference
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments: dict[str, Any] = {"pretrained": reference.model.path, "device": device, **model_args}
    if reference.model.revision:
        arguments["revision"] = reference.model.revision
    if reference.lora:
        arguments["peft"] = reference.lora.path
    try:
        with silence_lm_eval(progress_bars=True), silence_transformers():
            lm = PrefixLM(**arguments, prefix_trees=suite.prefix_trees)
    except TypeError as problem:
        raise CalibError(f"model_args: {problem}") from problem
    tables = suite.score(lm, on_answers)
    del lm
    gc.collect()  # before the next model is loaded
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return StoredPoint(model.name, tables, model.fingerprint, {"score": time.perf_counter() - began})
