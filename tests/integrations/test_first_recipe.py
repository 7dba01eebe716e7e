"""`mergekit-calib init` writes a recipe that suits the pair and passes the checks of a sweep, or says what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from mergekit.options import MergeOptions

from mergekit_calib import demo
from mergekit_calib.cli import main
from mergekit_calib.integrations.first_recipe import PairFacts, recipe_text
from mergekit_calib.merging.method import registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.sweep.preflight import prepare

BASE, ALIGNED = map(str, demo.parents())
BF16, F32 = torch.bfloat16, torch.float32


def init(*arguments: str):
    return CliRunner().invoke(main, ["init", *arguments])


def facts(n: int = 7_000_000_000, dtypes=(BF16, BF16), templates=(None, None), context=8192, gpu=False) -> PairFacts:
    return PairFacts(n, 2 * n, dtypes, templates, context, is_demo=False, has_gpu=gpu)


def block_of(of_pair: PairFacts) -> dict:
    return yaml.safe_load(recipe_text("org/base", "org/aligned", of_pair))["calibration"]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("init") / "recipe.yml"
    done = init(BASE, ALIGNED, "--to", str(path))
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(path)
    return path


def test_the_recipe_of_the_demo_pair_passes_all_checks_of_a_sweep_without_a_network(written, tmp_path):
    sweep = parse_sweep(written.read_text(), registered_signatures(), str(written), known_keys())
    prepared = prepare(sweep, tmp_path / "out", MergeOptions(quiet=True))
    assert [entry.task for entry in prepared.sweep.calibration.suite] == ["calib_demo"]
    assert sweep.parent_models == {"base": BASE, "aligned": ALIGNED}
    assert not (tmp_path / "out").exists()


def test_plan_accepts_the_recipe_as_it_is(written):
    done = CliRunner().invoke(main, ["plan", str(written), "--gpu", "h100"])
    assert done.exit_code == 0, done.output
    assert "about 10" in done.output


def test_without_a_file_it_prints_the_same_recipe(written):
    assert init(BASE, ALIGNED).stdout == written.read_text()


def test_no_file_is_overwritten(written, tmp_path):
    before = written.read_text()
    done = init("./nowhere", ALIGNED, "--to", str(written))
    assert (done.exit_code, written.read_text()) == (1, before)
    assert "exists, and is not overwritten" in done.stderr
    done = init(BASE, ALIGNED, "--to", str(tmp_path / "none" / "recipe.yml"))
    assert (done.exit_code, "there is no folder" in done.stderr) == (1, True)


def test_a_pair_that_cannot_be_merged_is_refused_as_a_sweep_refuses_it(make_model, tmp_path):
    llama, deeper, qwen = make_model(), make_model(num_hidden_layers=3), make_model("qwen2")
    broken = shutil.copytree(llama, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "intermediate_size": 99}))
    for other, message in [
        (str(qwen), "only models of one architecture can be merged"),
        (str(deeper), "only models of one depth can be merged whole"),
        (str(broken), "[48, 32] in the weights, and [99, 32] by this config"),
        ("./nowhere", "does not exist"),
        (str(llama), "base_model"),
    ]:
        done = init(str(llama), other, "--to", str(tmp_path / "recipe.yml"))
        assert (done.exit_code, message in done.stderr) == (1, True), (other, done.output)
        assert not (tmp_path / "recipe.yml").exists()


def test_the_suite_follows_from_size_and_context():
    large, small, short = facts(), facts(n=300_000_000), facts(context=1024)
    tasks = [[entry["task"] for entry in block_of(each)["suite"]] for each in (large, small, short)]
    assert tasks == [["calib_mmlu", "arc_challenge"], ["arc_easy", "sciq"], ["arc_easy", "sciq"]]


def test_the_chat_template_is_applied_only_if_both_models_have_it():
    assert block_of(facts(templates=("t", "t")))["apply_chat_template"] is True
    for templates in [(None, "t"), ("s", "t"), (None, None), ("s", None)]:
        assert "apply_chat_template" not in block_of(facts(templates=templates))
    assert "Only aligned has a chat template" in recipe_text("a", "b", facts(templates=(None, "t")))
    assert "the right way round?" in recipe_text("a", "b", facts(templates=("s", None)))


def test_the_dtype_is_that_of_the_stored_weights():
    for dtypes, written in [((BF16, BF16), "bfloat16"), ((BF16, F32), "float32"), ((F32, BF16), "bfloat16")]:
        text = recipe_text("a", "b", facts(dtypes=dtypes))
        assert yaml.safe_load(text)["dtype"] == written
        assert (f"base is in {str(dtypes[0])[6:]}" in text) == (dtypes[0] != dtypes[1])
    assert "model_args" in block_of(facts())
    assert "model_args" not in block_of(facts(gpu=True))


def test_names_with_special_characters_stay_themselves():
    name = 'a: "b" # c\\d'
    assert yaml.safe_load(recipe_text(name, "x\ny", facts()))["base_model"] == name
    assert yaml.safe_load(recipe_text(name, "x\ny", facts()))["models"] == [{"model": "x\ny"}]
