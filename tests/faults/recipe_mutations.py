"""Mutations of recipes: mistakes of typing in the text, and hostile values in the tree."""

from __future__ import annotations

import copy
import datetime
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]

PLACEHOLDERS = [
    "${lambda}",
    "${lamda}",
    "$lambda",
    "${}",
    "${1 - lambda}",
    "${lambda lambda}",
    "${" + "-" * 5000 + "lambda}",
    "${" + "(" * 3000 + "1" + ")" * 3000 + "}",
    "${" + "9" * 5000 + "}",
    "${lambda * 1e308 * 1e308}",
    "${" + " * ".join(["lambda * 99999999999999999999"] * 7) + "}",
    "${lambda / 0}",
    "${1e999}",
    "${lambda.real}",
    "${é1}",
    "${lambda if lambda else 1}",
    "${'a' * lambda}",
    "${1j}",
    "${lambda} ${lambda}",
    "${\n}",
    "${lambda",
]
HUGE: list[Any] = [10**400, -(10**30), 2**63, 1.0e-320, 1.0e308, -1.0e308, float("inf"), float("nan"), 0.1 + 0.2]
TEXTS: list[Any] = [
    "", " ", "a\nb", "x" * 3000, "é" * 600, "\u202e<script>", "../..", "~nobody/x.yaml", "no/such.yaml",
    "a,b=c", "a@b@c",
    "a+b+c", "@", "+", "org/model@main+org/lora", "true", "1e-3", "0x1F", "auto", "knee", "accuracy", "ECE", "linear",
    "calibration_sweep", "{{ x }}", "acc/ece", "*", "[", "cuda:99", "sqlite://", "None", "lambda",
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1.5, [], {}, [[]], [{}], {"a": 1}, {1: 2}, {None: 1}, {True: "x"},
    {"": ""}, [1, "a"], [None], ["a", "a"], [0.1, 0.1], {"value": None}, [{"filter": "mlp", "value": 0.5}],
    [{"value": [0, 1]}], {"start": 0, "stop": 1, "step": 1.0e-320}, {"start": 0, "stop": 1, "step": 1e-9},
    {"min": 1, "max": 0}, {"min": -1.7e308, "max": 1.7e308}, {"min": 0, "max": 1, "blocks": 10**9},
    {"min": 0, "max": 1, "filters": [f"part{i}" for i in range(200)]}, {"rule": []}, {"rule": {"a": 1}},
    {"task": "arc_easy", "limit": 0}, {"metric": "acc", "weights": {"a": "b"}}, {"path": "a", "revision": 1},
    {"model": {"path": None}}, {"kind": "zero"}, datetime.date(2024, 1, 2), b"bytes", {1, 2}, (1, 2),
    [0] * 500, {f"k{i}": i for i in range(300)}, ["x"] * 3000,
]  # fmt: skip
KEYS: list[Any] = [
    "calibraton", "Calibration", "parametrs", "parameter", "modles", "axis", "suites", "tasks", "objektives", "weigth",
    "name", "int8_mask", "densty", "", " ", "x" * 3000, "a.b", "a\nb", "calibration", "models", "slices", "modules",
    "base_model", "tokenizer", "tokenizer_source", "parameters", "method", "lambda", "task", "metric", "rule", 1, None,
    True, 1.5, "<<", "=", "layer_range", "filter", "value", "t", "residual_weight", "é",
]  # fmt: skip
CHARACTERS = [
    *"{}[],:#&*!|>'\"%@`$-?\t\n\0\ufeff\u2028 0e.~",
    "${",
    "<<: ",
    "--- ",
    "\r\n",
    "\x85",
    "\x1b",
    "---\n",
]
LINES = [
    "calibraton:", "parametrs: {method: slerp}", "- a", "  x: 1", "%YAML 1.1", "...", "---", "a: *b",
    "a: &a [*a]", "? {}",
    "a: 2024-13-45", "a: 2024-01-02", "a: !!int x", "a: !!python/object:os.system x", "a: !!binary x",
    "a: !!set {a, b}",
    "a: " + "9" * 5000, "a: 0x" + "f" * 5000, "a: " + ":".join(["59"] * 400), "a: 1.0e+400", "a: .inf",
    "a: " + "[" * 1200,
    "a: " + "{a: " * 1200, "a: " + "[" * 1000 + "]" * 1000, "value: [0, ${t}, 1]", "t: {{lambda}}", "t: {lambda}",
    "merge_method: linear", "<<: {merge_method: ties}", "a: !!float x", "a: !foo 1", "lambda: $lambda",
    "a: !!timestamp x",
    "on: yes", "? [a, b]\n: 1", "a: !!bool maybe", "a: !!omap [a: 1]", "a: !!merge x", "'a': \"\\x00\"", '"\\ud800": 1',
]  # fmt: skip
BOMBS = [
    "\n".join(
        ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
        + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    ),
    "\n".join(
        ["a: &a {x: y}"]
        + [
            f"{b}: &{b} {{<<: [*{a}, *{a}], k{b}: [*{a}, *{a}]}}"
            for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
        ]
    ),
    "a: &a {b: *a}",
    "\n".join("- " * i + "x" for i in range(1, 200)),
]


