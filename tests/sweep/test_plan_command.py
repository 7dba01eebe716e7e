"""`mergekit-calib plan` and `sweep --dry-run`: nothing is written, and nothing of a Hub model's weights is fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import yaml
from click.testing import CliRunner

from helpers.hub_server import serving
from helpers.prepared_sweeps import short_form
from mergekit_calib.cli import main
from mergekit_calib.merging.hub_headers import write_stub


@pytest.fixture
def recipe(make_model, task, tmp_path) -> Path:
    return written(tmp_path / "sweep.yml", short_form(make_model(seed=0), make_model(seed=1)), task)


def written(path: Path, recipe: Mapping[str, Any], task: str, **block: Any) -> Path:
    calibration = {"axes": {"lambda": {"min": 0.0, "max": 1.5}}, "suite": [task], **block}
    path.write_text(yaml.safe_dump({**recipe, "calibration": calibration}))
    return path


def files_in(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_writes_nothing_and_prints_what_plan_prints(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files_in(tmp_path)
    planned = CliRunner().invoke(main, ["plan", str(recipe), "--minutes", "10"])
    dry = CliRunner().invoke(main, ["sweep", str(recipe), str(tmp_path / "out"), "--dry-run"])
    assert (planned.exit_code, dry.exit_code) == (0, 0), planned.output + dry.output
    assert files_in(tmp_path) == before
    rows = [[line.split()[0] for line in done.output.splitlines() if line[:1].isalpha()] for done in (planned, dry)]
    assert {"points", "items", "tokens", "operations", "memory", "disk", "time"} <= set(rows[0]) & set(rows[1])
    assert "fits into 10 minutes" in planned.output


def test_a_plan_is_for_the_workers_that_a_sweep_would_start(make_model, task, tmp_path):
    plain = short_form(make_model(seed=0), make_model(seed=1))
    path = written(tmp_path / "sweep.yml", plain, task, workers=2, gpus_per_worker=1)
    said = {}
    for name, more in {"recipe": [], "option": ["--workers", "3"]}.items():
        done = CliRunner().invoke(main, ["sweep", str(path), str(tmp_path / "out"), "--dry-run", *more])
        assert done.exit_code == 0, done.output
        said[name] = done.output
    assert "for 2 workers on this CPU; for each" in " ".join(said["recipe"].split())
    assert "for 3 workers on this CPU; for each" in " ".join(said["option"].split())
    refused = CliRunner().invoke(main, ["sweep", str(path), str(tmp_path / "out"), "--dry-run", "--ray", "auto"])
    assert refused.exit_code == 2
    assert "plan --gpu NAME --workers N" in refused.output


def test_a_dry_run_refuses_the_folders_that_a_sweep_refuses(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    for more in ([], ["--dry-run"]):
        done = CliRunner().invoke(main, ["sweep", str(recipe), str(tmp_path / "out"), *more])
        assert done.exit_code == 1
        assert "holds something else (thesis.tex" in done.output


@pytest.mark.parametrize(
    ("keys", "block"),
    [
        ({"base_model": "./missing"}, {}),
        ({}, {"suite": ["no_such_task"]}),
        ({}, {"objectives": ["acc", "eec"]}),
        ({}, {"search": {"strategy": "random"}}),
        ({}, {"model_args": {"device_map": "autoo"}}),
    ],
)
def test_mistakes_are_told_in_the_words_of_a_sweep(make_model, task, tmp_path, keys, block):
    path = written(
        tmp_path / "sweep.yml", {**short_form(make_model(seed=0), make_model(seed=1)), **keys}, task, **block
    )
    planned = CliRunner().invoke(main, ["plan", str(path)])
    swept = CliRunner().invoke(main, ["sweep", str(path), str(tmp_path / "out")])
    assert planned.exit_code == swept.exit_code == 1
    assert planned.output.splitlines()[-1] == swept.output.splitlines()[-1]
    if "model_args" in block:
        assert f"{path}: calibration.model_args.device_map is 'autoo'" in " ".join(planned.output.split())


def test_a_stub_has_the_header_and_the_size_of_the_real_file_and_takes_no_disk(tmp_path):
    class Part:
        dtype, shape, data_offsets = "BF16", [1 << 14, 1 << 13], (0, 1 << 28)

    write_stub(tmp_path / "model.safetensors", {"weight": Part})
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as tensors:
        assert tensors.get_slice("weight").get_shape() == [1 << 14, 1 << 13]
        assert tensors.get_slice("weight")[:2].dtype == torch.bfloat16
    status = (tmp_path / "model.safetensors").stat()
    assert status.st_size > 1 << 28
    assert status.st_blocks * 512 < 1 << 20


def on_the_hub(server: Any, recipe: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Plan in a process of its own, as huggingface_hub reads its settings only once."""
    settings = {"HF_ENDPOINT": server.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    environment = {**os.environ, **proxies, **settings, "HF_DATASETS_OFFLINE": "1", "NO_PROXY": "*"}
    command = [sys.executable, "-m", "mergekit_calib", "plan", str(recipe), "--gpu", "h100"]
    return subprocess.run(command, env=environment, cwd=cache.parent, capture_output=True, text=True, timeout=300)


def test_of_models_on_the_hub_nothing_but_headers_is_fetched(make_model, task, tmp_path):
    size = {"vocab_size": 64, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4}
    folders = {f"team/{name}": make_model(seed=i, **size) for i, name in enumerate(("base", "tuned"))}
    sharded = make_model(seed=1, shard="600KB", **size)
    folders["team/tuned"] = sharded
    weights = {f"{name}/{p.name}": p.stat().st_size for name, f in folders.items() for p in f.glob("*.safetensors")}
    assert len(weights) > 3
    recipe = written(tmp_path / "sweep.yml", short_form(Path("team/base"), Path("team/tuned")), task)
    with serving(folders) as server:
        done = on_the_hub(server, recipe, tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "team/base → team/tuned" in done.stdout
    assert set(weights) <= set(server.fetched)
    assert all(server.fetched[name] <= 100_001 for name in weights)  # what huggingface_hub asks for to read a header
    assert sum(weights.values()) > 2 * sum(server.fetched[name] for name in weights)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_pickles_on_the_hub_are_refused_without_fetching_them(make_model, task, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(make_model(seed=0), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    recipe = written(tmp_path / "sweep.yml", short_form(Path("team/old"), make_model(seed=1)), task)
    with serving({"team/old": folder}) as server:
        done = on_the_hub(server, recipe, tmp_path / "cache")
    assert done.returncode == 1
    assert "model team/old: its weights are no safetensors" in done.stderr
    assert server.fetched["team/old/pytorch_model.bin"] == 0
