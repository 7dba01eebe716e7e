"""What the hooks load, when they are off, and whose metric a name means."""

from __future__ import annotations

import importlib.util
import json
import os
import site
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest

import mergekit_calib
from lm_eval_tasks import registered
from lm_eval_tasks.completions import DIVERSITY
from lm_eval_tasks.pooled_metrics import POOLED_METRICS
from mergekit_calib.integrations import SWITCH, is_switched_off

STATE = """
import json, sys, warnings
import lm_eval.tasks
print(json.dumps([sorted(sys.modules), [repr(each) for each in warnings.filters]]))
"""


def python(program: str, interpreter: str | Path = sys.executable, **environment: str) -> str:
    done = subprocess.run(
        [str(interpreter), "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=tempfile.gettempdir(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_importing_lm_evals_tasks_loads_the_hooks_alone_and_changes_no_warning_filter():
    without, filters_without = json.loads(python(STATE, **{SWITCH: "1"}))
    with_us, filters_with_us = json.loads(python(STATE))
    more = {name for name in set(with_us) - set(without) if not name.startswith("wrapt")}
    third_parties = {name for name in more if name.partition(".")[0] not in sys.stdlib_module_names}
    assert third_parties == {
        "lm_eval_tasks",
        "lm_eval_tasks.registered",
        "mergekit_calib.errors",
        "mergekit_calib.integrations.hooks",
        "mergekit_calib.integrations.lm_eval",
        "mergekit_calib.versions",
    }
    assert filters_with_us == filters_without


def test_the_registered_names_and_directions_are_those_of_the_metrics():
    assert {name: metric.higher_is_better for name, metric in POOLED_METRICS.items()} == registered.POOLED
    assert {name: metric.higher_is_better for name, metric in DIVERSITY.items()} == registered.DIVERSITY


@pytest.mark.parametrize(
    ("value", "off"),
    [
        *((value, True) for value in ("1", "true", "YES", "On", "2", "please")),
        *((value, False) for value in ("", "0", "false", "No", "OFF", " ")),
    ],
)
def test_the_switch_takes_what_people_write(value, off, monkeypatch):
    monkeypatch.setenv(SWITCH, value)
    assert is_switched_off() == off
    monkeypatch.delenv(SWITCH)
    assert not is_switched_off()


THEIR_ECE = """
import json
from lm_eval.api.registry import register_aggregation, register_metric
import lm_eval.api.registry as registry
@register_aggregation("their_ece")
def their_ece(items):
    return 42.0
registry.metric_registry.register("ece", target=lambda items: items)
if hasattr(registry, "metric_agg_registry"):
    registry.metric_agg_registry.register("ece", target=their_ece)
    registry.higher_is_better_registry.register("ece", target=False)
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.pooled_metrics import PooledMetric
config = dict(load_yaml(TASKS_DIR / "calib_demo" / "calib_demo.yaml"))
manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False)
ours = manager.load(["calib_demo"])["tasks"]["calib_demo"]
listed = config["class"]({**config, "metric_list": [{"metric": "ece", "n_bins": 5}]})
del config["class"]
theirs = {"metric": "ece", "aggregation": their_ece, "higher_is_better": False}
(other,) = manager.load([{**config, "task": "other", "metric_list": [theirs]}])["tasks"].values()
doc = ours.eval_docs[0]
results = [(-1.0, True), (-2.0, False), (-3.0, False), (-4.0, False)]
print(json.dumps({
    "calib_demo": isinstance(ours.aggregation()["ece"], PooledMetric),
    "class": listed.aggregation()["ece"].context.n_bins,
    "anybody's": other.aggregation()["ece"]([]),
    "value": ours.process_results(doc, results)["ece"][1],
}))
"""


def test_a_metric_of_lm_evals_own_keeps_its_name_and_our_tasks_use_ours():
    found = json.loads(python(THEIR_ECE))
    assert found == {"calib_demo": True, "class": 5, "anybody's": 42.0, "value": [-1.0, -2.0, -3.0, -4.0]}


@pytest.fixture
def installed_with_target(tmp_path) -> tuple[Path, Path]:
    """An interpreter with all packages but no start-up file of ours, and the folder of a `pip install --target`."""
    home, target = tmp_path / "environment", tmp_path / "target"
    venv.create(home, with_pip=False, symlinks=True)
    interpreter = home / "bin" / "python"
    folder = Path(python("import sysconfig; print(sysconfig.get_path('purelib'))", interpreter))
    (folder / "packages.pth").write_text("\n".join(site.getsitepackages()) + "\n")  # their .pth files are not read
    target.mkdir()
    source = Path(mergekit_calib.__file__).parents[1]
    for name in ("mergekit_calib", "lm_eval_tasks"):
        (target / name).symlink_to(source / name)
    (target / "mergekit_calib_autoload.pth").write_text("import mergekit_calib_autoload\n")
    spec = importlib.util.find_spec("mergekit_calib_autoload")  # an installation has autoload.py under this name alone
    assert spec is not None
    assert spec.origin is not None
    (target / "mergekit_calib_autoload.py").write_bytes(Path(spec.origin).read_bytes())
    return interpreter, target


def test_the_doctor_says_why_an_installation_with_target_is_not_active(installed_with_target):
    interpreter, target = installed_with_target
    environment = {**os.environ, "PYTHONPATH": str(target)}
    command = [str(interpreter), "-m", "mergekit_calib", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=target.parent, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "mergekit_calib_autoload.pth" in line]
    assert str(target / "mergekit_calib_autoload.pth") in line
    assert "--target" in line
    assert "python -m mergekit_calib" in line
    assert "import mergekit_calib_autoload" in line
    program = "import mergekit_calib_autoload, mergekit.merge as m; print(hasattr(m.run_merge, '__wrapped__'))"
    assert python(program, interpreter, PYTHONPATH=str(target)) == "True"
