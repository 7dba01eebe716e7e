"""Names that do something in a page, a card, LaTeX, CSV, a terminal or a picture, and a sweep in which all have one."""

from __future__ import annotations

import re
from typing import Final

from helpers.report_factory import make_frontier
from mergekit_calib import Frontier

HOSTILE: Final = {
    "controls": "a\x00b\x1b[31mred\x1b]0;title\x07\x9b2J\x08\x7f",
    "line breaks": "two\nlines\r\nand\tmore\x0b\x85\u2028x\u2029y",
    "direction": "\u202eslive\u2066\u200f\u061c",
    "long": "x" * 3000,
    "long words": "name of a model " * 190,
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(1)><!--\"'</title></style>",
    "javascript": "`${alert(1)}`\\u003cscript>; alert(1) //",
    "markdown": "[a](javascript:alert(1)) ![b](c) `d` **e** | f\n\n# g\n---\n```",
    "latex": "\\input{a}$x^2_{$%#&~^{}\\end{table}",
    "yaml": "a: b\n---\n- {c: d} # !!python/object:os.system\n? &e *f",
    "math": "$\\frac{1}{0$ _^ $$",
    "surrogates": "caf\udce9\ud800",
    "emoji": "👩‍👩‍👧 🏳️‍🌈 ❤️",
    "right to left": "שלום مرحبا",
    "formula": '=HYPERLINK("http://a","b")',
    "rich": "[bold]x[/bold] [/] :smile: [link=http://a]b[/link]",
    "templates": "%s {0} {{ 1/0 }} {% raw %}",
    "empty": " ",
}
# What must not leave in any text: characters that act instead of showing.
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200e\u200f\u061c\ud800-\udfff]")


def hostile_frontier(name: str) -> Frontier:
    """A sweep in which the run, models, roles, axes, points, tasks, metrics, notes and reasons have a hostile name."""
    made = make_frontier(failed=("lambda=0.3",))
    # No stored name has surrogates, since no file can.
    stored = name.encode(errors="backslashreplace").decode()
    renamed = {point.id: f"{i}{stored}" for i, point in enumerate(made.points)}
    for point in made.points:
        point.id = renamed[point.id]
        point.axes = {f"{axis}{stored}": value for axis, value in point.axes.items()}
        point.reason = stored if point.status == "failed" else None
        if point.metrics:
            of_metric = point.metrics["suite"]["ece"]
            point.metrics |= {stored: point.metrics["suite"] | {stored: of_metric}}
        point.dominated_by = {s: [renamed[each] for each in ids] for s, ids in point.dominated_by.items()}
        point.differences = {_role(role, stored): values for role, values in point.differences.items()}
        point.changes = {_role(role, stored): values for role, values in point.changes.items()}
        point.role = None if point.role is None else _role(point.role, stored)
    made.reliability = {renamed.get(point, point): diagram for point, diagram in made.reliability.items()}
    made.models = {_role(role, stored): stored for role in made.models}
    made.axes = {f"{axis}{stored}": values for axis, values in made.axes.items()}
    made.suite = [made.suite[0].model_copy(update={"name": stored})]
    if made.selection is not None:
        chosen = {"point": renamed[made.selection.point], "reason": stored}
        made.selection = made.selection.model_copy(update=chosen)
    return made.model_copy(update={"name": stored, "method": stored, "notes": [stored], "versions": {stored: stored}})


def _role(role: str, name: str) -> str:
    return f"{role}{name}" if role == "aligned" else role
