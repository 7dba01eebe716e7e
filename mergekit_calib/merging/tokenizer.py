"""Whose tokenizer a merged model carries: the aligned parent's, unless the recipe says otherwise.

mergekit copies tokenizer files from `base_model`, and a pre-trained parent has no chat template: a merge of it would
come out unable to chat.
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

# What transformers and mergekit save beside the weights to say how a model reads and speaks.
FILES = (
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
_SAID_BY = ("tokenizer", "tokenizer_source", "chat_template")


@dataclass(frozen=True)
class TokenizerChoice:
    """Whose tokenizer files the points carry.

    Attributes:
        folder: the aligned parent's files, copied over mergekit's; None where the recipe has its own say.
        recipe_keys: what every point's plain recipe says, so that mergekit alone gives the same tokenizer.
        changes_weights: whether `recipe_keys` or the recipe's own tokenizer settings can change the embeddings.
    """

    folder: Path | None
    recipe_keys: dict[str, Any] = field(default_factory=dict)
    changes_weights: bool = False


def choose_tokenizer(sweep: Sweep, base: ParentModel, aligned: ParentModel, options: MergeOptions) -> TokenizerChoice:
    """The aligned parent's tokenizer, expressed in mergekit's own keys as far as those leave the weights alone."""
    recipe = sweep.recipe
    if any(recipe.get(key) for key in _SAID_BY) or not options.copy_tokenizer:
        return TokenizerChoice(None, changes_weights=bool(recipe.get("tokenizer") or recipe.get("tokenizer_source")))
    folder = aligned.tokenizer_folder
    if not (folder / "tokenizer_config.json").exists():
        return TokenizerChoice(None)
    # Without base_model mergekit takes any of the models, not always the same one.
    if recipe.get("base_model") == aligned.name and folder == aligned.folder:
        return TokenizerChoice(folder)  # mergekit copies these very files
    mine = load_tokenizer(folder, options)
    if aligned.reference.lora is None and _same_rows(mine, base, aligned, options):
        # The vocabularies are one and the embeddings have a row for each token: mergekit's permutation moves nothing.
        return TokenizerChoice(folder, {"tokenizer_source": aligned.name})
    template = mine.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return TokenizerChoice(folder, {"chat_template": template} if template else {})


def load_tokenizer(
    folder: Path, options: MergeOptions, add_bos_token: bool | None = None
) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer in `folder`, as lm-eval's `hf` loads it, which hands on `add_bos_token` only where it is given."""
    given = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=options.trust_remote_code, **given)


def tokenizer_files(folders: Iterable[Path]) -> list[Path]:
    """The files of `FILES` that there are in `folders`."""
    return [folder / name for folder in folders for name in FILES if (folder / name).exists()]


def copy_tokenizer_files(source: Path, target: Path) -> None:
    """Make `target` carry `source`'s tokenizer, chat template and generation configuration, and no others."""
    for name in FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)


def _same_rows(
    tokenizer: transformers.PreTrainedTokenizerBase, base: ParentModel, aligned: ParentModel, options: MergeOptions
) -> bool:
    if not (base.tokenizer_folder / "tokenizer_config.json").exists():
        return False
    vocabulary = tokenizer.get_vocab()
    rows = {model.config.get_text_config().vocab_size for model in (base, aligned)}
    dense = sorted(vocabulary.values()) == list(range(len(vocabulary)))
    return (
        rows == {len(vocabulary)} and dense and load_tokenizer(base.tokenizer_folder, options).get_vocab() == vocabulary
    )
