"""Whole sweeps of recipes that name one model, or three: every model is scored, and points are compared with each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep


def sweep(recipe: dict[str, Any], task: str, out: Path, **block: Any) -> Frontier:
    register()
    calibration = {"suite": [task], "n_resamples": 100, "model_args": {"dtype": "float32"}, **block}
    text = dump_recipe({**recipe, "dtype": "bfloat16", "calibration": calibration})
    return run_sweep(parse_sweep(text, registered_signatures(), "sweep.yml"), out, MergeOptions(quiet=True))


def assert_every_point_is_rebuilt(frontier: Frontier, folder: Path) -> None:
    options = MergeOptions(quiet=True, random_seed=frontier.seed)
    for i, point in enumerate(frontier.points):
        run_merge(configuration(yaml.safe_load(point.recipe)), str(folder / str(i)), options)
        assert digest_of(folder / str(i)) == point.digest, point.id


def test_three_models_are_three_parents(make_model, task, tmp_path):
    base, *others = [str(make_model(seed=seed)) for seed in range(3)]
    models = [{"model": model, "parameters": {"weight": "${w}", "density": 0.5}} for model in others]
    recipe = {"merge_method": "dare_ties", "base_model": base, "models": models}
    frontier = sweep(recipe, task, tmp_path / "out", axes={"w": [0.3, 0.8]})
    names = [Path(model).name for model in others]
    assert frontier.models == {"base": base, names[0]: others[0], names[1]: others[1]}
    assert [p.role for p in frontier.points] == ["base", *names, None, None]
    assert frontier.parents == frontier.points[:3]
    for point in frontier.points[3:]:
        assert list(point.differences) == list(frontier.models)
    assert_every_point_is_rebuilt(frontier, tmp_path)
    again = sweep(recipe, task, tmp_path / "out", axes={"w": [0.3, 0.8]}, parents=[base, others[1]])
    assert again.models == {"base": base, "aligned": others[1]}
    assert [p.id for p in again.points] == ["base", "aligned", "w=0.3", "w=0.8"]


def test_a_self_stack_is_compared_with_its_one_model(make_model, task, tmp_path):
    model = str(make_model(seed=0))
    first, second = ({"model": model, "layer_range": layers} for layers in ([0, 3], [1, 4]))
    second["parameters"] = {"scale": [{"filter": "down_proj", "value": "${scale}"}, {"value": 1.0}]}
    recipe = {"merge_method": "passthrough", "slices": [{"sources": [first]}, {"sources": [second]}]}
    frontier = sweep(recipe, task, tmp_path / "out", axes={"scale": [0.0, 0.5]})
    assert frontier.models == {"base": model}
    assert [p.role for p in frontier.points] == ["base", None, None]
    assert all(list(point.differences) == ["base"] for point in frontier.points[1:])
    assert_every_point_is_rebuilt(frontier, tmp_path)