def recipes() -> dict[str, str]:
    """Return name → text of the recipes that are mutated: shipped ones, public ones, and some with every key."""
    paths = [*TOP.glob("configs/*.yml"), *TOP.glob("tests/public_recipes/recipes/*.yml")]
    own = [*Path(__file__).parent.glob("recipes/*.yml")]
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted([*paths, *own])}


def mutant(seed: int, number: int, bases: dict[str, str]) -> tuple[str, str]:
    """Return one mutant's text, and how it was made; the same for the same seed and number.

    Args:
        seed: of all mutants.
        number: of this one.
        bases: name → recipe.
    """
    draw = random.Random(f"{seed} {number}")
    name = draw.choice(sorted(bases))
    text, steps = bases[name], [name]
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3))):
        in_tree = draw.random() < 0.55
        mutation = draw.choice(OF_TREES if in_tree else OF_TEXTS)
        steps.append(mutation.__name__)
        text = _in_tree(text, mutation, draw) if in_tree else mutation(text, draw)
    return text, " ".join(steps)


def _in_tree(text: str, mutation: Callable[[Any, random.Random], Any], draw: random.Random) -> str:
    try:
        tree = yaml.load(text, yaml.CSafeLoader)
        changed = mutation(tree, draw)
        return yaml.dump(
            changed, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=draw.choice((None, False, True))
        )
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError, MemoryError, TypeError):
        return text  # an earlier mutation of the text left no tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of every value."""
    left, seen = [tree], set()
    while left:
        node = left.pop()
        if id(node) in seen or len(seen) > 5000:
            continue
        seen.add(id(node))
        items = (
            list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
        )
        for key, value in items:
            yield node, key
            left.append(value)


def _place(tree: Any, draw: random.Random) -> tuple[Any, Any]:
    places = list(_places(tree))
    return draw.choice(places) if places else ([None], 0)


def _nasty(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(draw.choice((PLACEHOLDERS, HUGE, TEXTS, OTHERS))))


def replace_value(tree: Any, draw: random.Random) -> Any:
    holder, key = _place(tree, draw)
    holder[key] = _nasty(draw)
    return tree


