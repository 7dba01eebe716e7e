"""A written model goes to the Hub with its card, pictures and plain recipe, and no file tells a path of the machine.

The Hub is a small server here, and huggingface_hub is the real one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard

import mergekit_calib
from helpers.hub_server import HubServer, serving
from mergekit_calib.cli import main
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.hub_upload import parse_parent_names, push

PARENTS = {"base": "org/model-pt", "aligned": "org/model-it"}
PACKAGE = str(Path(mergekit_calib.__file__).parent)
ENVIRONMENT = {"HF_TOKEN": "hf_stand_in", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serving({}) as server:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        yield server


def assert_tells_no_path(files: dict[str, bytes], *places: str | Path) -> None:
    told = [(name, place) for name, data in files.items() for place in map(str, places) if place.encode() in data]
    assert told == []


def test_model_tokenizer_recipe_card_and_pictures_are_uploaded_and_nothing_else(demo_copy, hub):
    address = push(demo_copy, "me/merged", parent_names=PARENTS)
    assert address == f"{hub.endpoint}/me/merged"
    files = hub.uploaded["me/merged"]
    of_model = {p.name for p in demo_copy.iterdir() if p.is_file()}
    assert set(files) == of_model | {f"calibration/{name}.png" for name in ("frontier", "lambda", "reliability")}
    same = set(files) - {"README.md", "mergekit_config.yml"}
    assert all(files[name] == (demo_copy / name).read_bytes() for name in same)
    assert "model.safetensors" in same
    assert hub.private == {"me/merged": True}
    kinds = [re.sub(r"/(me/merged|lfs/\w+)", "", path) for _, path, _ in hub.calls]
    assert kinds.count("/api/models/commit/main") == 1
    assert kinds.index("/api/repos/create") < kinds.index("/api/models/commit/main")


def test_no_uploaded_byte_tells_a_path_of_the_machine(demo_copy, hub, monkeypatch):
    monkeypatch.chdir(demo_copy.parent)
    config = json.loads((demo_copy / "tokenizer_config.json").read_text())
    (demo_copy / "tokenizer_config.json").write_text(json.dumps({**config, "name_or_path": f"{PACKAGE}/demo/aligned"}))
    push("out", "me/merged", parent_names=PARENTS)
    files = hub.uploaded["me/merged"]
    assert PACKAGE in (demo_copy / "mergekit_config.yml").read_text()
    assert_tells_no_path(files, demo_copy.parent, PACKAGE, Path(PACKAGE).parent, os.path.expanduser("~"))
    assert json.loads(files["tokenizer_config.json"])["name_or_path"] == "me/merged"


def test_card_and_recipe_name_the_parents_on_the_hub(demo_copy, hub):
    push(demo_copy, "me/merged", parent_names=PARENTS)
    files = hub.uploaded["me/merged"]
    recipe, local = (
        yaml.safe_load(data)
        for data in (files["mergekit_config.yml"], (demo_copy / "mergekit_config.yml").read_bytes())
    )
    assert {entry["model"] for entry in recipe["models"]} == set(PARENTS.values())
    assert recipe["base_model"] == PARENTS["aligned"]
    assert [entry["parameters"] for entry in recipe["models"]] == [entry["parameters"] for entry in local["models"]]
    card = ModelCard(files["README.md"].decode())
    assert set(card.data.base_model) == set(PARENTS.values())
    assert card.data.eval_results
    assert 'model="me/merged"' in card.text
    assert "vllm serve me/merged" in card.text
    assert "report.html" not in card.text
    linked = re.findall(r"\]\((calibration/[^)]+)\)", card.text)
    assert len(linked) == 3
    assert set(linked) < set(files)


def test_parents_without_a_name_on_the_hub_are_asked_for_before_anything_is_sent(demo_copy, hub):
    with pytest.raises(CalibError, match=r"local folders: aligned \(.*\); --parent-name aligned=org/model"):
        push(demo_copy, "me/merged", parent_names={"base": "org/model-pt"})
    with pytest.raises(CalibError, match="--parent-name alinged: no parent"):
        push(demo_copy, "me/merged", parent_names={**PARENTS, "alinged": "org/x"})
    with pytest.raises(CalibError, match="is no name on the Hub"):
        push(demo_copy, "me/merged", parent_names={**PARENTS, "base": "/local/base"})
    with pytest.raises(CalibError, match="is no name of a repository"):
        push(demo_copy, "me/mer ged", parent_names=PARENTS)
    assert hub.calls == []
    with pytest.raises(CalibError, match="write ROLE=NAME"):
        parse_parent_names(["base"])
    assert parse_parent_names(["base=org/model-pt", "aligned=org/model-it"]) == PARENTS


def test_a_file_that_would_tell_a_path_stops_the_upload(demo_copy, hub):
    config = json.loads((demo_copy / "config.json").read_text())
    (demo_copy / "config.json").write_text(json.dumps({**config, "trained_from": f"{PACKAGE}/demo/base"}))
    with pytest.raises(CalibError, match=r"config.json would tell a path of this machine, .*demo/base; nothing was"):
        push(demo_copy, "me/merged", parent_names=PARENTS)
    assert hub.calls == []


def test_a_public_repository_must_be_asked_for_and_old_weights_are_deleted(demo_copy, hub):
    push(demo_copy, "me/merged", private=False, parent_names=PARENTS)
    assert hub.private == {"me/merged": False}
    hub.uploaded["me/merged"] |= {"model-00001-of-00002.safetensors": b"old", "notes.md": b"kept"}
    with pytest.raises(CalibError, match="exists on the Hub and is public; --public uploads to it"):
        push(demo_copy, "me/merged", parent_names=PARENTS)
    assert "model-00001-of-00002.safetensors" in hub.uploaded["me/merged"]
    push(demo_copy, "me/merged", private=False, parent_names=PARENTS)
    assert "model-00001-of-00002.safetensors" not in hub.uploaded["me/merged"]
    assert hub.uploaded["me/merged"]["notes.md"] == b"kept"


def test_a_token_that_the_hub_does_not_know_is_one_line(demo_copy, hub):
    hub.refuses = True
    with pytest.raises(CalibError, match=r"did not take me/merged: .*401.*hf auth login"):
        push(demo_copy, "me/merged", parent_names=PARENTS)
    assert hub.uploaded == {}


def test_a_folder_without_a_model_is_refused(demo_copy, hub):
    (demo_copy / "model.safetensors").unlink()
    with pytest.raises(CalibError, match="holds no model"):
        push(demo_copy, "me/merged", parent_names=PARENTS)
    assert hub.calls == []


def test_through_the_endpoint_of_the_environment_and_the_card_runs_its_own_example(demo_copy):
    with serving({}) as server:
        environment = {**os.environ, **ENVIRONMENT, "HF_ENDPOINT": server.endpoint}
        command = [sys.executable, "-m", "mergekit_calib", "write", str(demo_copy), "--push-to-hub", "mine"]
        command += [part for role, name in PARENTS.items() for part in ("--parent-name", f"{role}={name}")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{server.endpoint}/me/mine"]
    files = server.uploaded["me/mine"]
    assert_tells_no_path(files, demo_copy.parent, PACKAGE)
    example = re.search(r"```python\n(.*?)```", files["README.md"].decode(), re.DOTALL)
    assert example is not None
    assert '"role": "user"' in example[1]  # the demo has a chat template
    script = example[1].replace('"me/mine"', json.dumps(str(demo_copy))).replace("=100", "=3")
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "give either --point or --rule, or --check or --push-to-hub"),
        (["--public", "--rule", "least"], 2, "are for --push-to-hub"),
        (["--push-to-hub", "me/merged", "--to", "elsewhere"], 2, "--to is for another point"),
        (["--push-to-hub", "me/merged", "--parent-name", "base"], 1, "write ROLE=NAME"),
        (
            ["--push-to-hub", "me/merged", "--point", "aligned"],
            1,
            "--parent-name base=org/model --parent-name aligned=",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(finished_demo, hub, options, status, message):
    before = (finished_demo / "mergekit_config.yml").read_bytes()
    done = CliRunner().invoke(main, ["write", str(finished_demo), *options])
    assert (done.exit_code, message in done.stderr) == (status, True), done.stderr
    assert (finished_demo / "mergekit_config.yml").read_bytes() == before
    assert hub.calls == []


def test_another_point_is_written_and_uploaded(demo_copy, hub):
    names = [part for role, name in PARENTS.items() for part in ("--parent-name", f"{role}={name}")]
    other = str(demo_copy.parent / "other")
    command = [
        "write",
        str(demo_copy),
        "--point",
        "lambda=0.75",
        "--to",
        other,
        "--push-to-hub",
        "me/other",
        "--public",
    ]
    done = CliRunner().invoke(main, [*command, *names])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"{hub.endpoint}/me/other"
    recipe = yaml.safe_load(hub.uploaded["me/other"]["mergekit_config.yml"])
    assert sorted(entry["parameters"]["weight"] for entry in recipe["models"]) == [0.25, 0.75]
    assert hub.private == {"me/other": False}
    assert_tells_no_path(hub.uploaded["me/other"], demo_copy.parent, PACKAGE)
