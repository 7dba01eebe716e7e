"""The report as one HTML page that opens from disk: charts, style and data within, nothing fetched."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

from markupsafe import Markup

from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.frames import frontier_table, summary_sentence
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.frontier import Frontier

_HERE = Path(__file__).parent
_LIBRARIES = (("d3", "d3.min.js"), ("plot", "plot.umd.min.js"))
_SCRIPTS = ("base", "figure", "rules", "frontier", "reliability", "curves", "point", "table", "main")
# What would end the data block, or a line of script, where it stands.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def report_html(frontier: Frontier) -> str:
    """The page of a finished or running sweep.

    Its scripts are allowed by their hashes alone: a name that got into the markup could not run. Names of models, tasks
    and points are escaped in the markup, and are data to the scripts, which set them as text.
    """
    lead, _, rest = summary_sentence(frontier).partition(". ")
    scripts = _scripts()
    return rendered(
        "page.html.jinja",
        frontier=frontier,
        lead=f"{lead.removesuffix('.')}.",
        rest=rest,
        statements=statements(frontier),
        table=frontier_table(frontier),
        failed=[p for p in frontier.points if p.status == "failed"],
        stopped=sum(p.status == "stopped" for p in frontier.points),
        level=formatting.percent(frontier.level),
        # Not escaped: what this package itself wrote, and data that `_ESCAPES` made harmless.
        stylesheet=Markup(_text("page.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        data=Markup(frontier.model_dump_json().translate(_ESCAPES)),
    )


@functools.cache
def _scripts() -> tuple[str, ...]:
    """The libraries, each below its licence, and the page's own."""
    libraries = [
        f"/*!\n{_text(f'vendor/{licence}.LICENSE')}*/\n{_text(f'vendor/{file}')}" for licence, file in _LIBRARIES
    ]
    own = "\n".join(_text(f"js/{name}.js") for name in _SCRIPTS)
    return (*libraries, f'"use strict";\n{own}')


@functools.cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
