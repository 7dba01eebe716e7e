"""`mergekit-calib write --check`: the written model and its parents, scored once as they will be served."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from mergekit_calib import demo
from mergekit_calib.prefix_lm.model import PrefixLM
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.chosen_model import save_result
from mergekit_calib.sweep.folder import RunFolder


def command(*arguments: str, cwd: Path, fails: bool = False) -> str:
    """Run `mergekit-calib write`, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mergekit_calib", "write", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_a_check_is_a_row_of_table_and_card_and_is_scored_once(demo_copy):
    out, top = demo_copy, demo_copy.parent
    before = Frontier.load(out)
    chosen = before.selected
    printed = command("out", "--check", "{dtype: float16}", cwd=top)
    assert "as served (dtype: float16)" in printed
    after = Frontier.load(out)
    (check,) = after.served
    assert [model.point for model in check.models] == ["lambda=0", "lambda=1", chosen.id]
    for model in check.models:
        for o in after.objectives:
            assert model.estimate(o).n == chosen.estimate(o).n
            assert model.estimate(o).value == pytest.approx(before.point(model.point).estimate(o).value, abs=0.02)
            assert model.against_scored[o.name].value == pytest.approx(
                model.estimate(o).value - before.point(model.point).estimate(o).value, abs=1e-9
            )
    assert set(check.written.against_parents) == {"base", "aligned"}
    assert f"{chosen.name}, as served (dtype: float16)" in (out / "README.md").read_text()
    assert "as served (dtype: float16)" in (out / "calibration" / "report.html").read_text()
    assert after.model_copy(update={"served": []}) == before

    times = {path.name: path.stat().st_mtime_ns for path in (out / "calibration" / "served").iterdir()}
    assert len(times) == 3
    assert "scoring it as it will be served" not in command("out", "--check", "{dtype: float16}", cwd=top)
    assert {p.name: p.stat().st_mtime_ns for p in (out / "calibration" / "served").iterdir()} == times
    assert len(Frontier.load(out).served) == 1

    # The findings are of these weights alone.
    folder, other = RunFolder(out), Frontier.load(out)
    for point in other.points:
        point.selected = point.id == "lambda=0.75"
    save_result(other, folder, card=False)
    assert Frontier.load(out).served == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{load_in_4bits: true}", "did you mean load_in_4bit"),
        ("{dtyp: float16}", "did you mean 'dtype'"),
        ("{pretrained: other}", "says which model is loaded"),
        ("{dtype: float17}", "cannot be loaded as it will be served"),
        ("{load_in_4bit: true, quantization_config: {quant_method: awq}}", "give either"),
        ("[1", "is no YAML"),
        ("float16", "is no mapping"),
    ],
)
def test_what_cannot_be_served_is_one_error(demo_copy, given, message):
    before = (demo_copy / "calibration" / "frontier.json").read_bytes()
    assert message in command("out", "--check", given, cwd=demo_copy.parent, fails=True)
    assert (demo_copy / "calibration" / "frontier.json").read_bytes() == before


def test_a_changed_model_is_not_checked(demo_copy):
    (demo_copy / "config.json").write_text("{}")
    printed = command("out", "--check", "{dtype: float16}", cwd=demo_copy.parent, fails=True)
    assert "is not whole: config.json" in printed


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_missing_bitsandbytes_is_named_before_anything_is_loaded(demo_copy):
    printed = command("out", "--check", "{load_in_4bit: true}", cwd=demo_copy.parent, fails=True)
    assert "load_in_4bit needs bitsandbytes, which is not installed" in printed
    assert "reading models" not in printed.casefold()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_four_bits_change_scores(demo_copy):
    command("out", "--check", "{load_in_4bit: true}", cwd=demo_copy.parent)
    (check,) = Frontier.load(demo_copy).served
    assert any(d.value for model in check.models for d in model.against_scored.values())


def test_a_model_in_int8_is_scored_as_plain_lm_eval_scores_it():
    folder = str(demo.parents()[0])
    quantised = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Without the output head, which is tied to the embeddings.
    torch.ao.quantization.quantize_dynamic(quantised.model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [("one two three", " four"), ("one two three", " five six"), ("seven", " eight nine")]
    requests = [Instance("loglikelihood", {}, text, i) for i, text in enumerate(texts)]
    answers = [
        [value for value, _ in kind(quantised, tokenizer=tokenizer).loglikelihood(requests)]
        for kind in (PrefixLM, HFLM)
    ]
    # Activations are quantised by their range in a batch, so another batch rounds otherwise.
    assert answers[0] == pytest.approx(answers[1], abs=0.5)
