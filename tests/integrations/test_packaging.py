"""The files in a wheel, an editable wheel and a source distribution of this checkout."""

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
    names = set(wheels["wheel"].namelist())
    in_checkout = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # The start-up file and its module are at the top level of the wheel instead.
    moved = {"mergekit_calib/integrations/autoload.py", "mergekit_calib/integrations/mergekit_calib_autoload.pth"}
    assert in_checkout - names == moved
    assert {name for name in names if ".dist-info/" not in name} == (in_checkout - moved) | START_UP


def test_type_checkers_read_the_annotations_of_both_packages(wheels):
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheels["wheel"].namelist())


def test_the_source_distribution_holds_what_a_packager_needs(tmp_path):
    code = f"from hatchling.build import build_sdist as build; build({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= names
    assert {"mergekit_calib/cli.py", "lm_eval_tasks/task.py", "configs/demo.yml", "tests/conftest.py"} <= names


def test_an_editable_install_is_active_at_start_up_too(wheels):
    names = {name for name in wheels["editable"].namelist() if ".dist-info/" not in name}
    assert names >= START_UP
    assert not any(name.startswith(PACKAGES) and name not in START_UP for name in names - {"_mergekit_calib.pth"})


def test_the_wheel_names_its_command(wheels):
    (entry_points,) = (name for name in wheels["wheel"].namelist() if name.endswith("entry_points.txt"))
    assert "mergekit-calib = mergekit_calib.cli:main" in wheels["wheel"].read(entry_points).decode()
