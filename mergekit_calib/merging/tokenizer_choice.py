"""The choice of the tokenizer that a sweep's points have, and the keys with which mergekit alone gives it to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergekit.options import MergeOptions

from mergekit_calib.merging.donor import base_model_to_name, donor_of
from mergekit_calib.merging.parents import ParentModel
from mergekit_calib.merging.tokenizer import (
    Tokenizer,
    has_tokenizer_settings,
    makes_vocabulary,
    template_of,
    tokenizer_of,
)
from mergekit_calib.recipe import Recipe, Sweep, model_name, slices_of


@dataclass(frozen=True)
class TokenizerChoice:
    """The tokenizer of a sweep's points.

    Attributes:
        folder: the folder whose tokenizer files replace mergekit's; None if the recipe has settings of its own.
        recipe_keys: keys that are added to every point's plain recipe, so that mergekit alone gives the same tokenizer.
        parent_keys: keys that are added to the parents' recipes alone.
        changes_weights: whether the recipe's tokenizer settings can change the embeddings.
    """

    folder: Path | None
    recipe_keys: dict[str, Any] = field(default_factory=dict)
    parent_keys: dict[str, Any] = field(default_factory=dict)
    changes_weights: bool = False

    def applied_to(self, sweep: Sweep) -> Sweep:
        """Return the sweep with the keys in its recipes."""
        return sweep.with_recipe(**self.recipe_keys).with_parent_keys(**self.parent_keys)


def choose_tokenizer(sweep: Sweep, models: Mapping[str, ParentModel], options: MergeOptions) -> TokenizerChoice:
    """Choose the tokenizer of a sweep's points: that of `donor_of`, unless the recipe has settings of its own.

    It is asked for with mergekit's own keys where these change no weights, so that `mergekit-yaml` on a point's plain
    recipe gives the same tokenizer. What the recipe leaves to chance in mergekit is settled with such keys, too.

    Args:
        sweep: the sweep.
        models: every model that the recipe names, by its name.
        options: mergekit's options.
    """
    has_settings = has_tokenizer_settings(sweep.recipe)
    tokenizers = {
        name: tokenizer_of(model, options, adapted=not has_settings) if _fits(sweep.recipe, model, models) else None
        for name, model in models.items()
    }
    donor = donor_of(sweep, tokenizers)
    base = base_model_to_name(sweep, models, tokenizers, options)
    keys = {"base_model": base} if base else {}
    sweep = sweep.with_recipe(**keys)
    if has_settings:
        return _choice_of_the_recipe(sweep, keys, donor, tokenizers)
    if not options.copy_tokenizer or tokenizers[donor] is None:
        return TokenizerChoice(None, keys)
    folder = models[donor].tokenizer_folder
    asked_for = _keys_for(models[donor], models, tokenizers)
    # mergekit copies the tokenizer files of `base_model`; without one, it takes them from any of the models.
    is_taken_from_donor = len(models) == 1 or model_name(sweep.recipe.get("base_model")) == donor
    if is_taken_from_donor and folder == models[donor].folder:
        # The parents' recipes have no `base_model`. Those of base and aligned keep the form, and so the content keys,
        # that they had when there were only these two.
        of_aligned = list(sweep.parent_models.values())[1:] == [donor]
        return TokenizerChoice(folder, keys, {} if of_aligned or len(models) == 1 else asked_for)
    return TokenizerChoice(folder, {**keys, **asked_for})


def _choice_of_the_recipe(
    sweep: Sweep, keys: dict[str, Any], donor: str, tokenizers: Mapping[str, Tokenizer | None]
) -> TokenizerChoice:
    """Return the choice for a recipe with tokenizer settings of its own, with the chat template that they give.

    Args:
        sweep: the sweep, with `keys` in its recipe.
        keys: what was added to the recipe.
        donor: the model whose chat template the points have, if the recipe leaves it open.
        tokenizers: model → its tokenizer, or None if it has none.
    """
    recipe = sweep.recipe
    given, base = recipe.get("chat_template"), model_name(recipe.get("base_model"))
    source = recipe.get("tokenizer_source") or (recipe.get("tokenizer") or {}).get("source", "union")
    templates = {name: template_of(tokenizer) for name, tokenizer in tokenizers.items()}
    if given == "auto":
        most_common = Counter(filter(None, templates.values())).most_common()
        template = most_common[0][0] if most_common else None
        if sum(count == most_common[0][1] for _, count in most_common) > 1:
            keys = {**keys, "chat_template": template}  # mergekit would take the first in the order of a set
    elif given:
        template = None  # the parents' recipes have the key, too
    elif source not in ("base", "union"):
        template = templates.get(model_name(source) or "")
    elif base and not keys:
        template = templates[base]
    else:
        template = templates[donor]
        if templates[base] != template if base else len(set(templates.values())) > 1:
            keys = {**keys, "chat_template": template}
    is_seen = template and any(entry.apply_chat_template for entry in sweep.calibration.suite)
    of_parents = {"chat_template": template} if is_seen else {}  # so that all points see the same prompts
    return TokenizerChoice(None, keys, of_parents, makes_vocabulary(recipe))


def _fits(recipe: Recipe, model: ParentModel, models: Mapping[str, ParentModel]) -> bool:
    """Return whether a model's vocabulary has the size of the merged model's, which is that of its first slice."""
    sources = [source for part in slices_of(recipe) for source in part.get("sources") or ()]
    first = models.get(model_name(sources[0].get("model")) or "") if sources else None
    if first is None or makes_vocabulary(recipe):
        return True
    sizes = {each.config.get_text_config().vocab_size for each in (first, model)}
    return len(sizes) == 1


def _keys_for(
    model: ParentModel, models: Mapping[str, ParentModel], tokenizers: Mapping[str, Tokenizer | None]
) -> dict[str, Any]:
    """Return the keys with which mergekit gives a merge the tokenizer of `model`, or at least its chat template."""
    if model.reference.lora is None and _have_same_vocabulary(models, tokenizers):
        # The embeddings have a row for each token in the same order, so mergekit's permutation changes nothing.
        return {"tokenizer_source": model.name}
    template = template_of(tokenizers[model.name])
    return {"chat_template": template} if template else {}


def _have_same_vocabulary(models: Mapping[str, ParentModel], tokenizers: Mapping[str, Tokenizer | None]) -> bool:
    """Return whether all models' embeddings have one row for each token of the same vocabulary, and no other rows."""
    vocabularies = [tokenizer.get_vocab() if tokenizer is not None else {} for tokenizer in tokenizers.values()]
    first = vocabularies[0]
    rows = {model.config.get_text_config().vocab_size for model in models.values()}
    dense = sorted(first.values()) == list(range(len(first)))
    return rows == {len(first)} and dense and all(vocabulary == first for vocabulary in vocabularies)
