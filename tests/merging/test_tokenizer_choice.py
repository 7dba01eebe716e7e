"""The tokenizer of a merge: whose it is, and that mergekit alone gives the same one from a point's plain recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from helpers.checkpoints import save_tokenizer
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import open_parents
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice, choose_tokenizer
from mergekit_calib.recipe import Sweep, dump_recipe, parse_sweep

OPTIONS = MergeOptions(random_seed=0, quiet=True, write_model_card=False)
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "nuslerp"])
@pytest.mark.parametrize("padded_rows", [False, True])
def test_a_merge_has_the_aligned_parents_tokenizer_when_scored_and_when_mergekit_writes_it(
    make_model, tmp_path, method, padded_rows
):
    register()
    rows = {"vocab_size": 80} if padded_rows else {}
    base, aligned = make_model(seed=0, **rows), make_model(seed=1, chat_template=TEMPLATE, **rows)
    if padded_rows:  # a vocabulary smaller than the embeddings, as Qwen's are
        small = transformers.AutoTokenizer.from_pretrained(make_model(seed=0))
        base, aligned = (shutil.copytree(p, tmp_path / p.name) for p in (base, aligned))
        small.save_pretrained(base)
        small.chat_template = TEMPLATE
        small.save_pretrained(aligned)
    transformers.GenerationConfig(max_new_tokens=77).save_pretrained(aligned)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "parameters": {"method": method},
        "calibration": {"axes": {"lambda": [0.5]}, "suite": ["any"]},
    }
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    parents = open_parents(sweep.models, OPTIONS)
    choice = choose_tokenizer(sweep, parents, OPTIONS)
    sweep = choice.applied_to(sweep)
    (point,) = sweep.grid()
    models = PointModels(OPTIONS, choice, tmp_path / "scratch", torch.device("cpu"))
    with models.at(point) as ready:
        assert ready.tokenizer.chat_template == TEMPLATE
        assert ready.model.generation_config.max_new_tokens == 77
        digest = ready.digest
    models.write(point, tmp_path / "ours", digest)
    run_merge(configuration(point.recipe), str(tmp_path / "plain"), OPTIONS)
    for folder in (tmp_path / "ours", tmp_path / "plain"):
        assert transformers.AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE
    written = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert written.max_new_tokens == 77


def test_tokenizer_settings_of_the_recipe_are_kept(make_model, tmp_path):
    register()
    base, aligned = make_model(seed=0), make_model(seed=1, chat_template=TEMPLATE)
    recipe = {
        "merge_method": "slerp",
        "base_model": str(base),
        "models": [{"model": str(base)}, {"model": str(aligned)}],
        "parameters": {"t": "${lambda}"},
        "chat_template": "chatml",
        "calibration": {"axes": {"lambda": [0.5]}, "suite": ["any"]},
    }
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    parents = open_parents(sweep.models, OPTIONS)
    choice = choose_tokenizer(sweep, parents, OPTIONS)
    assert choice.folder is None
    with PointModels(OPTIONS, choice, tmp_path, torch.device("cpu")).at(next(sweep.grid())) as ready:
        assert "<|im_start|>" in ready.tokenizer.chat_template


OTHER_TEMPLATE = "{% for m in messages %}[{{ m.content }}]{% endfor %}"


def sweep_of(recipe: dict[str, Any], **calibration: Any) -> tuple[Sweep, TokenizerChoice]:
    """Return the sweep of a recipe with an axis `x`, with the keys of its tokenizer, and the tokenizer."""
    register()
    block = {"axes": {"x": [0.5]}, "suite": ["any"], **calibration}
    sweep = parse_sweep(dump_recipe({**recipe, "dtype": "bfloat16", "calibration": block}), registered_signatures())
    choice = choose_tokenizer(sweep, open_parents(sweep.models, OPTIONS), OPTIONS)
    return choice.applied_to(sweep), choice


def inputs(*models: Path, through: str = "models", weight: Any = "${x}") -> dict[str, Any]:
    """Return the models as a recipe lists them, at its top or in a module."""
    if through == "slices":
        sources = [{"model": str(model), "layer_range": [0, 4], "parameters": {"weight": weight}} for model in models]
        return {"modules": {"default": {"slices": [{"sources": sources}]}}}
    listed = [{"model": str(model), "parameters": {"weight": weight}} for model in models]
    return {"modules": {"default": {"models": listed}}} if through == "modules" else {"models": listed}


@pytest.fixture
def plain_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], list[Any]]:
    """Return a function that merges a plain recipe with mergekit alone and returns the tokenizers of the results.

    mergekit lists the models in the order of a set, which differs between processes: it is merged in two orders.
    """
    listed = MergeConfiguration.referenced_models

    def merge(recipe: dict[str, Any]) -> list[Any]:
        results = []
        for name, reverse in (("forwards", False), ("backwards", True)):
            monkeypatch.setattr(
                MergeConfiguration,
                "referenced_models",
                lambda self, reverse=reverse: sorted(listed(self), key=str, reverse=reverse),
            )
            run_merge(MergeConfiguration.model_validate(recipe), str(tmp_path / name), OPTIONS)
            results.append(transformers.AutoTokenizer.from_pretrained(tmp_path / name))
        monkeypatch.undo()
        return results

    return merge


def facts(tokenizer: Any) -> tuple[Any, ...]:
    return tokenizer.chat_template, tokenizer.eos_token, set(tokenizer.get_vocab())


def written(sweep: Sweep, choice: TokenizerChoice, tmp_path: Path) -> Any:
    """Write the sweep's first point; return its tokenizer, which is also the one that it is scored with."""
    models = PointModels(OPTIONS, choice, tmp_path / "scratch", torch.device("cpu"))
    point = next(sweep.grid())
    with models.at(point) as ready:
        scored = ready.tokenizer
        digest = ready.digest
    models.write(point, tmp_path / "written", digest)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "written")
    assert facts(tokenizer) == facts(scored)
    return tokenizer


