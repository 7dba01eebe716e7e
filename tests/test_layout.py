"""The layout of the packages: an import only points down the list, and each module's name says one thing."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]

# From what users call down to what knows nothing else; packages on one line may not import one another.
LAYERS = """
__main__
cli
commands
notebook
integrations
sweep
cards
report
analysis
plugins hookspecs
search
engines
merging
scoring
prefix_lm
lm_eval_tasks
items
pareto
recipe
results
storage
metrics
demo
errors versions stopping
"""
LAYER = {name: i for i, line in enumerate(LAYERS.strip().split("\n")) for name in line.split()}
# `plugins` holds the plugin manager and `hookspecs` what it is made with: one subject in two modules.
ALLOWED = {("plugins", "hookspecs")}
MODULES = sorted([*TOP.glob("mergekit_calib/**/*.py"), *TOP.glob("lm_eval_tasks/**/*.py")])


def package(module: str) -> str | None:
    """Return the name in LAYERS that a dotted module belongs to; None for `mergekit_calib` itself."""
    first, *rest = module.split(".")
    if first == "lm_eval_tasks":
        return first
    return rest[0] if rest else None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of every import of ours in a file, lazy ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in ("mergekit_calib", "lm_eval_tasks"):
                yield node.lineno, name


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")


def test_every_package_stands_in_the_list():
    packages = {package(name_of(path)) for path in MODULES} - {None}
    assert packages <= LAYER.keys()


def test_an_import_only_points_down_the_list():
    upward = [
        f"{path.relative_to(TOP)}:{line} imports {name}"
        for path in MODULES
        if (mine := package(name_of(path))) is not None
        for line, name in imports(path)
        if (theirs := package(name)) is not None
        and theirs != mine
        and LAYER[theirs] <= LAYER[mine]
        and (mine, theirs) not in ALLOWED
    ]
    assert upward == []


def test_the_check_sees_an_import_that_points_up(tmp_path):
    lazy = tmp_path / "lazy.py"
    lazy.write_text("def f():\n    from mergekit_calib.sweep import coordinator\n")
    assert list(imports(lazy)) == [(2, "mergekit_calib.sweep.coordinator")]
    assert LAYER["sweep"] < LAYER["metrics"]


def test_no_two_modules_have_one_name():
    ours = [path.stem for path in MODULES if path.stem != "__init__" and path.relative_to(TOP).parts[:1] != ("x",)]
    tasks = {"task"}  # lm-eval's name for a task's class, in the folder of each task that has one
    assert [name for name, count in Counter(ours).items() if count > 1 and name not in tasks] == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_no_module_is_named_like_a_function_that_its_package_exports(path):
    exported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            exported = set(ast.literal_eval(node.value))
    assert exported & {p.stem for p in path.parent.glob("*.py")} == set()
