"""mergekit's and lm-eval's own commands in an environment where the plugin is installed."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Not in the checkout, which Python would import instead of the installed plugin.
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=tempfile.gettempdir(),
        check=False,
    )


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", program, **environment)


def contents(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def plain_recipe(make_model, tmp_path) -> Path:
    # One model besides the base: mergekit's card lists several in an order that differs from run to run.
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1))}],
        "parameters": {"weight": 0.3},
        "dtype": "bfloat16",
    }
    (tmp_path / "plain.yml").write_text(yaml.safe_dump(recipe))
    return tmp_path / "plain.yml"


@pytest.mark.perf
def test_the_start_up_file_takes_less_than_a_millisecond():
    """The start-up file imports in less than 1 ms; the least of several starts, since the machine may be busy."""
    totals = []
    for _ in range(15):
        lines = run(sys.executable, "-X", "importtime", "-c", "pass").stderr.splitlines()
        ours = [line.split("|") for line in lines if "mergekit_calib" in line]
        assert ours, "the start-up file is not active in this environment"
        totals.append(sum(int(own.split(":")[-1]) for own, *_ in ours))
    assert min(totals) < 1000, totals


def test_the_plugin_imports_one_module_at_start_up():
    loaded = "import sys; print(*sorted(m for m in sys.modules))"
    with_us = set(python(loaded).stdout.split())
    without_site = set(run(sys.executable, "-I", "-S", "-c", loaded).stdout.split())
    import_site = set(run(sys.executable, "-I", "-S", "-c", "import site, " + loaded[7:]).stdout.split())
    ours = {m for m in with_us if m.startswith("mergekit_calib")}
    assert ours == {"mergekit_calib_autoload"}
    for heavy in ("wrapt", "yaml", "numpy", "torch", "mergekit", "lm_eval"):
        assert heavy not in with_us
    assert without_site <= import_site | with_us


@pytest.mark.parametrize(("disabled", "expected"), [("0", "True True"), ("1", "False False")])
def test_the_method_is_registered_and_run_merge_is_wrapped_unless_switched_off(disabled, expected):
    program = (
        "import mergekit.merge, mergekit.merge_methods as m;"
        "print('calibration_sweep' in {x.spec.name for x in m.registered_methods()},"
        " hasattr(mergekit.merge.run_merge, '__wrapped__'))"
    )
    done = python(program, MERGEKIT_CALIB_DISABLE=disabled)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize(
    "first",
    ["mergekit_calib.merging.method", "mergekit_calib.sweep.coordinator", "mergekit_calib.integrations.recipe_runner"],
)
def test_the_plugins_modules_can_be_imported_before_mergekit(first):
    done = python(
        f"import {first}, mergekit.merge_methods as m;"
        "print([x.spec.name for x in m.registered_methods()].count('calibration_sweep'))"
    )
    assert done.stdout.strip() == "1"
    assert "not active" not in done.stderr


def test_a_recipe_without_the_block_is_merged_byte_for_byte_as_without_the_plugin(plain_recipe, tmp_path):
    for name, disabled in (("with", "0"), ("without", "1")):
        done = run(BIN / "mergekit-yaml", plain_recipe, tmp_path / name / "out", MERGEKIT_CALIB_DISABLE=disabled)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "with") == contents(tmp_path / "without")


def test_a_fixed_lambda_is_an_ordinary_merge(make_model, tmp_path):
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1))}],
        "parameters": {"lambda": 0.6, "method": "slerp"},
    }
    (tmp_path / "fixed.yml").write_text(yaml.safe_dump(recipe))
    done = run(BIN / "mergekit-yaml", tmp_path / "fixed.yml", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").exists() or list((tmp_path / "out").glob("model-*.safetensors"))
    assert not (tmp_path / "out" / "calibration").exists()


def test_a_mistake_is_one_line_with_file_and_key_and_no_traceback(plain_recipe, tmp_path):
    recipe = yaml.safe_load(plain_recipe.read_text())
    recipe["parameters"]["weight"] = "${lambda}"
    recipe["calibration"] = {"axes": {"lamda": [0.5]}, "suite": ["arc_easy"]}
    (tmp_path / "typo.yml").write_text(yaml.safe_dump(recipe))
    done = run(BIN / "mergekit-yaml", tmp_path / "typo.yml", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "typo.yml: parameters.weight: ${lambda} is not an axis (did you mean 'lamda'?)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_placeholder_may_stand_where_mergekit_wants_a_number(make_model, tmp_path):
    """mergekit validates `layer_range` before `run_merge`, so the plugin must start the sweep before that."""
    recipe = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": str(make_model(seed=0)), "layer_range": [0, "${cut}"]}]},
            {"sources": [{"model": str(make_model(seed=1)), "layer_range": ["${cut}", 4]}]},
        ],
        "calibration": {"axes": {"cut": [2]}, "suite": ["no_such_task_at_all"]},
    }
    (tmp_path / "cut.yml").write_text(yaml.safe_dump(recipe))
    done = run(BIN / "mergekit-yaml", tmp_path / "cut.yml", tmp_path / "out")
    assert "no task, group or tag 'no_such_task_at_all'" in done.stderr


@pytest.mark.parametrize(
    ("breakage", "host"),
    [
        ("import mergekit.merge as m; m.run_merge = lambda config, path: 'own'", "mergekit"),
        ("import lm_eval.tasks.manager as m; m.TaskManager.__init__ = lambda self: None", "lm-eval"),
    ],
)
def test_with_a_host_that_has_changed_the_plugin_prints_one_message_and_leaves_it_alone(breakage, host):
    """The host is changed before the hooks attach to it, as another version would be."""
    program = (
        f"{breakage}\n"
        "from mergekit_calib.integrations import hooks\n"
        "hooks.install()\n"
        "print(getattr(m, 'run_merge', lambda *a: 'own')(1, 2))"
    )
    done = python(program, MERGEKIT_CALIB_DISABLE="1")
    assert done.stdout.strip() == "own", done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("mergekit-calib:")]
    assert len(messages) == 1
    assert f"not active in {host}" in messages[0]
    assert "MERGEKIT_CALIB_DISABLE=1" in messages[0]


@pytest.fixture
def newer_lm_eval(tmp_path) -> str:
    """A folder that, on PYTHONPATH, makes the installed lm-eval look like 0.6.0.dev1."""
    metadata = tmp_path / "newer" / "lm_eval-0.6.0.dev1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lm_eval\nVersion: 0.6.0.dev1\n")
    return str(metadata.parent)


def test_with_an_lm_eval_that_is_too_new_the_plugin_prints_one_message_and_leaves_it_alone(newer_lm_eval):
    program = (
        "import lm_eval.api.task as task, lm_eval.tasks.manager as manager, lm_eval.api.metrics as utils\n"
        "import mergekit.merge\n"
        "functions = [task.ConfigurableTask.__init__, manager.TaskManager.__init__, utils.stderr_for_metric]\n"
        "print(*(hasattr(f, '__wrapped__') for f in [*functions, mergekit.merge.run_merge]))"
    )
    done = python(program, PYTHONPATH=newer_lm_eval)
    assert done.stdout.split() == ["False", "False", "False", "True"], done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("mergekit-calib:")]
    assert len(messages) == 1
    assert "lm-eval 0.6.0.dev1 is not supported yet; install lm-eval<0.6" in messages[0]


@pytest.mark.parametrize("command", [("mergekit-calib", "demo"), ("mergekit-yaml", "demo.yml")])
def test_a_sweep_with_an_lm_eval_that_is_too_new_ends_with_one_line(newer_lm_eval, command, tmp_path):
    from mergekit_calib.demo import sweep_yaml

    (tmp_path / "demo.yml").write_text(sweep_yaml())
    name, argument = command
    recipe = [tmp_path / argument] if argument == "demo.yml" else [argument]
    done = run(BIN / name, *recipe, tmp_path / "out", PYTHONPATH=newer_lm_eval)
    assert done.returncode == 1
    assert "Error: lm-eval 0.6.0.dev1 is not supported yet; install lm-eval<0.6" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_lm_eval_lists_the_tasks_without_include_path():
    done = run(BIN / "lm_eval", "ls", "subtasks")
    assert "calib_mmlu" in done.stdout
    assert "calib_demo" in done.stdout
    assert "mmlu_anatomy" in done.stdout


def test_lm_eval_runs_a_task_by_name():
    from mergekit_calib.demo import parents

    base, _ = parents()
    done = run(
        *(BIN / "lm_eval", "--model", "hf", "--model_args", f"pretrained={base},dtype=float32"),
        *("--tasks", "calib_demo", "--limit", "64", "--device", "cpu", "--batch_size", "64"),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for metric in ("acc", "ece", "brier", "nll", "overconfidence"):
        assert re.search(rf"\|{metric}\s*\|", done.stdout), done.stdout


def test_the_doctor_reports_the_hooks_as_active_unless_switched_off():
    done = run(BIN / "mergekit-calib", "doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("✓") == 6
    assert "mergekit 0." in done.stdout
    switched_off = run(BIN / "mergekit-calib", "doctor", MERGEKIT_CALIB_DISABLE="1")
    assert switched_off.returncode == 1
    assert "switched off" in switched_off.stdout
