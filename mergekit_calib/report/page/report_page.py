"""The report as one HTML page that opens from disk: it contains charts, style and data, and fetches nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mergekit_calib.analysis.axis_importance import axis_importances
from mergekit_calib.pareto import DEFAULT_RULE
from mergekit_calib.report.page.answering_section import answering_section
from mergekit_calib.report.page.cross_fitted import cross_fitted_table
from mergekit_calib.report.page.prose import shown_and_folded
from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.rows import frontier_table
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.answer import answer_lines, how_chosen
from mergekit_calib.report.text.safe_text import printable
from mergekit_calib.report.text.statements import statements
from mergekit_calib.report.text.user_changes import KL_IS_NOT_QUALITY
from mergekit_calib.results.frontier import Frontier

_HERE = Path(__file__).parent
_LIBRARIES = (("d3", "d3.min.js"), ("plot", "plot.umd.min.js"))
_SCRIPTS = (
    "common",
    "axes",
    "figure",
    "marks",
    "labels",
    "blends",
    "predicted",
    "rules",
    "frontier",
    "reliability",
    "curves",
    "point",
    "table",
    "answering",
    "parallel",
    "importance",
    "several_axes",
    "main",
)
# Characters that could end the data block or a line of script.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def report_html(frontier: Frontier) -> str:
    """Return the page of a finished or running sweep.

    Its content security policy lists the hashes of its own scripts, so no script in a name can run. Names of models,
    tasks and points are escaped in the markup; the scripts read them as data and insert them as text.
    """
    lead, *rest = answer_lines(frontier)
    shown, folded = shown_and_folded([lead, *rest], statements(frontier))
    scripts = scripts_of(_SCRIPTS)
    return rendered(
        "page.html.jinja",
        frontier=frontier,
        lead=lead,
        rest=rest,
        shown=shown,
        folded=folded,
        table=frontier_table(frontier),
        failed=[(p.name, formatting.failure_reason(frontier, p)) for p in frontier.points if p.status == "failed"],
        notes=[formatting.sentence(frontier, note) for note in frontier.notes],
        how_chosen=how_chosen(frontier),
        crossed=cross_fitted_table(frontier),
        answering=answering_section(frontier),
        stopped=sum(p.status == "stopped" for p in frontier.points),
        level=formatting.percent(frontier.level),
        # Not escaped: the package's own text, and data that `_ESCAPES` made harmless.
        stylesheet=Markup(text_of("page.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{digest(script)}'" for script in scripts),
        data=Markup(json_block(json.loads(frontier.model_dump_json()))),
        said=json.dumps(_printed(_said(frontier))),
    )


def json_block(data: Any) -> str:
    """Return data as JSON for a script element: printable, and without characters that could end the element."""
    return json.dumps(_printed(data), ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def _printed(data: Any) -> Any:
    """Return JSON data with all text printable but recipes, which readers copy."""
    if isinstance(data, dict):
        return {printable(key): value if key == "recipe" else _printed(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_printed(each) for each in data]
    return printable(data) if isinstance(data, str) else data


def _said(frontier: Frontier) -> dict[str, Any]:
    """Return what the scripts need beside the result: words that other reports use too, and the default rule."""
    return {
        "baselines": {b.id: formatting.baseline_name(frontier, b) for b in frontier.baselines},
        "default_rule": DEFAULT_RULE,
        "kl_note": KL_IS_NOT_QUALITY,
        # Not of a running sweep, whose page is written after every point.
        "importances": [asdict(each) for each in axis_importances(frontier)] if frontier.finished else [],
    }


@functools.cache
def scripts_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the libraries, each below its licence, and the page's own scripts of these names."""
    libraries = [
        f"/*!\n{text_of(f'vendor/{licence}.LICENSE')}*/\n{text_of(f'vendor/{file}')}" for licence, file in _LIBRARIES
    ]
    own = "\n".join(text_of(f"js/{name}.js") for name in names)
    return (*libraries, f'"use strict";\n{own}')


@functools.cache
def text_of(name: str) -> str:
    """Return the text of a file in this folder."""
    return (_HERE / name).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """Return a script's hash, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
