"""Placeholders, `${…}` in a recipe: the axes that one names, and the number or name that it stands for.

A placeholder is alone in its string. It is an axis name, or arithmetic on axis names such as `${1 - lambda}`; nothing
else is evaluated.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mergekit_calib.errors import shown
from mergekit_calib.recipe.axes import Number, Value

_PLACEHOLDER = re.compile(r"^\s*\$\{([^}]*)\}\s*$")
_ALMOST = re.compile(r"^\s*\$\(?([A-Za-z_][A-Za-z_0-9]*)\)?\s*$")  # as shells write it: `$lambda`, `$(lambda)`
_LONGEST = 300  # characters of a placeholder in a recipe; expanded axes make longer ones
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class PlaceholderError(Exception):
    """A placeholder cannot be read or computed.

    Args:
        key: its path in the recipe, or the path of the axis that is wrong for it.
        message: what is wrong with it.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key, self.message = key, message
        super().__init__(f"{key}: {message}")


def names_in(recipe: Any, key: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the key path and the axis names of every placeholder in a recipe.

    Args:
        recipe: a recipe, or a part of one.
        key: the path of that part.

    Raises:
        PlaceholderError: a placeholder is neither an axis name nor arithmetic on axis names.
    """
    for path, text in _strings(recipe, key):
        if "${" in text:
            if len(text) > _LONGEST:
                raise PlaceholderError(path, f"{shown(text)} is too long: at most {_LONGEST} characters")
            names, _ = _parse(path, text)
            yield path, names
        elif (found := _ALMOST.match(text)) is not None:
            raise PlaceholderError(path, f'{text!r} is text: a placeholder is written "${{{found[1]}}}"')


def substitute(recipe: Any, axes: Mapping[str, Value], key: str = "") -> Any:
    """Return a copy of a recipe with every placeholder replaced by its value.

    A placeholder that is only an axis name keeps the type of the axis's value: integers, which layer numbers must be,
    stay integers, and names stay names.

    Args:
        recipe: a recipe, or a part of one.
        axes: axis → value.
        key: the path of that part.

    Raises:
        PlaceholderError: a placeholder cannot be read, names an unknown axis, or is not a finite number.
    """
    if isinstance(recipe, dict):
        return {k: substitute(v, axes, f"{key}.{k}" if key else str(k)) for k, v in recipe.items()}
    if isinstance(recipe, list):
        return [substitute(v, axes, f"{key}[{i}]") for i, v in enumerate(recipe)]
    if isinstance(recipe, str) and "${" in recipe:
        names, tree = _parse(key, recipe)
        missing = [name for name in names if name not in axes]
        if missing:
            raise PlaceholderError(key, f"${{{missing[0]}}} is not an axis")
        values = [axes[name] for name in names]
        if isinstance(values[0] if isinstance(tree, ast.Name) else None, str):
            return values[0]
        if words := [value for value in values if isinstance(value, str)]:
            axis = next(name for name in names if axes[name] == words[0])
            raise PlaceholderError(
                f"calibration.axes.{axis}", f"{words[0]!r} is not a number; {key} needs one for {recipe}"
            )
        try:
            value = _evaluate(tree, [value for value in values if not isinstance(value, str)])
            finite = math.isfinite(value)
        except ZeroDivisionError:
            raise PlaceholderError(key, f"{shown(recipe)} divides by zero at {shown(dict(axes), 150)}") from None
        except OverflowError:
            finite = False
        if not finite:
            raise PlaceholderError(key, f"{shown(recipe)} is not finite at {shown(dict(axes), 150)}")
        return value if isinstance(value, int) else round(value, 12)
    return recipe


def replace_axis(recipe: Any, axis: str, value: Callable[[Callable[[str], str]], Any], key: str = "") -> Any:
    """Return a copy of a recipe with every placeholder that names `axis` replaced by a structure of placeholders.

    Args:
        recipe: a recipe, or a part of one.
        axis: the axis that is replaced.
        value: returns the structure; its argument is a function from an expression to the placeholder with that
            expression instead of `axis`.
        key: the path of the part.

    Raises:
        PlaceholderError: a placeholder is not the only value of a parameter, so no structure can replace it.
    """
    if isinstance(recipe, dict):
        return {k: replace_axis(v, axis, value, f"{key}.{k}" if key else str(k)) for k, v in recipe.items()}
    if isinstance(recipe, list):
        return [replace_axis(v, axis, value, f"{key}[{i}]") for i, v in enumerate(recipe)]
    if not isinstance(recipe, str) or "${" not in recipe or axis not in _parse(key, recipe)[0]:
        return recipe
    if not re.search(r"(^|\.)parameters\.[^.\[\]]+$", key):
        message = f"{axis} stands for several values; these can only replace the single value of a parameter"
        raise PlaceholderError(key, message)
    name = re.compile(rf"(?<![\w.]){re.escape(axis)}(?!\w)")
    return value(lambda expression: name.sub(f"({expression})", recipe))


def _strings(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for k, v in node.items():
            yield from _strings(v, f"{key}.{k}" if key else str(k))
    elif isinstance(node, list):
        for i, v in enumerate(node):
            yield from _strings(v, f"{key}[{i}]")
    elif isinstance(node, str):
        yield key, node


def _parse(key: str, text: str) -> tuple[list[str], ast.expr]:
    """Return the axis names in order of appearance, and an expression over `_0`, `_1`, …, which stand for them."""
    match = _PLACEHOLDER.match(text)
    if not match:
        raise PlaceholderError(key, f'{shown(text)}: a placeholder must be the whole value, as in "${{lambda}}"')
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        # `lambda` is a Python keyword, so names are replaced before Python's own parser reads the arithmetic.
        if match.group() not in names:
            names.append(match.group())
        return f"_{names.index(match.group())}"

    # An exponent such as 1e-3 must not be read as a name.
    expression = re.sub(r"(?<![\w.])" + _NAME.pattern, numbered, match.group(1))
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        _evaluate(tree, [1] * len(names))
    except (ZeroDivisionError, OverflowError):
        pass  # where the axes are 1
    except (SyntaxError, TypeError, ValueError, LookupError, RecursionError, MemoryError):
        raise PlaceholderError(
            key, f"{shown(text)} is not an axis name or arithmetic (+ − * /) on axis names"
        ) from None
    return names, tree


def _evaluate(node: ast.expr, values: list[Number]) -> Number:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Name) and re.fullmatch(r"_\d+", node.id, re.ASCII):
        return values[int(node.id[1:])]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, values)
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_evaluate(node.left, values), _evaluate(node.right, values))
    raise ValueError(ast.dump(node))
