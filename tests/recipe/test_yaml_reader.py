"""A recipe's YAML is read once, within bounds; each mistake is one line with its place and what would work."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from helpers.mergekit_methods import METHODS
from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.merging.method import registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import (
    Sweep,
    check_plain_short_form,
    has_calibration_block,
    parse_sweep,
    read_file,
    read_yaml,
    text_of_sweep,
)

BLOCK = "calibration:\n  axes: {lambda: [0.5]}\n  suite: [calib_demo]\n"
SHORT = "merge_method: calibration_sweep\nbase_model: org/base\nmodels: [{model: org/aligned}]\n"
TIES = (
    "merge_method: ties\nbase_model: a\nmodels: [{model: b, parameters: {weight: 1.0}}]\n"
    "parameters: {lambda: '${lambda}'}\n"
)


def refusal(text: str) -> RecipeError:
    """Return the error that a sweep's text ends in, with mergekit's real methods and keys."""
    with pytest.raises(RecipeError) as caught:
        parsed(text)
    return caught.value


def parsed(text: str) -> Sweep:
    assert has_calibration_block(text, "sweep.yml")
    return parse_sweep(text, registered_signatures(), "sweep.yml", known_keys())


def notes(text: str) -> str:
    return " ".join(parsed(text).notes)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("value: [0, 0.5, ${t}, 1]", 'line 1, column 18: write the placeholder in quotes, "${t}"'),
        ("a: {b: ${t}}", 'write the placeholder in quotes, "${t}"'),
        ("a: [1\nb: 2", "line 2, column 2: is not valid YAML: did not find expected ',' or ']' (begun in line 1)"),
        ("a: [1, 2", "a [ or { is not closed"),
        ("a: 'x\nb: 1", "a quotation mark is not closed (begun in line 1)"),
        ("a:\n\t- b", "line 2, column 1: a tab cannot indent a line"),
        ("a: b: c", "line 1, column 5"),
        ("a: @b", "begins with @ needs quotes"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: key 'a' is given twice, first in line 1"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins here"),
        ("a: 2024-13-45", "line 1, column 4: '2024-13-45' is a date in YAML"),
        ("a: 2024-01-02", "is a date in YAML"),
        ("a: !!int x", "'x' cannot be read as int"),
        ("a: !!bool maybe", "'maybe' cannot be read as bool"),
        ("a: !!python/object:os.system x", "the tag !!python/object:os.system is not used in recipes"),
        ("a: " + "9" * 5000, "too large a number"),
        ("a: 0x" + "f" * 5000, "too large a number"),
        ("a: " + ":".join(["59"] * 400), "too large a number"),
        ("a: &a [*a]", "line 1, column 4: an alias"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than 32 levels deep"),
        ("a: " + "[" * 1000 + "]" * 1000, "nest"),
        ("a: \0", "line 1, column 4: character U+0000"),
        ("1: x", "key '1' is not text"),
        ("t: {{lambda}}", "a placeholder is written ${…}, in quotes"),
        ("'': x", "a key is empty"),
        ("a: [" + "1, " * 30_000 + "]", "more than 10,000 values"),
        ("a: " + "x" * 300_000, "a recipe can have 256,000"),
    ],
)
def test_a_mistake_in_the_yaml_has_its_place_and_a_remedy(line: str, says: str):
    with pytest.raises(RecipeError) as caught:
        read_yaml(f"{line}\n", "sweep.yml")
    message = str(caught.value)
    assert message.startswith("sweep.yml: (whole file): ")
    assert says in message
    assert len(message) < 500
    assert message.isprintable()


def test_nine_levels_of_ten_aliases_are_refused():
    levels = [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(RecipeError, match=r"with aliases .* expanded, there are more than 10,000 values"):
        read_yaml("\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]", *levels]))


@pytest.mark.parametrize(
    "text",
    ["a: &a {b: 1}\nc: {<<: *a, b: 2}\n", "a: yes\nb: 1e-3\nc: 0o7\nd: ~\ne: 1_000\n", "\ufeffa: 1\n", "", "# x\n"],
)
def test_what_is_valid_is_read_as_pyyaml_reads_it(text: str):
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (f"{SHORT}{BLOCK}# é".encode("latin-1"), "line 7: byte 0xe9 is not UTF-8"),
        (f"{SHORT}{BLOCK}".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        (f"{SHORT}{BLOCK}{'# x' * 400_000}".encode(), "too large for a recipe"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, says: str):
    (tmp_path / "sweep.yml").write_bytes(data)
    for read in (read_file, text_of_sweep):
        with pytest.raises(RecipeError, match=says):
            read(tmp_path / "sweep.yml")


@pytest.mark.parametrize(
    "text",
    [
        "merge_method: linear\nmodels: [{model: a}]\nmodels: []\n",  # a key twice
        "merge_method: linear\ncreated: 2024-01-02\n",
        "merge_method: linear\nmodels: [\n",
        "merge_method: linear  # ${lambda}, and calibration: later\n",
        'merge_method: linear\nchat_template: "{{ x }}${y}"\n',
        "- a list\n",
        "",
    ],
)
def test_what_is_no_sweep_is_left_to_mergekit(text: str):
    assert has_calibration_block(text, "plain.yml") is False


def test_a_plain_file_in_another_encoding_is_left_to_mergekit(tmp_path: Path):
    (tmp_path / "plain.yml").write_bytes("merge_method: linear # é\n".encode("latin-1"))
    assert text_of_sweep(tmp_path / "plain.yml") == ""


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (SHORT + BLOCK.replace("calibration", "calibraton"), "calibraton", "did you mean 'calibration'?"),
        (SHORT + BLOCK.replace("calibration", "Calibration"), "Calibration", "did you mean 'calibration'?"),
        ("parameters:\n  calibration: {axes: {}}\n", "parameters.calibration", "move it to the margin"),
        (TIES, "parameters.lambda", "needs a `calibration:` block"),
        (f"- calibration_sweep\n- {{{BLOCK.splitlines()[0]} 1}}\n", "(whole file)", "is a list"),
        (SHORT + "parametrs: {method: slerp}\n" + BLOCK, "parametrs", "did you mean 'parameters'?"),
        (TIES.replace("weight:", "wieght:") + BLOCK, "models[0].parameters.wieght", "did you mean 'weight'?"),
        (TIES.replace("base_model", "base_modle") + BLOCK, "base_modle", "did you mean 'base_model'?"),
        (TIES.replace("{lambda", "{lamda: 1, lambda") + BLOCK, "parameters.lamda", "did you mean 'lambda'?"),
        (TIES.replace("weight: 1.0", "density: 1.0") + BLOCK, "models[0].parameters.weight", "ties needs it"),
        (TIES.replace("parameters: {lambda: '${lambda}'}", "parameters: 3") + BLOCK, "parameters", "must be a mapping"),
        (SHORT + "parameters: [linear]\n" + BLOCK, "parameters", "must be a mapping"),
        (SHORT.replace("}]", ", parameters: {a: 1}}]") + BLOCK, "models[0].parameters", "not read in the short form"),
        (SHORT + BLOCK.replace("axes:", "axis:"), "calibration.axis", "did you mean 'axes'?"),
        (SHORT + BLOCK.replace("suite:", "suites:"), "calibration.suites", "did you mean 'suite'?"),
        (SHORT + BLOCK.replace("suite:", "tasks:"), "calibration.tasks", "did you mean 'suite'?"),
        (SHORT + BLOCK + "  select: {rule: []}\n", "calibration.select", "must be the name"),
        (SHORT + BLOCK.replace("[0.5]", "{1: 2}"), "(whole file)", "key '1' is not text"),
        (SHORT + BLOCK.replace("[0.5]", "{start: 0, stop: 1, step: 1.0e-320}"), "calibration.axes.lambda", "values"),
        (SHORT + BLOCK.replace("[0.5]", f"[1, {'9' * 401}]"), "(whole file)", "too large"),
        (SHORT + BLOCK.replace("[0.5]", "[1.0e+200]"), "calibration.axes.lambda", "is beyond"),
        (TIES.replace("${lambda}", "$lambda") + BLOCK, "parameters.lambda", '"${lambda}"'),
        (TIES.replace("${lambda}", "$(lambda)") + BLOCK, "parameters.lambda", '"${lambda}"'),
        (TIES.replace("${lambda}", "${" + "-" * 5000 + "lambda}") + BLOCK, "parameters.lambda", "too long"),
        (TIES.replace("${lambda}", "${" + "9" * 290 + "}") + BLOCK, "calibration.axes.lambda", "never used"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_sweep_is_one_line_with_its_key(text: str, key: str, says: str):
    problem = refusal(text)
    assert problem.key == key
    assert says in str(problem)
    assert str(problem).startswith(f"sweep.yml: {key}: ")
    assert len(str(problem)) < 500
    assert str(problem).isprintable()


def test_numbers_that_overflow_in_a_placeholder_are_named():
    text = TIES.replace("${lambda}", "${lambda * lambda * lambda * lambda * 1e30}") + BLOCK.replace("0.5", "1.0e+90")
    sweep = parsed(text)
    with pytest.raises(RecipeError, match=r"parameters.lambda: .* is not finite"):
        list(sweep.grid())


def test_keys_that_mergekit_ignores_too_are_listed_in_one_note():
    text = "const: &w 1.0\n" + TIES.replace("weight: 1.0", "weight: *w, t: 0.5").replace(
        "model: b", "model: b, name: x"
    )
    said = notes(text + BLOCK)
    assert "const, models[0].name, models[0].parameters.t" in said
    assert notes(TIES + BLOCK) == ""


def test_known_keys_are_those_of_mergekits_schema():
    from mergekit.config import MergeConfiguration, OutputSliceDefinition

    assert known_keys().names.keys() == MergeConfiguration.model_fields.keys()
    assert known_keys().names["slices"].names.keys() == OutputSliceDefinition.model_fields.keys()
    in_module = known_keys().names["modules"].below_any
    assert in_module is not None
    assert {"slices", "models", "parameters"} == set(in_module.names)


def test_a_plain_merge_with_the_short_form_is_checked_for_misspelt_keys():
    plain = SHORT + "parameters: {lambda: 0.5}\n"
    assert has_calibration_block(plain) is False
    assert check_plain_short_form(plain, METHODS, known_keys()) == []
    with pytest.raises(RecipeError, match=r"parametrs: .*did you mean 'parameters'"):
        check_plain_short_form(plain.replace("parameters", "parametrs"), METHODS, known_keys())


def test_a_rule_alone_is_short_for_its_mapping():
    short, long = (parse_sweep(SHORT + BLOCK + f"  select: {s}\n", METHODS) for s in ("knee", "{rule: knee}"))
    assert short.calibration == long.calibration


@pytest.mark.parametrize(
    ("written", "meant"), [("accuracy", "acc"), ("acc_nrm", "acc_norm"), ("ECE", "ece"), ("Brier", "brier")]
)
def test_the_usual_names_of_metrics_are_understood(written: str, meant: str):
    assert near_names(written, ["acc", "acc_norm", "aurc", "auroc", "brier", "ece", "nll"]).startswith(
        f" (did you mean '{meant}'"
    )


@pytest.mark.parametrize(
    "text", [SHORT + BLOCK.replace("calibration", "calibraton"), TIES + "calibration: [${lambda}]\n"]
)
def test_mergekits_own_command_ends_in_one_line(tmp_path: Path, text: str):
    from mergekit.scripts.run_yaml import main

    (tmp_path / "sweep.yml").write_text(text)
    ran = CliRunner().invoke(main, [str(tmp_path / "sweep.yml"), str(tmp_path / "out")])
    assert ran.exit_code == 1
    assert ran.output.startswith(f"Error: {tmp_path / 'sweep.yml'}: ")
    assert ran.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