def swap_values(tree: Any, draw: random.Random) -> Any:
    (holder, key), (other, other_key) = _place(tree, draw), _place(tree, draw)
    holder[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(holder[key])
    return tree


def remove_value(tree: Any, draw: random.Random) -> Any:
    holder, key = _place(tree, draw)
    del holder[key]
    return tree


def rename_key(tree: Any, draw: random.Random) -> Any:
    holder, key = _place(tree, draw)
    if isinstance(holder, dict):
        letters = list(str(key))
        if letters and draw.random() < 0.5:
            del letters[draw.randrange(len(letters))]
            new = "".join(letters)
        else:
            new = draw.choice(KEYS)
        items = [(new if k == key else k, v) for k, v in holder.items()]
        holder.clear()
        holder.update(items)
    return tree


def add_key(tree: Any, draw: random.Random) -> Any:
    holder, _ = _place(tree, draw)
    if isinstance(holder, dict):
        holder[draw.choice(KEYS)] = _nasty(draw)
    else:
        holder.append(_nasty(draw))
    return tree


def nest_value(tree: Any, draw: random.Random) -> Any:
    holder, key = _place(tree, draw)
    for _ in range(draw.choice((1, 1, 1, 2, 60))):
        holder[key] = [holder[key]] if draw.random() < 0.5 else {draw.choice(("value", "a", "model")): holder[key]}
    return tree


def alias_value(tree: Any, draw: random.Random) -> Any:
    (holder, key), (other, other_key) = _place(tree, draw), _place(tree, draw)
    holder[key] = tree if draw.random() < 0.2 else other[other_key]
    return tree


def repeat_value(tree: Any, draw: random.Random) -> Any:
    holder, key = _place(tree, draw)
    holder[key] = [holder[key]] * draw.choice((2, 2, 9, 3000))
    return tree


def whole_tree(tree: Any, draw: random.Random) -> Any:
    return draw.choice((_nasty(draw), [tree], {"calibration": tree}))


def delete_characters(text: str, draw: random.Random) -> str:
    start = draw.randrange(len(text) + 1)
    return text[:start] + text[start + draw.choice((1, 1, 2, 5, 40)) :]


def insert_character(text: str, draw: random.Random) -> str:
    start = draw.randrange(len(text) + 1)
    return text[:start] + draw.choice(CHARACTERS) + text[start:]


def swap_characters(text: str, draw: random.Random) -> str:
    start = draw.randrange(max(len(text) - 1, 1))
    return text[:start] + text[start + 1 : start + 2] + text[start : start + 1] + text[start + 2 :]


def change_line(text: str, draw: random.Random) -> str:
    """Delete, duplicate, move, indent or outdent one line."""
    lines = text.split("\n")
    i = draw.randrange(len(lines))
    change = draw.choice(("delete", "duplicate", "move", "indent", "outdent", "tab", "cut"))
    if change in ("delete", "move"):
        line = lines.pop(i)
        if change == "move":
            lines.insert(draw.randrange(len(lines) + 1), line)
    elif change == "duplicate":
        lines.insert(i, lines[i])
    elif change == "cut":
        lines = lines[:i]
    else:
        lines[i] = {"indent": "  ", "tab": "\t", "outdent": ""}[change] + lines[i].removeprefix(
            "  " * (change == "outdent")
        )
    return "\n".join(lines)


def insert_line(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    i = draw.randrange(len(lines) + 1)
    before = lines[i - 1] if i else ""
    indent = before[: len(before) - len(before.lstrip())]
    return "\n".join([*lines[:i], indent + draw.choice(LINES), *lines[i:]])


def add_bomb(text: str, draw: random.Random) -> str:
    return f"{draw.choice(BOMBS)}\n{text}" if draw.random() < 0.5 else f"{text}\n{draw.choice(BOMBS)}\n"


def unquote(text: str, draw: random.Random) -> str:
    """Remove the quotes around a placeholder, or all quotes."""
    return text.replace('"${', "${").replace('}"', "}") if draw.random() < 0.7 else text.replace('"', "")


def misspell_word(text: str, draw: random.Random) -> str:
    words = [word for word in text.replace(":", " ").split() if len(word) > 3]
    if not words:
        return text
    word = draw.choice(words)
    i = draw.randrange(len(word))
    return text.replace(word, word[:i] + word[i + 1 :], draw.choice((1, -1)))


OF_TREES = [
    replace_value, replace_value, replace_value, replace_value, swap_values, remove_value, rename_key,
    rename_key, add_key,
    add_key, nest_value, alias_value, repeat_value, whole_tree,
]  # fmt: skip
OF_TEXTS = [
    delete_characters, delete_characters, insert_character, insert_character, swap_characters, change_line, change_line,
    insert_line, insert_line, add_bomb, unquote, misspell_word,
]  # fmt: skip
