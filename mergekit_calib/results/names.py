"""The names of points as people read them: `λ = 0.6, density = 0.5` for the id `lambda=0.6,density=0.5`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NEXT_AXIS = re.compile(r",(?=[A-Za-z_]\w*=)")
_SETTING = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d.]*(e[+-]?\d+)?")


def point_name(point_id: str) -> str:
    """Return the name that people read for a point's id. An id that is not a list of settings is its own name.

    Files use ids: `frontier.json`, `points.csv`, item scores, the page's `data-point` attributes.

    Example:
        >>> point_name("lambda=0.6,density=0.5")
        'λ = 0.6, density = 0.5'
        >>> point_name("base")
        'base'
    """
    settings = [_SETTING.fullmatch(part) for part in _NEXT_AXIS.split(point_id)]
    named = [f"{axis_name(part[1])} = {_value(part[2])}" for part in settings if part is not None]
    return ", ".join(named) if len(named) == len(settings) else point_id


def axis_name(axis: str) -> str:
    """Return the name that people read for an axis: `λ` for `lambda`."""
    return "λ" if axis == "lambda" else axis


def metric_key(metric: str, to: str | None) -> str:
    """Return a metric's key in results: its name, or `kl_to_aligned` if it compares with the parent of a role."""
    return metric if to is None else f"{metric}_to_{to}"


def with_point_names(text: str, point_ids: Iterable[str]) -> str:
    """Return `text` with each id of a point replaced by the point's name.

    For sentences that are stored with a result; those that earlier versions stored contain ids.
    """
    names = {point_id: name for point_id in point_ids if (name := point_name(point_id)) != point_id}
    if not names:
        return text
    # The longest first: one id can be the start of another.
    ids = "|".join(re.escape(point_id) for point_id in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.])({ids})(?![.,]?\w)", lambda match: names[match[1]], text)


def _value(value: str) -> str:
    return value.replace("-", "−") if _NUMBER.fullmatch(value) else value
