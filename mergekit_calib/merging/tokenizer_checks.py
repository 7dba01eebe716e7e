"""Checks of the tokenizer that a sweep's points have, before any weights are loaded.

Relies on mergekit 0.1.5 for `BuildTokenizer`, `merge._copy_tokenizer` and `merge._set_chat_template`, with which it
makes and writes a merged model's tokenizer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import transformers
from mergekit.merge import _copy_tokenizer, _set_chat_template
from mergekit.options import MergeOptions
from mergekit.tokenizer import BuildTokenizer

from mergekit_calib.errors import CalibError, RecipeError
from mergekit_calib.merging.json_files import reason_of
from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.merging.plan import Plan
from mergekit_calib.merging.tokenizer import Tokenizer, load_tokenizer
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.recipe import Sweep


def tokenizer_of_points(
    sweep: Sweep, choice: TokenizerChoice, options: MergeOptions, model_args: Mapping[str, Any]
) -> Tokenizer:
    """Return the tokenizer that a sweep's points have, made as mergekit makes it, and check that it can be used.

    Args:
        sweep: the sweep, with its tokenizer's keys.
        choice: the tokenizer of the points.
        options: mergekit's options.
        model_args: lm-eval's `model_args`.

    Raises:
        CalibError: mergekit cannot make it, for a point or for a parent, or lm-eval cannot use it.
    """
    if choice.folder is not None:
        tokenizer = load_tokenizer(choice.folder, options)
    else:
        tokenizer = _made_by_mergekit(next(sweep.corners()).recipe, options, sweep.source)
    where = str(choice.folder / "tokenizer_config.json") if choice.folder else "the tokenizer of the merged models"
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, (int, float)):
        raise CalibError(f"{where}: model_max_length is {longest!r}; a number of tokens is needed")
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None and model_args.get("prefix_token_id") is None:
        raise CalibError(f"{where}: there is no bos_token and no eos_token; lm-eval begins a text with one of them")
    return tokenizer


def check_tokenizer_files(sweep: Sweep, choice: TokenizerChoice, models: Mapping[str, ParentModel]) -> None:
    """Check that every parent has a tokenizer, if the recipe makes one of all of them.

    Args:
        sweep: the sweep.
        choice: the tokenizer of the points.
        models: every model that the recipe names, by its name.

    Raises:
        CalibError: a parent has none; mergekit then cannot make its own point.
    """
    if not choice.changes_weights:
        return
    key = next(key for key in ("tokenizer_source", "tokenizer") if sweep.recipe.get(key) is not None)
    for name in sweep.parent_models.values():
        if not _has_tokenizer(models[name].folder):
            problem = f"needs the tokenizer of each parent, and {name} has no tokenizer files"
            raise RecipeError(key, f"{problem}; copy another parent's into its folder, or remove {key}", sweep.source)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("tokenizer_config.json", "tokenizer.json", "tokenizer.model"))


def _made_by_mergekit(recipe: dict[str, Any], options: MergeOptions, source: str | None) -> Tokenizer:
    """Return the tokenizer that mergekit gives the model of a plain recipe that has tokenizer settings."""
    given = configuration(recipe)
    key = next((key for key in ("tokenizer_source", "tokenizer", "chat_template") if recipe.get(key)), "tokenizer")
    plan = Plan(given, options)
    try:
        with silence_transformers(), tempfile.TemporaryDirectory() as folder:
            for task in plan.targets:
                if isinstance(task, BuildTokenizer):
                    tokenizer = task.execute().tokenizer
                    key = "chat_template"
                    _set_chat_template(tokenizer, given)
                    tokenizer.save_pretrained(folder)
                    break
            else:
                _copy_tokenizer(given, folder, options=options)
            return load_tokenizer(Path(folder), options)
    except CalibError:
        raise
    except Exception as problem:  # of mergekit, transformers, tokenizers
        reason = reason_of(problem)
        if not (value := recipe.get(key)):
            raise CalibError(f"the recipe's models have no tokenizer that can be used: {reason}") from problem
        hint = "it can be union, base, or a model as `models` names it"
        if key == "chat_template":
            hint = "give the template itself, or the name of one of mergekit's"
        raise RecipeError(key, f"mergekit makes no tokenizer with {value!r:.80}: {reason}; {hint}", source) from problem


def check_generation_configs(choice: TokenizerChoice, models: Iterable[ParentModel]) -> None:
    """Check the generation configs that the merged models take over.

    Args:
        choice: the tokenizer of the points; its folder's generation config is copied.
        models: the models that the recipe names; mergekit copies a file of theirs if no folder is chosen.

    Raises:
        CalibError: transformers cannot use one of them.
    """
    for folder in [choice.folder] if choice.folder else [model.folder for model in models]:
        file = folder / "generation_config.json"
        if not file.exists():
            continue
        try:
            with silence_transformers():
                transformers.GenerationConfig.from_pretrained(folder)
        except Exception as problem:  # the file may hold anything
            raise CalibError(f"{file} cannot be used: {reason_of(problem)}; mend it, or delete it") from problem


def borrowed_tokenizer_note(sweep: Sweep, choice: TokenizerChoice, models: Mapping[str, ParentModel]) -> str | None:
    """Return a sentence on parents without a tokenizer, whose points are scored with another model's; None without."""
    if choice.folder is None:
        return None
    without = [name for name in sweep.parent_models.values() if not _has_tokenizer(models[name].tokenizer_folder)]
    if not without:
        return None
    return f"{', '.join(without)} has no tokenizer files; all points have the tokenizer in {choice.folder}."
