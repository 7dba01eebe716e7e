"""Parsing of a sweep's YAML: the recipes of its points, and the errors that name a mistake."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.mergekit_methods import METHODS
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import Sweep, has_calibration_block, parse_sweep
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.recipe.placeholders import PlaceholderError, names_in, substitute

SHORT = """
merge_method: calibration_sweep
base_model: org/base
models:
  - model: org/aligned
parameters:
  method: linear
dtype: bfloat16
calibration:
  axes:
    lambda: {start: 0.0, stop: 1.5, step: 0.5}
  suite:
    - calib_mmlu
    - {task: arc_easy, limit: 500}
  objectives: [acc, ece, {task: arc_easy, metric: acc_norm}]
  limit: 100
"""

GENERAL = """
merge_method: ties
base_model: org/base
models:
  - model: org/aligned
    parameters: {weight: "${lambda}", density: "${density}"}
calibration:
  axes: {lambda: [0.4, 1.0], density: [0.3, 0.6, 1.0]}
  suite: [calib_mmlu]
"""

BOTH_AXES = {"weight": "${lambda}", "density": "${density}"}


def parse(text: str) -> Sweep:
    return parse_sweep(text, METHODS, "sweep.yml")


def with_changes(text: str, **changes) -> str:
    """The YAML with keys, given by their paths with `__` for `.`, set (or removed, if None)."""
    data = yaml.safe_load(text)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = data
        for key in parents:
            node = node[key]
        if value is None:
            node.pop(last)
        else:
            node[last] = value
    return yaml.safe_dump(data)


def test_the_short_form_interpolates_with_weights_that_sum_to_one():
    points = list(parse(SHORT).grid())
    assert [p.id for p in points] == ["lambda=0.5", "lambda=1.5"]
    assert points[1].recipe == {
        "merge_method": "linear",
        "base_model": "org/aligned",
        "models": [
            {"model": "org/base", "parameters": {"weight": -0.5}},
            {"model": "org/aligned", "parameters": {"weight": 1.5}},
        ],
        "parameters": {"normalize": False},
        "dtype": "bfloat16",
    }


def test_slerp_takes_lambda_as_t():
    point = next(parse(with_changes(SHORT, parameters__method="slerp")).grid())
    assert point.recipe["base_model"] == "org/base"
    assert point.recipe["parameters"] == {"t": 0.5}


def test_task_vector_methods_take_their_own_lambda_with_weight_one():
    text = with_changes(SHORT, parameters={"method": "ties", "density": 0.4})
    point = next(parse(text).grid())
    assert point.recipe["models"] == [{"model": "org/aligned"}]
    assert point.recipe["parameters"] == {"lambda": 0.5, "weight": 1.0, "density": 0.4}


def test_the_parents_are_the_points_with_lambda_0_and_1():
    base, aligned = parse(SHORT).parents()
    assert (base.id, base.role, base.axes) == ("lambda=0", "base", {"lambda": 0.0})
    assert (aligned.id, aligned.role, aligned.axes) == ("lambda=1", "aligned", {"lambda": 1.0})
    assert base.recipe == {"merge_method": "passthrough", "models": [{"model": "org/base"}], "dtype": "bfloat16"}


def test_parents_are_scored_even_if_no_axis_reaches_them():
    text = with_changes(SHORT, calibration__axes={"lambda": [0.25]})
    sweep = parse(text)
    assert [p.role for p in sweep.parents()] == ["base", "aligned"]
    assert [p.id for p in sweep.grid()] == ["lambda=0.25"]


def test_a_point_at_lambda_1_is_kept_if_the_method_does_not_give_the_parent_there():
    sweep = parse(with_changes(SHORT, parameters={"method": "ties", "density": 0.4}))
    ids = [p.id for p in (*sweep.parents(), *sweep.grid())]
    assert ids == ["lambda=0", "aligned", "lambda=0.5", "lambda=1", "lambda=1.5"]


@pytest.mark.parametrize(
    "value", ["${lambda / 2}", [0.2, "${lambda}"], [{"filter": "mlp", "value": "${lambda}"}, {"value": 0.5}]]
)
@pytest.mark.parametrize("method", ["linear", "slerp", "ties"])
def test_the_ends_are_ordinary_points_if_lambda_is_not_the_axis_itself(method, value):
    text = with_changes(SHORT, parameters={"method": method, "lambda": value})
    text = with_changes(text, calibration__axes={"lambda": [0.0, 1.0]})
    assert [(p.id, p.axes) for p in parse(text).parents()] == [("base", {}), ("aligned", {})]
    assert [p.id for p in parse(text).grid()] == ["lambda=0", "lambda=1"]


def test_lambda_can_be_written_as_a_placeholder():
    sweep = parse(with_changes(SHORT, parameters={"method": "linear", "lambda": " ${ lambda } "}))
    assert [p.id for p in sweep.parents()] == ["lambda=0", "lambda=1"]


@pytest.mark.parametrize(
    "source",
    [
        "org/aligned",
        {"model": "org/aligned"},
        {"model": {"path": "org/aligned"}},
        {"kind": "model_token", "model": "org/aligned", "token": "<|y|>"},
        {"kind": "model_token", "model": {"model": {"path": "org/aligned"}}, "token_id": 3},
    ],
)
def test_a_parent_has_no_tokens_from_another_model(source):
    tokens = {"<|x|>": {"source": source, "force": True}, "<|zero|>": {"source": {"kind": "zero"}}, "<|none|>": {}}
    sweep = parse(with_changes(SHORT, tokenizer={"source": "base", "tokens": tokens}))
    base, aligned = (parent.recipe["tokenizer"] for parent in sweep.parents())
    assert base == {"source": "base", "tokens": {"<|zero|>": {"source": {"kind": "zero"}}, "<|none|>": {}}}
    assert aligned == sweep.point({"lambda": 0.5}).recipe["tokenizer"] == {"source": "base", "tokens": tokens}


def test_ids_differ_if_and_only_if_values_do():
    values = [0.1, 0.1 + 0.2, 0.3, 0.3333331, 0.3333334, 2, 1e39]
    sweep = parse(with_changes(SHORT, calibration__axes={"lambda": values}))
    assert [p.id.removeprefix("lambda=") for p in sweep.grid()] == [
        "0.1",
        "0.3",
        "0.3333331",
        "0.3333334",
        "2",
        "1e+39",
    ]


def test_the_grid_of_the_general_form_has_every_combination():
    points = list(parse(GENERAL).grid())
    assert len(points) == 6
    assert points[1].id == "lambda=0.4,density=0.6"
    assert points[1].recipe["models"][0]["parameters"] == {"weight": 0.4, "density": 0.6}
    assert "calibration" not in points[1].recipe


def test_suite_options_of_the_block_apply_to_entries_without_their_own():
    mmlu, arc = parse(SHORT).calibration.suite
    assert (mmlu.limit, arc.limit) == (100, 500)


def test_a_gradient_over_layers_may_hold_a_placeholder():
    text = with_changes(SHORT, parameters={"method": "linear", "lambda": [0.2, "${lambda}"]})
    point = parse(text).point({"lambda": 0.5})
    assert point.recipe["models"][0]["parameters"]["weight"] == [0.8, 0.5]
    assert point.recipe["models"][1]["parameters"]["weight"] == [0.2, 0.5]


def test_layer_numbers_stay_whole():
    recipe = {"layer_range": ["${cut}", "${cut + 2}"]}
    assert substitute(recipe, {"cut": 3}) == {"layer_range": [3, 5]}


@given(st.floats(-10, 10, allow_nan=False), st.floats(0.1, 10))
def test_arithmetic_in_placeholders_has_pythons_value(a, b):
    value = substitute("${1 - 2 * (a - lambda) / b}", {"a": a, "lambda": 0.5, "b": b})
    assert value == pytest.approx(1 - 2 * (a - 0.5) / b, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["${}", "${a ** 2}", "${__import__('os')}", "${a.b}", "${f(a)}", "x${a}", "${a} ${a}", "${a[0]}"]
)
def test_nothing_but_arithmetic_is_evaluated(text):
    with pytest.raises(PlaceholderError):
        list(names_in({"key": text}))


@given(st.integers(-5, 5), st.integers(1, 40), st.sampled_from([0.05, 0.1, 0.25, 0.3]))
def test_a_range_holds_both_its_ends(start, count, step):
    values = read_axis({"start": float(start), "stop": start + count * step, "step": step}).values
    assert len(values) == count + 1
    assert values[0] == start
    assert values[-1] == pytest.approx(start + count * step)


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (with_changes(GENERAL, calibration__axes={"lamda": [1], "density": [1]}), "models[0]", "did you mean 'lamda'"),
        (
            with_changes(GENERAL, calibration__axes={"lambda": [1], "density": [1], "gamma": [1]}),
            "axes.gamma",
            "never used",
        ),
        (with_changes(GENERAL, calibration__axes={}), "calibration.axes", "at least 1"),
        (with_changes(GENERAL, calibration__axes={"lambda": [], "density": [1]}), "calibration.axes.lambda", "empty"),
        (
            with_changes(GENERAL, calibration__axes={"lambda": [".inf"], "density": [1]}),
            "calibration.axes.lambda",
            "not a number",
        ),
        (
            with_changes(GENERAL, calibration__axes={"lambda": [float("inf")], "density": [1]}),
            "calibration.axes.lambda",
            "not finite",
        ),
        (with_changes(GENERAL, calibration__suite=[]), "calibration.suite", "at least 1"),
        (with_changes(GENERAL, calibration__suite=None), "calibration.suite", "is missing"),
        (with_changes(GENERAL, calibration__suite=["a", "a"]), "calibration", "'a' twice"),
        (
            with_changes(GENERAL, calibration__suite=[{"task": "a", "limt": 3}]),
            "calibration.suite[0].limt",
            "did you mean 'limit'",
        ),
        (
            with_changes(GENERAL, calibration__suite=[{"task": "a", "limit": -3}]),
            "calibration.suite[0].limit",
            "greater than 0",
        ),
        (with_changes(GENERAL, merge_method="tise"), "merge_method", "did you mean 'ties'"),
        (
            with_changes(GENERAL, models=[{"model": f"org/{i}", "parameters": BOTH_AXES} for i in range(8)]),
            "calibration.parents",
            "the recipe names 9 models, each of which would be scored as a parent; at most 8",
        ),
        (
            with_changes(GENERAL, calibration__parents=["org/base", "org/x"]),
            "calibration.parents[1]",
            "not in the recipe",
        ),
        (with_changes(GENERAL, calibration__parents=[]), "calibration.parents", "at least 1"),
        (with_changes(GENERAL, calibration__parents={"base": "a"}), "calibration.parents", "{base: …, aligned: …}"),
        (with_changes(GENERAL, calibration__parents=["a", 3]), "calibration.parents", "as the recipe names them"),
        (with_changes(SHORT, base_model=None), "base_model", "is missing: the short form needs the base model"),
        (with_changes(SHORT, models=[{"model": "b"}, {"model": "c"}]), "models", "exactly one aligned model"),
        (with_changes(SHORT, parameters__method="passthrough"), "parameters.method", "no coefficient"),
        (with_changes(SHORT, parameters__method="liner"), "parameters.method", "did you mean 'linear'"),
        (with_changes(SHORT, parameters__densty=0.5), "parameters.densty", "no such parameter"),
        (with_changes(SHORT, calibration__axes={"lamda": [0.5]}), "calibration.axes", "needs an axis `lambda`"),
        (
            with_changes(SHORT, calibration__axes={"lambda": {"start": 0, "stop": 1}}),
            "calibration.axes.lambda",
            "start, stop and step",
        ),
        (
            with_changes(SHORT, calibration__axes={"lambda": {"start": 0, "stop": 1, "step": -1}}),
            "calibration.axes.lambda",
            "never lead",
        ),
        *(
            (
                with_changes(SHORT, calibration__axes={"lambda": [1], "kind": ["a", "b"]}, **{key: "${kind}"}),
                key,
                "one value",
            )
            for key in ("dtype", "out_dtype", "tokenizer_source", "chat_template")
        ),
        (with_changes(SHORT, tokenizer={"source": "${lambda}"}), "tokenizer.source", "the parents"),
        (
            with_changes(SHORT, calibration__axes={"lambda": {"start": 0, "stop": 1, "step": 1e-7}}),
            "calibration.axes.lambda",
            "are 10,000,001 values",
        ),
        ("calibration: [", "(whole file)", "a [ or { is not closed"),
        ("dtype: a\ncalibration:\n  axes: x: y\n", "(whole file)", "line 3, column 10: is not valid YAML: a `:`"),
        ("calibration: 3", "calibration", "expected a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(text, key, says):
    with pytest.raises(RecipeError) as caught:
        parse(text)
    assert caught.value.source == "sweep.yml"
    assert key in caught.value.key
    assert says in str(caught.value)
    assert "sweep.yml" in str(caught.value)


def test_a_division_by_zero_is_found_before_anything_runs():
    text = with_changes(GENERAL, models=[{"model": "b", "parameters": {"weight": "${lambda / density}"}}])
    text = with_changes(text, calibration__axes={"lambda": [1], "density": [0]})
    with pytest.raises(RecipeError, match=r"divides by zero"):
        list(parse(text).grid())


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (SHORT, True),
        ("merge_method: linear\n# calibration: off\n", False),
        ("merge_method: calibration_sweep\nparameters: {lambda: 0.5}\n", False),
        ("- calibration\n", False),
        ("a: [calibration\n", False),
    ],
)
def test_only_a_top_level_block_makes_a_sweep(text, has):
    assert has_calibration_block(text) is has


@pytest.mark.parametrize(("former", "split"), [("report", "held_out"), ("selection", "selection")])
def test_half_in_a_suite_entry_is_the_former_name_of_split(former, split):
    def sweep(**entry: str) -> Sweep:
        return parse(with_changes(SHORT, calibration__suite=["calib_mmlu", {"task": "arc_easy", **entry}]))

    block = sweep(half=former).calibration
    assert block == sweep(split=split).calibration
    assert [entry.split for entry in block.suite] == [None, split]
    assert "half" not in block.model_dump_json()


def test_an_unknown_split_is_named_under_either_name():
    for key in ("half", "split"):
        with pytest.raises(RecipeError, match="held_out"):
            parse(with_changes(SHORT, calibration__suite=[{"task": "arc_easy", key: "middle"}]))
