"""Recipes as people share them on model cards run as sweeps, and mergekit alone rebuilds every scored point."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
import yaml
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib import Frontier
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.plan import Plan
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe.placeholders import substitute
from mergekit_calib.report.figures import pictures
from mergekit_calib.results.frontier import PointResult

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.yml"))
# Keys that a sweep may add to a recipe, so that mergekit leaves nothing to chance; none of them changes a weight.
ADDED_KEYS = {"tokenizer_source", "chat_template", "base_model"}
# One recipe for each number of parents. Rendering pictures, which do not depend on the recipe, takes half of a run.
WITH_PICTURES = {
    "passthrough_self_stack",
    "slerp_quoted_gradients",
    "ties_two_fine_tunes",
    "dare_ties_three_models",
    "sce_base_with_adapter",
    "breadcrumbs_ties_gradients",
    "karcher_eight_models",
}
NOT_COMPARED = {"_name_or_path", "transformers_version"}  # fields of config.json


class InOrder(MergeConfiguration):
    """mergekit's configuration with its models in one of the orders that chance could give them."""

    def referenced_models(self) -> list[ModelReference]:
        """Return the models; mergekit itself returns the elements of a set."""
        return sorted(super().referenced_models(), key=str)


class InReverse(MergeConfiguration):
    """The same with the models in the opposite order."""

    def referenced_models(self) -> list[ModelReference]:
        """Return the models."""
        return sorted(super().referenced_models(), key=str, reverse=True)


@dataclass(frozen=True)
class Run:
    """A public recipe that was run as a sweep.

    Attributes:
        name: the recipe's name.
        recipe: the recipe with its placeholders, without the calibration block.
        axes: axis → its values.
        frontier: the result as `frontier.json` holds it.
        status: the exit status.
        out: the output folder.
        scratch: a folder for models that mergekit writes alone.
    """

    name: str
    recipe: dict[str, Any]
    axes: dict[str, list[float | str]]
    frontier: Frontier
    status: int
    out: Path
    scratch: Path

    @property
    def parents(self) -> list[PointResult]:
        """The points that are parents."""
        return [point for point in self.frontier.points if point.role is not None]

    @property
    def merges(self) -> list[PointResult]:
        """The points that are none."""
        return [point for point in self.frontier.points if point.role is None]

    @property
    def models(self) -> set[str]:
        """The models that the recipe names, as mergekit reads them."""
        return models_of(substitute(self.recipe, {axis: values[0] for axis, values in self.axes.items()}))

    @property
    def tokenizer_source(self) -> str | None:
        """What the recipe gives as the source of its tokenizer; None if it does not set one."""
        if "tokenizer" in self.recipe:
            return self.recipe["tokenizer"].get("source", "union")
        return self.recipe.get("tokenizer_source")

    def digest(self, folder: Path, recipe: dict[str, Any]) -> str:
        """Return the digest of a written model's weights; by token, if tokens can have other ids in each run."""
        axes = Plan(configuration(recipe), MergeOptions()).vocabulary_axes if self.tokenizer_source else {}
        return digest_of(folder, axes)

    def by_mergekit(self, recipe: dict[str, Any], kind: type[MergeConfiguration] = MergeConfiguration) -> Path:
        """Return the folder of a plain recipe's model, written by mergekit alone; each is written once for all runs."""
        text = f"{kind.__name__} {self.frontier.seed}\n{yaml.safe_dump(recipe)}"
        folder = self.scratch / hashlib.sha256(text.encode()).hexdigest()[:16]
        if not folder.exists():
            adapters = str(self.scratch / "adapters")
            options = MergeOptions(
                quiet=True, random_seed=self.frontier.seed, lora_merge_cache=adapters, write_model_card=False
            )
            run_merge(kind.model_validate(recipe), str(folder), options)
        return folder


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models that mergekit writes alone."""
    return tmp_path_factory.mktemp("mergekit-alone")


@pytest.fixture(scope="module", params=RECIPES, ids=lambda path: path.stem)
def run(
    request: pytest.FixtureRequest, workplace: Path, scratch: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Each public recipe, run as a sweep."""
    out, text = tmp_path_factory.mktemp(request.param.stem) / "out", request.param.read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        if request.param.stem not in WITH_PICTURES:
            patch.setattr(pictures, "FORMATS", ())
        status = run_source(text, str(out), MergeOptions(quiet=True), str(request.param))
    recipe = yaml.safe_load(text)
    axes = recipe.pop("calibration")["axes"]
    return Run(request.param.stem, recipe, axes, Frontier.load(out), status, out, scratch)


@pytest.fixture(autouse=True)
def in_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes name models and tasks relative to the folder that a command is given in."""
    monkeypatch.chdir(workplace)


def models_of(recipe: dict[str, Any]) -> set[str]:
    """Return the models of a plain recipe, also those that only a slice names as its base."""
    config = MergeConfiguration.model_validate(recipe)
    slices = [*(config.slices or []), *(s for module in (config.modules or {}).values() for s in module.slices or [])]
    return {str(model) for model in [*config.referenced_models(), *(s.base_model for s in slices if s.base_model)]}


def path_of(model: str) -> str:
    """Return a model's folder, without its revision and adapter."""
    return model.partition("+")[0].partition("@")[0]


