"""The tokenizer of merged models: the aligned parent's, unless the recipe says otherwise.

mergekit copies the tokenizer files of `base_model`. A pre-trained parent has no chat template, so without this the
merged model could not chat. `merging/donor.py` says which model's tokenizer it is among several parents.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import transformers
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.json_files import read_json, reason_of
from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.recipe import Recipe

# The files that transformers and mergekit save beside the weights for the tokenizer and for generation.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
Tokenizer = transformers.PreTrainedTokenizerBase


def makes_vocabulary(recipe: Recipe) -> bool:
    """Return whether a recipe's tokenizer settings can change the embeddings; `tokenizer: {}` asks for a union."""
    return recipe.get("tokenizer") is not None or bool(recipe.get("tokenizer_source"))


def has_tokenizer_settings(recipe: Recipe) -> bool:
    """Return whether a recipe says anything of its tokenizer."""
    return makes_vocabulary(recipe) or bool(recipe.get("chat_template"))


def load_tokenizer(folder: Path, options: MergeOptions, add_bos_token: bool | None = None) -> Tokenizer:
    """Return the tokenizer in a folder, as lm-eval's `hf` model loads it.

    Args:
        folder: the folder.
        options: mergekit's options.
        add_bos_token: lm-eval's `add_bos_token`; None if it is not given, which is not the same as False.

    Raises:
        CalibError: a file of the tokenizer is broken or missing, or needs code of its own; it is named if it is known.
    """
    given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    trust = options.trust_remote_code
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, **given)
    except Exception as problem:  # its files may hold anything
        for name in TOKENIZER_FILES:  # the first file that is no JSON object is the likely reason
            if name.endswith(".json") and os.path.lexists(folder / name):
                read_json(folder / name)
        reason = f"{type(problem).__name__}: {reason_of(problem)}"
        if "custom code" in reason and not trust:
            reason = "it comes with code of its own, which mergekit's --trust-remote-code allows to run"
        elif "backend tokenizer" in reason:
            reason = "there is no tokenizer.json, and no tokenizer.model that it could be made from"
        raise CalibError(f"the tokenizer in {folder} cannot be used: {reason}") from problem


def tokenizer_of(model: ParentModel, options: MergeOptions, adapted: bool = True) -> Tokenizer | None:
    """Return a model's tokenizer; None if it has none.

    Args:
        model: the model.
        options: mergekit's options.
        adapted: whether a LoRA's tokenizer counts; mergekit itself does not read it.
    """
    folder = model.tokenizer_folder if adapted else model.folder
    return load_tokenizer(folder, options) if (folder / "tokenizer_config.json").exists() else None


def template_of(tokenizer: Tokenizer | None) -> str | None:
    """Return a tokenizer's chat template, the one named `default` if it has several; None if it has none."""
    template = tokenizer.chat_template if tokenizer is not None else None
    return (template.get("default") if isinstance(template, dict) else template) or None


def tokenizer_files(folders: Iterable[Path]) -> list[Path]:
    """Return the tokenizer files that exist in `folders`."""
    return [folder / name for folder in folders for name in TOKENIZER_FILES if (folder / name).exists()]


def copy_tokenizer_files(source: Path, target: Path) -> None:
    """Replace the tokenizer, chat template and generation config of a model.

    Args:
        source: the folder that they are copied from.
        target: the model's folder; files that `source` does not have are removed from it.
    """
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
