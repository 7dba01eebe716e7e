"""What a wheel of this checkout holds, and an editable install's."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("mergekit_calib", "lm_eval_tasks")
START_UP = {"mergekit_calib_autoload.pth", "mergekit_calib_autoload.py"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheels")
    built = {}
    for kind in ("wheel", "editable"):
        (folder / kind).mkdir()
        code = f"from hatchling.build import build_{kind} as build; build({str(folder / kind)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
        (path,) = (folder / kind).glob("*.whl")
        built[kind] = zipfile.ZipFile(path)
    return built


def test_the_wheel_holds_every_file_of_both_packages(wheels):
    held = set(wheels["wheel"].namelist())
    there = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # The start-up file and its module stand at the top instead.
    elsewhere = {"mergekit_calib/integrations/autoload.py", "mergekit_calib/integrations/mergekit_calib_autoload.pth"}
    assert there - held == elsewhere
    assert {name for name in held if ".dist-info/" not in name} == (there - elsewhere) | START_UP


def test_type_checkers_read_the_annotations_of_both_packages(wheels):
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheels["wheel"].namelist())


def test_the_source_distribution_holds_what_a_packager_needs(tmp_path):
    code = f"from hatchling.build import build_sdist as build; build({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= held
    assert {"mergekit_calib/cli.py", "lm_eval_tasks/task.py", "configs/demo.yml", "tests/conftest.py"} <= held


def test_an_editable_install_is_active_at_start_up_too(wheels):
    held = {name for name in wheels["editable"].namelist() if ".dist-info/" not in name}
    assert held >= START_UP
    assert not any(name.startswith(PACKAGES) and name not in START_UP for name in held - {"_mergekit_calib.pth"})


def test_the_wheel_names_its_command(wheels):
    (entry_points,) = (name for name in wheels["wheel"].namelist() if name.endswith("entry_points.txt"))
    assert "mergekit-calib = mergekit_calib.cli:main" in wheels["wheel"].read(entry_points).decode()