@pytest.mark.parametrize(
    ("through", "chat", "settings"),
    [
        ("models", 0, {"tokenizer": {"source": "union"}}),
        ("modules", 1, {"tokenizer": {"source": "union"}}),
        ("slices", 2, {"tokenizer": {"source": "union"}}),
        ("slices", 1, {"tokenizer": {}}),
        ("models", 2, {}),
        ("modules", 0, {}),
    ],
)
def test_without_a_base_model_the_chat_template_of_any_model_is_kept(
    make_model, tmp_path, plain_tokenizers, through, chat, settings
):
    models = [make_model(seed=seed, chat_template=TEMPLATE if seed == chat else None) for seed in range(3)]
    recipe = {"merge_method": "linear", **inputs(*models, through=through), **settings}
    sweep, choice = sweep_of(recipe)
    mine = written(sweep, choice, tmp_path)
    assert mine.chat_template == TEMPLATE
    for theirs in plain_tokenizers(next(sweep.grid()).recipe):
        assert facts(theirs) == facts(mine)


def with_tokens(model: Path, folder: Path, *tokens: str, template: str | None = None) -> Path:
    """Copy a model with 72 rows of embeddings, and give it a tokenizer that ends in `tokens`, the last one the EOS."""
    shutil.copytree(model, folder)
    save_tokenizer(folder, 72 - len(tokens), template)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": tokens[-1]})
    tokenizer.add_tokens(list(tokens))
    tokenizer.save_pretrained(folder)
    return folder


def test_a_union_of_vocabularies_has_the_special_tokens_of_the_model_that_can_chat(
    make_model, tmp_path, plain_tokenizers
):
    other = with_tokens(make_model(seed=1, vocab_size=72), tmp_path / "b", "<s2>", "<end>", template=TEMPLATE)
    recipe = {"merge_method": "karcher", **inputs(make_model(seed=0), other), "tokenizer": {"source": "union"}}
    recipe["parameters"] = {"max_iter": "${x}"}
    for given in recipe["models"]:
        del given["parameters"]
    sweep, choice = sweep_of(recipe, axes={"x": [3]})
    mine = written(sweep, choice, tmp_path)
    assert (mine.chat_template, mine.eos_token) == (TEMPLATE, "<end>")
    for theirs in plain_tokenizers(next(sweep.grid()).recipe):
        assert facts(theirs) == facts(mine)


