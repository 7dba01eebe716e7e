"""The tokenizer of merged models: the aligned parent's, unless the recipe says otherwise.

mergekit copies the tokenizer files of `base_model`. A pre-trained parent has no chat template, so without this the
merged model could not chat.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from mergekit.options import MergeOptions

from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.recipe import Sweep

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
_TOKENIZER_KEYS = ("tokenizer", "tokenizer_source", "chat_template")


@dataclass(frozen=True)
class TokenizerChoice:
    """The tokenizer of a sweep's points.

    Attributes:
        folder: the folder of the aligned parent's files, which replace mergekit's; None if the recipe has settings of
            its own.
        recipe_keys: keys that are added to every point's plain recipe, so that mergekit alone gives the same tokenizer.
        changes_weights: whether the recipe's tokenizer settings can change the embeddings.
    """

    folder: Path | None
    recipe_keys: dict[str, Any] = field(default_factory=dict)
    changes_weights: bool = False


def choose_tokenizer(sweep: Sweep, base: ParentModel, aligned: ParentModel, options: MergeOptions) -> TokenizerChoice:
    """Choose the tokenizer of a sweep's points: the aligned parent's, unless the recipe has settings of its own.

    It is asked for with mergekit's own keys where these change no weights, so that `mergekit-yaml` on a point's plain
    recipe gives the same tokenizer.

    Args:
        sweep: the sweep.
        base: its base parent.
        aligned: its aligned parent.
        options: mergekit's options.
    """
    recipe = sweep.recipe
    if any(recipe.get(key) for key in _TOKENIZER_KEYS) or not options.copy_tokenizer:
        return TokenizerChoice(None, changes_weights=bool(recipe.get("tokenizer") or recipe.get("tokenizer_source")))
    folder = aligned.tokenizer_folder
    if not (folder / "tokenizer_config.json").exists():
        return TokenizerChoice(None)
    # mergekit copies the tokenizer files of `base_model`; without one, it takes them from any of the models.
    if recipe.get("base_model") == aligned.name and folder == aligned.folder:
        return TokenizerChoice(folder)
    tokenizer = load_tokenizer(folder, options)
    if aligned.reference.lora is None and _have_same_vocabulary(tokenizer, base, aligned, options):
        # The embeddings have a row for each token in the same order, so mergekit's permutation changes nothing.
        return TokenizerChoice(folder, {"tokenizer_source": aligned.name})
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return TokenizerChoice(folder, {"chat_template": template} if template else {})


def load_tokenizer(
    folder: Path, options: MergeOptions, add_bos_token: bool | None = None
) -> transformers.PreTrainedTokenizerBase:
    """Return the tokenizer in a folder, as lm-eval's `hf` model loads it.

    Args:
        folder: the folder.
        options: mergekit's options.
        add_bos_token: lm-eval's `add_bos_token`; None if it is not given, which is not the same as False.
    """
    given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=options.trust_remote_code, **given)


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


def _have_same_vocabulary(
    tokenizer: transformers.PreTrainedTokenizerBase, base: ParentModel, aligned: ParentModel, options: MergeOptions
) -> bool:
    """Return whether both parents' embeddings have one row for each token of the same vocabulary, and no other rows.

    Args:
        tokenizer: the aligned parent's tokenizer.
        base: the base parent.
        aligned: the aligned parent.
        options: mergekit's options.
    """
    if not (base.tokenizer_folder / "tokenizer_config.json").exists():
        return False
    vocabulary = tokenizer.get_vocab()
    rows = {model.config.get_text_config().vocab_size for model in (base, aligned)}
    dense = sorted(vocabulary.values()) == list(range(len(vocabulary)))
    return (
        rows == {len(vocabulary)} and dense and load_tokenizer(base.tokenizer_folder, options).get_vocab() == vocabulary
    )