def tokenizer_of(folder: str | Path) -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(folder)


def config_of(folder: Path) -> dict[str, Any]:
    fields = json.loads((folder / "config.json").read_text())
    return {name: value for name, value in fields.items() if name not in NOT_COMPARED}


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {n: t for file in folder.glob("*.safetensors") for n, t in safetensors.torch.load_file(file).items()}


def test_every_point_is_scored(run: Run):
    assert run.status == 0
    assert run.frontier.finished
    assert [(point.id, point.reason) for point in run.frontier.points if point.status != "complete"] == []
    assert [point.axes for point in run.merges] == [{a: v} for a, values in run.axes.items() for v in values]


def test_every_model_of_the_recipe_is_a_parent(run: Run):
    recipes = [yaml.safe_load(parent.recipe) for parent in run.parents]
    assert sorted(model for recipe in recipes for model in models_of(recipe)) == sorted(run.models)
    assert {recipe["merge_method"] for recipe in recipes} == {"passthrough"}
    assert run.frontier.points[: len(run.parents)] == run.parents
    for point in run.merges:
        assert len(point.differences) == len(run.parents)


def test_a_points_recipe_is_the_users_recipe_at_its_setting(run: Run):
    for point in run.merges:
        scored, users = yaml.safe_load(point.recipe), substitute(run.recipe, point.axes)
        if users.get("chat_template") == "auto":  # if two templates are as common, a sweep settles which one it is
            del users["chat_template"]
        assert scored.keys() - users.keys() <= ADDED_KEYS
        assert {key: scored[key] for key in users} == users


def test_mergekit_alone_gives_the_scored_weights_of_every_point(run: Run):
    for point in run.frontier.points:
        recipe = yaml.safe_load(point.recipe)
        assert run.digest(run.by_mergekit(recipe), recipe) == point.digest, point.id
    users = substitute(run.recipe, point.axes)
    assert run.digest(run.by_mergekit(users), users) == point.digest


def test_the_chosen_model_is_the_one_that_mergekit_writes(run: Run):
    chosen = run.frontier.selected
    recipe = yaml.safe_load((run.out / "mergekit_config.yml").read_text())
    assert recipe == yaml.safe_load(chosen.recipe)
    transformers.AutoModelForCausalLM.from_pretrained(run.out)
    ours = tokenizer_of(run.out)
    # Without a base model, mergekit takes config and tokenizer from a model that it chooses by chance.
    for kind in (InOrder,) if "base_model" in recipe else (InOrder, InReverse):
        folder = run.by_mergekit(recipe, kind)
        theirs = tokenizer_of(folder)
        assert config_of(run.out) == config_of(folder), kind
        assert ours.chat_template == theirs.chat_template, kind
        assert ours.special_tokens_map == theirs.special_tokens_map, kind
        if run.tokenizer_source:
            assert ours.get_vocab().keys() == theirs.get_vocab().keys(), kind
            assert run.digest(folder, recipe) == run.digest(run.out, recipe) == chosen.digest, kind
        else:
            assert ours.get_vocab() == theirs.get_vocab(), kind
            written, expected = tensors_of(run.out), tensors_of(folder)
            assert written.keys() == expected.keys()
            assert [name for name in written if not torch.equal(written[name], expected[name])] == [], kind


def test_a_merge_can_chat_if_one_of_the_models_can(run: Run):
    """The chosen model where it is a merge, else a merge that mergekit alone writes from the point's plain recipe."""
    chosen = run.frontier.selected
    assert chosen is not None
    merge = run.out if chosen.role is None else run.by_mergekit(yaml.safe_load(run.merges[0].recipe))
    template, asked_for, source = tokenizer_of(merge).chat_template, run.recipe.get("chat_template"), None
    if asked_for not in (None, "auto"):
        assert template is not None
        assert template not in {tokenizer_of(path_of(model)).chat_template for model in run.models}
        return
    if asked_for is None:  # then a recipe that sets the tokenizer has a say in whose template it is, too
        source = run.recipe.get("base_model") if run.tokenizer_source in ("base", "union") else run.tokenizer_source
    donors = [source] if source else run.models
    templates = {tokenizer_of(path_of(model)).chat_template for model in donors}
    assert template in (templates - {None} or {None})


def test_page_card_and_tables_are_written(run: Run):
    calibration = run.out / "calibration"
    assert "<html" in (calibration / "report.html").read_text()
    lines = (calibration / "points.csv").read_text().splitlines()
    assert len(lines) == 1 + len(run.frontier.points)
    card = (run.out / "README.md").read_text()
    assert [model for model in run.models if Path(path_of(model)).name not in card] == []
    assert not (calibration / "scratch").exists()
    assert (calibration / "frontier.svg").exists() is (run.name in WITH_PICTURES)
