"""Score models on one suite, loaded one after another as lm-eval loads them, and make their card."""

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

from mergekit_calib.cards.calibration_card import Scores
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.cards.earlier_score_keys import adopt_earlier_scores_of_models, scored_args
from mergekit_calib.engines import transformers_engine
from mergekit_calib.errors import CalibError, RecipeError, near_names
from mergekit_calib.items.store import ItemStore, StoredPoint, content_key
from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.parents import ParentModel, fingerprint, open_parents
from mergekit_calib.merging.tokenizer import tokenizer_files
from mergekit_calib.prefix_lm.devices import usable_device
from mergekit_calib.prefix_lm.model import PrefixLM
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.suite import Suite

OnAnswers = Callable[[str, int, int], None]
"""Called with the task, the number of its requests that are answered, and the number of all its requests."""


def score_model(model: str, suite: Sequence[str | SuiteEntry], **options: Any) -> Scores:
    """Return the card of one model; `score_models` describes the options."""
    return score_models([model], suite, **options)


def score_models(
    models: Sequence[str],
    suite: Sequence[str | SuiteEntry],
    *,
    out: str | Path | None = None,
    model_args: Mapping[str, Any] | None = None,
    device: str | None = None,
    batch_size: int | str | None = None,
    trust_remote_code: bool = False,
    seeds: Seeds | None = None,
    n_bins: int = 15,
    level: float = 0.95,
    n_resamples: int = 1000,
    on_model: Callable[[str], None] = lambda name: None,
    on_answers: OnAnswers | None = None,
) -> Scores:
    """Score models on lm-eval's tasks, and return their card, with paired differences to the first model.

    Args:
        models: the models as mergekit names them: a hub name, a folder, or `model+lora`.
        suite: tasks, or entries with options of their own.
        out: the folder for item scores and `scores.json`, which are written after each model; a model whose item scores
            are there is not scored again. None to write nothing.
        model_args: arguments of lm-eval's `hf`.
        device: the device that scores; None for a GPU if there is one, else the CPU.
        batch_size: as `hf` takes it: for generated answers, and for models that cannot share prefixes.
        trust_remote_code: whether to run code that comes with a model.
        seeds: seeds of few-shot examples and of sampled answers; None for lm-eval's defaults.
        n_bins: the number of bins of binned calibration errors.
        level: the confidence level of intervals.
        n_resamples: the number of resamples of intervals.
        on_model: called with the name of a model before it is loaded.
        on_answers: called while a model answers.

    Raises:
        CalibError: a model or a task does not exist, or an argument is misspelt, before anything is loaded; or no
            metric can be computed from a model's scores.
    """
    entries = [SuiteEntry(task=entry) if isinstance(entry, str) else entry for entry in suite]
    repeated = [name for name in dict.fromkeys(models) if list(models).count(name) > 1]
    if repeated:
        raise CalibError(f"model {repeated[0]} is named twice")
    given = _given_args(model_args or {}, {"device": device, "batch_size": batch_size})
    opened = open_parents(models, MergeOptions(trust_remote_code=trust_remote_code))
    try:
        loaded = Suite.load(entries, seeds=seeds)
    except RecipeError as problem:
        raise CalibError(f"tasks: {problem.problem}") from problem
    given |= {"trust_remote_code": True} if trust_remote_code else {}
    engine = transformers_engine.identity()
    maker = CardMaker(loaded.higher_is_better, level, n_resamples, n_bins)
    store = ItemStore(Path(out) / "items") if out else None
    if store:
        store.entries = loaded.entry_of
        adopt_earlier_scores_of_models(store, engine)
    for name, model in opened.items():
        on_model(name)
        content = {
            "tokenizer": _fingerprint_of_tokenizer(model, given),
            "suite": loaded.describe(),
            "model_args": scored_args(given),
            "engine": engine,
        }
        key = content_key(model=model.fingerprint, **content)
        stored = store.load(key) if store else None
        if stored is None:
            stored = _scored(model, loaded, given, on_answers)
            if store:
                store.save(key, stored, {"model": name, **content})
        maker.add(name, stored.tables, stored.seconds.get("score"))
        if out:
            maker.card.save(Path(out))
    return maker.card


def check_hf_args(model_args: Mapping[str, Any]) -> None:
    """Raise an error if a name looks like a misspelt argument of `hf`, which passes all others to the model."""
    accepted = list(inspect.signature(HFLM.__init__).parameters)
    for name in model_args:
        if name not in accepted and (near := near_names(name, accepted)):
            raise CalibError(f"model_args: {name} is not an argument of lm-eval's `hf`{near}")


def _given_args(model_args: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of `hf`: `model_args`, and those options that are given.

    Raises:
        CalibError: a name looks like a misspelt argument of `hf`, which passes all others to the model; an option is in
            `model_args`, too; this machine does not have the device.
    """
    check_hf_args(model_args)
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name in model_args and model_args[name] != value:
            problem = f"is given as {model_args[name]!r} in model_args and as {value!r} beside it; leave one out"
            raise CalibError(f"{name} {problem}")
    if (device := {**model_args, **given}.get("device")) is not None:
        usable_device(device, "device")
    return {**model_args, **given}


def _fingerprint_of_tokenizer(model: ParentModel, model_args: Mapping[str, Any]) -> str:
    """Return a fingerprint of a model's tokenizer files, and of those of the `tokenizer` that `model_args` names."""
    folders = [model.folder, *([Path(model_args["tokenizer"])] if model_args.get("tokenizer") else [])]
    return fingerprint(tokenizer_files(folders))


def _scored(
    model: ParentModel, suite: Suite, model_args: Mapping[str, Any], on_answers: OnAnswers | None
) -> StoredPoint:
    began = time.perf_counter()
    reference = model.reference
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments: dict[str, Any] = {"pretrained": reference.model.path, "device": device, **model_args}
    if reference.model.revision:
        arguments["revision"] = reference.model.revision
    if reference.lora:
        arguments["peft"] = reference.lora.path
    try:
        with silence_lm_eval(keep_progress_bars=True), silence_transformers():
            lm = PrefixLM(**arguments, prefix_trees=suite.prefix_trees)
    except TypeError as problem:
        raise CalibError(f"model_args: {problem}") from problem
    tables = suite.score(lm, on_answers)
    del lm
    gc.collect()  # before the next model is loaded
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return StoredPoint(model.name, tables, model.fingerprint, {"score": time.perf_counter() - began})
