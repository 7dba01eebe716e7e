"""`mergekit-calib write --as adapter`: a LoRA with its change scaled, equal to the merged model of its λ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from mergekit.common import ModelReference
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.scaled_adapter import adapter_factor, write_scaled_adapter

B, L = "base", "base+lora"


def recipe(method: str, weights: dict[str, object], **keys: object) -> dict:
    models = [{"model": model, "parameters": {"weight": weight}} for model, weight in weights.items()]
    return {"merge_method": method, "models": models, **keys}


@pytest.fixture(scope="session")
def pair_with_lora(make_model, tmp_path_factory) -> str:
    """A tiny model in float32 with a LoRA on attention, MLP and embeddings: `base+lora`."""
    base = make_model(seed=3, dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(0)
    targets = ["q_proj", "down_proj"]
    lora = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=6, target_modules=targets, rank_pattern={"down_proj": 2}, use_rslora=True)
    )
    for name, parameter in lora.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("lora")
    lora.save_pretrained(folder)
    return f"{base}+{folder}"


@pytest.mark.parametrize(
    ("given", "factor"),
    [
        (recipe("linear", {B: 0.7, L: 0.3}), 0.3),
        (recipe("linear", {B: 1.4, L: 0.6}), 0.3),
        (recipe("linear", {B: -0.5, L: 1.5}, parameters={"normalize": False}), 1.5),
        (recipe("task_arithmetic", {L: 0.3}, base_model=B), 0.3),
        (recipe("task_arithmetic", {L: 0.5}, base_model=B, parameters={"lambda": 0.5}), 0.25),
        ({"merge_method": "passthrough", "models": [{"model": L}]}, 1.0),
    ],
)
def test_the_factor_is_that_of_the_recipe(given, factor):
    reference, found = adapter_factor(given)
    assert str(reference) == L
    assert found == pytest.approx(factor)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (recipe("linear", {B: 1.0, L: 0.0}), "serve the base"),
        ({"merge_method": "passthrough", "models": [{"model": B}]}, "serve that model"),
        (recipe("linear", {B: 0.5, "other": 0.5}), "names no model as base"),
        (recipe("linear", {"other": 0.5, L: 0.5}), "other is neither"),
        (recipe("linear", {L: 0.5, "base+second": 0.5}), "merges 2 adapters"),
        (recipe("linear", {B: 0.5, L: 0.3}, parameters={"normalize": False}), "sum to 0.8"),
        (recipe("linear", {B: 0.5, L: [0.1, 0.9]}), "not one number"),
        (recipe("slerp", {B: 0.5, L: 0.5}, base_model=B), "slerp is not linear"),
        (recipe("ties", {L: 0.5}, base_model=B), "ties is not linear"),
        ({"merge_method": "linear", "slices": []}, "merges slices"),
    ],
)
def test_what_is_no_scaled_adapter_is_refused(given, message):
    with pytest.raises(CalibError, match=message):
        adapter_factor(given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias: all"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "changes the base"),
        ({"peft_type": "IA3"}, "peft_type IA3"),
    ],
)
def test_an_adapter_that_no_factor_scales_is_refused(pair_with_lora, tmp_path, changed, message):
    base, _, lora = pair_with_lora.partition("+")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in Path(lora).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "adapter_config.json").read_text()) | changed
    (copy / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CalibError, match=message):
        write_scaled_adapter(ModelReference.parse(f"{base}+{copy}"), 0.5, tmp_path)
    assert not (tmp_path / "adapter_model.safetensors").exists()


def command(*arguments: str, cwd: Path) -> str:
    """Run `mergekit-calib`, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mergekit_calib", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_the_adapter_beside_its_base_is_the_merged_model(pair_with_lora, task, tmp_path):
    base = pair_with_lora.partition("+")[0]
    sweep = {
        "merge_method": "calibration_sweep",
        "base_model": base,
        "models": [{"model": pair_with_lora}],
        "dtype": "float32",
        "calibration": {"axes": {"lambda": [0.4]}, "suite": [task], "n_resamples": 100},
    }
    (tmp_path / "sweep.yml").write_text(yaml.safe_dump(sweep))
    command("sweep", "sweep.yml", "out", "--quiet", cwd=tmp_path)
    command("write", "out", "--point", "λ=0.6", "--to", "merged", cwd=tmp_path)
    printed = command("write", "out", "--point", "λ=0.6", "--as", "adapter", "--to", "adapter", cwd=tmp_path)
    assert "holds a LoRA adapter" in printed
    assert "holds a LoRA adapter" in (tmp_path / "adapter" / "README.md").read_text()
    assert not list((tmp_path / "adapter").glob("model*.safetensors"))

    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    served = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(tmp_path / "adapter")
    )
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokens = torch.arange(4, 40)[None]
    with torch.no_grad():
        logits = [model(tokens).logits for model in (served, merged, plain)]
    assert torch.allclose(logits[0], logits[1], atol=1e-6)
    assert not torch.allclose(logits[0], logits[2], atol=1e-4)
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "adapter").get_vocab()
        == AutoTokenizer.from_pretrained(base).get_vocab()
    )

    assert "serve that model" in command(
        "write", "out", "--point", "λ=0", "--as", "adapter", "--to", "zero", cwd=tmp_path
    )
    assert not (tmp_path / "zero").exists()
    assert "--as adapter needs --to" in command("write", "out", "--point", "λ=0.4", "--as", "adapter", cwd=tmp_path)