def test_no_base_model_is_named_that_would_change_the_embeddings(make_model, tmp_path, plain_tokenizers):
    # mergekit averages a token that two of three models have, unless the base model is one of the two.
    pair = [
        with_tokens(make_model(seed=seed, vocab_size=72), tmp_path / f"m{seed}", "<new>", "<end>", template=TEMPLATE)
        for seed in (1, 2)
    ]
    third = make_model(seed=0)
    sweep, choice = sweep_of({"merge_method": "linear", **inputs(*pair, third), "tokenizer": {"source": "union"}})
    assert choice.recipe_keys == {"base_model": str(third), "chat_template": TEMPLATE}
    mine = written(sweep, choice, tmp_path)
    for theirs in plain_tokenizers(next(sweep.grid()).recipe):
        assert facts(theirs) == facts(mine)


def test_a_method_that_uses_a_base_model_is_not_given_one(make_model, tmp_path, plain_tokenizers):
    models = make_model(seed=0), make_model(seed=1, chat_template=TEMPLATE)
    sweep, choice = sweep_of({"merge_method": "nuslerp", **inputs(*models), "tokenizer": {"source": "union"}})
    assert choice.recipe_keys == {"chat_template": TEMPLATE}
    for theirs in (written(sweep, choice, tmp_path), *plain_tokenizers(next(sweep.grid()).recipe)):
        assert theirs.chat_template == TEMPLATE


def test_of_several_parents_the_base_models_tokenizer_is_kept_unless_only_others_can_chat(make_model):
    plain, chat = make_model(seed=0), make_model(seed=1, chat_template=TEMPLATE)
    other = make_model(seed=2, chat_template=OTHER_TEMPLATE)
    recipe = {"merge_method": "task_arithmetic"}
    for base, others, donor in ((chat, (plain, other), chat), (plain, (other, chat), other)):
        _, choice = sweep_of({**recipe, "base_model": str(base), **inputs(*others)})
        assert choice.folder == donor
        assert choice.recipe_keys == ({} if donor == base else {"tokenizer_source": str(donor)})


def test_of_two_parents_the_first_ones_tokenizer_is_taken_only_if_the_second_cannot_chat(make_model):
    plain, chat = make_model(seed=0), make_model(seed=1, chat_template=TEMPLATE)
    other = make_model(seed=2, chat_template=OTHER_TEMPLATE)
    for base, aligned, donor in ((plain, chat, chat), (chat, plain, chat), (chat, other, other)):
        _, choice = sweep_of({"merge_method": "task_arithmetic", "base_model": str(base), **inputs(aligned)})
        assert choice.folder == donor


def test_of_equally_common_templates_the_recipe_names_one(make_model, tmp_path, plain_tokenizers):
    plain = make_model(seed=0)
    models = make_model(seed=1, chat_template=TEMPLATE), make_model(seed=2, chat_template=OTHER_TEMPLATE)
    recipe = {"merge_method": "task_arithmetic", "base_model": str(plain), **inputs(*models), "chat_template": "auto"}
    sweep, choice = sweep_of(recipe)
    mine = written(sweep, choice, tmp_path)
    assert mine.chat_template == TEMPLATE
    for theirs in plain_tokenizers(next(sweep.grid()).recipe):
        assert facts(theirs) == facts(mine)
    recipe |= inputs(*models, make_model(seed=3, chat_template=OTHER_TEMPLATE))
    assert sweep_of(recipe)[1].recipe_keys == {}


@pytest.mark.parametrize("settings", [{"chat_template": "auto"}, {"tokenizer_source": "union"}])
def test_parents_are_prompted_as_the_points_are(make_model, tmp_path, settings):
    models = make_model(seed=0), make_model(seed=2)
    base = make_model(seed=1, chat_template=TEMPLATE)
    recipe = {"merge_method": "task_arithmetic", "base_model": str(base), **inputs(*models), **settings}
    sweep, choice = sweep_of(recipe, apply_chat_template=True)
    scored = PointModels(OPTIONS, choice, tmp_path, torch.device("cpu"))
    for point in (*sweep.parents(), *sweep.grid()):
        with scored.at(point) as ready:
            assert ready.tokenizer.chat_template == TEMPLATE


def test_a_stack_of_models_has_a_tokenizer_that_fits_its_embeddings(make_model):
    small, large = make_model(seed=0), make_model(seed=1, vocab_size=72, chat_template=TEMPLATE)
    parts = ((small, [0, 2]), (large, [1, 2]), (small, [2, "${x}"]))
    slices = [{"sources": [{"model": str(model), "layer_range": layers}]} for model, layers in parts]
    _, choice = sweep_of({"merge_method": "passthrough", "slices": slices}, axes={"x": [4]})
    assert choice.folder == small
