"""The model that a merge takes its config and tokenizer from, where the recipe leaves it open.

That is mergekit's `base_model`. Without one, mergekit 0.1.5 takes the first element of a set of the models, whose order
differs between processes. So the recipes of a sweep's points name one, if that changes nothing else.
Relies on mergekit 0.1.5 for `PermutedVocabulary`, which fills tokens that only some models have from `base_model`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mergekit import merge_methods
from mergekit.merge_methods.base import BasePolicy
from mergekit.options import MergeOptions

from mergekit_calib.merging.merge_configuration import config_difference
from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.merging.tokenizer import Tokenizer, has_tokenizer_settings, makes_vocabulary, template_of
from mergekit_calib.recipe import METHOD, Recipe, Sweep, model_name, slices_of


def donor_of(sweep: Sweep, tokenizers: Mapping[str, Tokenizer | None]) -> str:
    """Return the model whose tokenizer a sweep's points have, if the recipe has no settings of its own.

    It is the second of two parents, which is the aligned one; of several, the base model. If that has no chat template,
    it is the first model that has one.

    Args:
        sweep: the sweep.
        tokenizers: model → its tokenizer, or None if it has none.
    """
    parents = list(sweep.parent_models.values())
    preferred = parents[1] if len(parents) == 2 else model_name(sweep.recipe.get("base_model"))
    in_order = sorted(tokenizers, key=lambda model: model != preferred)
    with_template = [model for model in in_order if template_of(tokenizers[model])]
    with_tokenizer = [model for model in in_order if tokenizers[model] is not None]
    return (*with_template, *with_tokenizer, *in_order)[0]


def base_model_to_name(
    sweep: Sweep,
    models: Mapping[str, ParentModel],
    tokenizers: Mapping[str, Tokenizer | None],
    options: MergeOptions,
) -> str | None:
    """Return the model that the recipes of a sweep's points should name as `base_model`, or None.

    None if the recipe has a base model, if it does not matter which model config and tokenizer come from, or if naming
    one would change the merge.

    Args:
        sweep: the sweep.
        models: every model that the recipe names, by its name.
        tokenizers: model → its tokenizer, or None if it has none.
        options: mergekit's options.
    """
    recipe = sweep.recipe
    slices = list(slices_of(recipe))
    has_no_part = _ignores_base(sweep) or (slices and all(part.get("base_model") for part in slices))
    if recipe.get("base_model") or len(models) == 1 or not has_no_part:
        return None
    # Two models without settings of their own get the aligned parent's tokenizer by other keys.
    matters = len(models) > 2 or (has_tokenizer_settings(recipe) and _differ(tokenizers))
    if not matters and config_difference(next(sweep.corners()).recipe, options) is None:
        return None
    taken = _tokens_of_some(tokenizers) if makes_vocabulary(recipe) else set()
    donor = donor_of(sweep, tokenizers)
    for model in sorted(tokenizers, key=lambda model: model != donor):
        tokenizer = tokenizers[model]
        is_an_input = all(model in inputs for inputs in _lists_of_models(recipe))
        if is_an_input and not (tokenizer is not None and taken & tokenizer.get_vocab().keys()):
            return model
    return None


def _ignores_base(sweep: Sweep) -> bool:
    """Return whether `base_model` has no part in the arithmetic of the sweep's merge methods."""
    names = list(sweep.variants)
    if names == [f"${{{METHOD}}}"]:
        names = [str(name) for name in sweep.axes[METHOD].levels]
    return all(merge_methods.get(name).spec.contract.base == BasePolicy.IGNORED for name in names)


def _lists_of_models(recipe: Recipe) -> Iterator[list[str | None]]:
    """Yield each list of models that mergekit would add a `base_model` to, were it not in it; slices are not such."""
    modules = recipe.get("modules")
    for holder in (recipe, *(modules.values() if isinstance(modules, dict) else ())):
        if isinstance(holder, dict) and holder.get("models"):
            yield [model_name(given.get("model")) for given in holder["models"]]


def _differ(tokenizers: Mapping[str, Tokenizer | None]) -> bool:
    """Return whether it can be seen in the merge which of the tokenizers it was made from."""

    def visible(tokenizer: Tokenizer | None) -> Any:
        if tokenizer is None:
            return None
        return tokenizer.get_vocab(), tokenizer.special_tokens_map, template_of(tokenizer)

    first, *others = map(visible, tokenizers.values())
    return any(other != first for other in others)


def _tokens_of_some(tokenizers: Mapping[str, Tokenizer | None]) -> set[str]:
    """Return the tokens that several models have, but not all: a base model that has them gives their embeddings."""
    count = Counter(token for tokenizer in tokenizers.values() if tokenizer for token in tokenizer.get_vocab())
    return {token for token, n in count.items() if 1 < n < len(tokenizers)}
