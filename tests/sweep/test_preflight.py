"""Mistakes that are reported before a sweep costs anything, and the content keys of points."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.options import MergeOptions

from helpers.prepared_sweeps import prepared, short_form, weighted
from mergekit_calib.errors import CalibError, RecipeError
from mergekit_calib.sweep import preflight


@pytest.fixture
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if tasks are loaded: that takes longest of all checks."""
    monkeypatch.setattr(preflight.Suite, "load", lambda *_, **__: pytest.fail("tasks were loaded"))


def with_configuration(model: Path, folder: Path, **keys: Any) -> Path:
    """Copy a model into a folder, with other values in its configuration; return the folder."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))
    return folder


def test_without_a_base_model_configurations_that_differ_are_refused_if_one_would_change_the_merge(
    make_model, no_tasks, tmp_path
):
    base, aligned = make_model(seed=0), with_configuration(make_model(seed=1), tmp_path / "other", rms_norm_eps=0.5)
    with pytest.raises(RecipeError, match="in nuslerp it is also the base") as caught:
        prepared(weighted(base, aligned, "nuslerp"), "any", tmp_path / "out")
    assert caught.value.key == "base_model"
    assert f"rms_norm_eps is 1e-06 in {base} and 0.5 in {aligned}" in str(caught.value)


def test_the_points_recipes_name_a_base_model_where_it_only_decides_whose_configuration_they_have(
    make_model, task, tmp_path
):
    base, aligned = make_model(seed=0), with_configuration(make_model(seed=1), tmp_path / "other", rms_norm_eps=0.5)
    ready = prepared(weighted(base, aligned), task, tmp_path / "out")
    assert ready.point({"lambda": 0.5}).recipe["base_model"] == str(aligned)
    assert f"rms_norm_eps is 0.5 in {aligned} and 1e-06 in {base}" in ready.new_frontier().notes[0]


def test_configurations_may_differ_with_a_base_model_or_without_effect_on_a_forward_pass(make_model, task, tmp_path):
    base, inert = make_model(seed=0), with_configuration(make_model(seed=1), tmp_path / "inert", eos_token_id=7)
    assert prepared(weighted(base, inert), task, tmp_path / "out").parents
    other = with_configuration(make_model(seed=1), tmp_path / "other", rms_norm_eps=0.5)
    assert prepared(weighted(base, other, base_model=str(base)), task, tmp_path / "out").parents


@pytest.mark.parametrize(
    ("keys", "calibration", "says"),
    [
        ({"dtype": "bf16"}, {}, r"sweep.yml: dtype: is 'bf16'; it can be float32, bfloat16"),
        ({"out_dtype": "half"}, {}, r"sweep.yml: out_dtype: is 'half'; it can be"),
        ({}, {"model_args": {"dtype": "int64"}}, r"model_args.dtype is 'int64'; it can be .* or auto"),
        ({}, {"model_args": {"device": "gpu"}}, r"model_args.device is 'gpu'; the devices here are cpu"),
        ({}, {"model_args": {"device": "cuda:99"}}, r"model_args.device is 'cuda:99'; the devices here are cpu"),
        ({}, {"model_args": {"device": "meta"}}, r"model_args.device is 'meta'; the devices here are cpu"),
        (
            {},
            {"axes": {"lambda": {"blocks": 4, "start": 0, "stop": 2, "step": 0.05}}},
            r"calibration.axes: the grid has 2,825,759 points: .*\(adaptive, bayesian, .*random\)",
        ),
    ],
)
def test_mistakes_are_found_before_tasks_are_loaded(make_model, no_tasks, tmp_path, keys, calibration, says):
    with pytest.raises(CalibError, match=says):
        prepared(short_form(make_model(seed=0), make_model(seed=1), **keys), "any", tmp_path / "out", **calibration)


def test_a_device_of_mergekit_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(CalibError, match=r"mergekit's device is 'nowhere'; the devices here are cpu, cuda:0"):
        preflight.scoring_device({}, MergeOptions(device="nowhere"))


def test_a_large_grid_with_a_budget_is_accepted(make_model, task, tmp_path):
    axes = {"lambda": {"blocks": 4, "start": 0, "stop": 2, "step": 0.05}}
    recipe = short_form(make_model(seed=0), make_model(seed=1))
    assert prepared(recipe, task, tmp_path / "out", axes=axes, search={"points": 5}).n_points == 7


def test_the_content_key_depends_on_the_tokenizer_that_the_recipe_makes(make_model, task, tmp_path):
    base, aligned = make_model(seed=0), shutil.copytree(make_model(seed=1), tmp_path / "aligned")
    recipe = weighted(base, aligned, chat_template="chatml")
    before = prepared(recipe, task, tmp_path / "out")
    key = before.key_of(before.parents[0])
    tokenizer = json.loads((aligned / "tokenizer_config.json").read_text())
    (aligned / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "clean_up_tokenization_spaces": True}))
    after = prepared(recipe, task, tmp_path / "out")
    assert before.tokenizer.folder is after.tokenizer.folder is None
    assert after.key_of(after.parents[0]) != key
