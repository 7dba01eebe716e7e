"""The key `engine` in a recipe: its forms, its mistakes, and what it asks of the suite and of the machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.options import MergeOptions

from mergekit_calib.engines import engine_checks
from mergekit_calib.engines.engine_checks import check_installed, check_suite, content_of_engine
from mergekit_calib.engines.engine_memory import with_vllm
from mergekit_calib.errors import CalibError, RecipeError
from mergekit_calib.merging.memory import Footprint
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import CalibrationBlock, SuiteEntry, dump_recipe, parse_sweep
from mergekit_calib.recipe.engine_settings import EngineSettings, VllmSettings
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.sweep.preflight import prepare

GB = 10**9
BESIDE, ALONE = EngineSettings.model_validate({"generation": "vllm"}), EngineSettings.model_validate("vllm")


def block(**keys: Any) -> CalibrationBlock:
    return CalibrationBlock.model_validate({"axes": {"lambda": [0.5]}, "suite": ["calib_demo"], **keys})


@pytest.mark.parametrize(
    ("given", "generation", "only_generates"),
    [
        ("transformers", None, False),
        ({"generation": "transformers"}, None, False),
        ("vllm", VllmSettings(), True),
        ({"name": "vllm", "max_model_len": 99}, VllmSettings(max_model_len=99), True),
        ({"generation": "vllm"}, VllmSettings(), False),
        ({"generation": {"name": "vllm", "tensor_parallel_size": 2}}, VllmSettings(tensor_parallel_size=2), False),
    ],
)
def test_an_engine_is_named_alone_or_for_generation_with_arguments_or_without(given, generation, only_generates):
    engine = block(engine=given).engine
    assert engine is not None
    assert (engine.generation, engine.only_generates) == (generation, only_generates)


@pytest.mark.parametrize(
    ("engine", "key", "words"),
    [
        ("vlm", "engine", "did you mean 'vllm'"),
        ({"generation": "sglang"}, "engine.generation", "there are transformers, vllm"),
        ({"generation": {"name": "vllm", "tensor_parallel": 2}}, "engine.generation.tensor_parallel", "_size"),
        ({"generating": "vllm"}, "engine.generating", "did you mean 'generation'"),
        ({"generation": {"tensor_parallel_size": 0}}, "engine.generation.tensor_parallel_size", "found 0"),
        ({"name": "transformers", "dtype": "float16"}, "engine", "model_args"),
        (3, "engine", "found 3"),
    ],
)
def test_mistakes_are_named_with_their_key(demo_recipe, engine, key, words):
    register()
    with pytest.raises(RecipeError, match=words) as caught:
        parse_sweep(dump_recipe(demo_recipe(["calib_demo"], engine=engine)), registered_signatures())
    assert caught.value.key == f"calibration.{key}"


def test_without_the_key_nothing_is_recorded_and_content_keys_stay():
    assert "engine" not in block().model_dump(mode="json", exclude_none=True)
    assert content_of_engine(block()) == content_of_engine(block(engine="transformers")) == {}
    assert content_of_engine(block(engine="vllm"))["generation"]["name"] == "vllm"


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_sweep_without_the_package_says_how_to_install_it_before_it_reads_a_model(demo_recipe, tmp_path):
    register()
    recipe = demo_recipe(["calib_demo"], engine="vllm", model_args={})
    recipe["base_model"] = "no/such-model"
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    with pytest.raises(RecipeError, match=r'pip install "mergekit-calib\[vllm\]"'):
        prepare(sweep, tmp_path / "out", MergeOptions(quiet=True))


def test_mixed_precision_is_refused(monkeypatch):
    monkeypatch.setattr(engine_checks, "vllm_version", lambda: "0.32.0")  # as if it were installed
    with pytest.raises(RecipeError, match="one dtype"):
        check_installed(block(engine="vllm", model_args={"mixed_precision_dtype": "bfloat16"}))
    check_installed(block(engine="vllm"))


def test_points_that_cannot_be_set_in_place_are_refused_before_anything_is_loaded(
    diversity_of_the_demo, demo_recipe, monkeypatch, tmp_path
):
    monkeypatch.setattr(engine_checks, "vllm_version", lambda: "0.32.0")  # as if it were installed
    register()
    recipe = demo_recipe([str(diversity_of_the_demo)], engine="vllm", objectives=["vendi_score"])
    models = [recipe["base_model"], recipe["models"][0]["model"]]
    sources = [
        {"model": model, "layer_range": [0, 1], "parameters": {"weight": weight}}
        for model, weight in zip(models, ("${1 - lambda}", "${lambda}"), strict=True)
    ]
    shallow = {"merge_method": "linear", "slices": [{"sources": sources}], "dtype": "bfloat16"}
    text = dump_recipe({**shallow, "calibration": recipe["calibration"]})
    with pytest.raises(CalibError, match=r"lambda=0.* has other layers"):
        prepare(parse_sweep(text, registered_signatures()), tmp_path / "out", MergeOptions(quiet=True))


def suite_of(*tasks: str | Path, **options: Any) -> Suite:
    return Suite.load([SuiteEntry(task=str(task), **options) for task in tasks])


def test_alone_it_takes_no_task_with_choices_and_beside_transformers_it_needs_a_generated_one(diversity_of_the_demo):
    both = suite_of("calib_demo", diversity_of_the_demo, limit=2)
    check_suite(block(engine={"generation": "vllm"}), both)
    with pytest.raises(RecipeError, match=r"calib_demo needs log-likelihoods.*\{generation: vllm\}"):
        check_suite(block(engine="vllm"), both)
    with pytest.raises(RecipeError, match="no task of the suite generates"):
        check_suite(block(engine={"generation": "vllm"}), suite_of("calib_demo", limit=2))


def test_options_of_generation_that_it_lacks_are_refused_with_their_key(diversity_of_the_demo):
    with pytest.raises(RecipeError, match="num_beams") as caught:
        check_suite(block(engine="vllm"), suite_of(diversity_of_the_demo, gen_kwargs={"num_beams": 4}))
    assert caught.value.key == "calibration.suite[0].gen_kwargs"


def test_on_a_cpu_its_copy_of_the_model_counts_beside_the_live_one_or_after_it():
    needed = Footprint(torch.device("cpu"), live=10 * GB, building=0, parents=0)
    beside, alone = (with_vllm(needed, engine, 100 * GB, 0) for engine in (BESIDE, ALONE))
    assert with_vllm(needed, None, 100 * GB, 0) == needed
    assert beside.on_device > 2 * needed.live
    assert alone.on_device == alone.generating > alone.live
    assert "vLLM" in str(beside)


def test_on_a_gpu_it_takes_what_the_live_model_leaves_and_that_must_be_enough():
    needed = Footprint(torch.device("cuda"), live=16 * GB, building=0, parents=0)
    beside = with_vllm(needed, BESIDE, 80 * GB, 80 * GB)
    assert beside.generating == pytest.approx(0.78 * 80 * GB)
    assert beside.on_device <= 80 * GB
    assert with_vllm(needed, ALONE, 80 * GB, 80 * GB).generating == pytest.approx(0.9 * 80 * GB)
    given = EngineSettings.model_validate({"generation": {"gpu_memory_utilization": 0.5}})
    assert with_vllm(needed, given, 80 * GB, 80 * GB).generating == 40 * GB
    with pytest.raises(CalibError, match=r"7.0 GB are left on cuda for vLLM.*16.0 GB"):
        with_vllm(needed, BESIDE, 24 * GB, 24 * GB)
