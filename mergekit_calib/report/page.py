"""The report as one HTML page that opens from disk: no scripts, nothing fetched, pictures within."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2

from mergekit_calib.frontier import Frontier
from mergekit_calib.report import wording
from mergekit_calib.report.statements import statements
from mergekit_calib.report.tables import frontier_table, metric_rows, summary_sentence

_CAPTIONS = {
    "frontier.png": "The trade-off: the first objective against the second, one mark a point.",
    "lambda.png": "Each objective along the axis; dashed lines are the parents.",
    "reliability.png": "Accuracy at each level of confidence, and how many items have it. On the diagonal, "
    "confidence is honest; dotted below, its mean.",
}


def report_html(frontier: Frontier, pictures: Mapping[str, bytes]) -> str:
    """The page of a finished or running sweep.

    Args:
        pictures: file name → PNG, as `draw_pictures` gives them.
    """
    # Autoescape is the rule that keeps names of models and tasks data; the template marks nothing as safe.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.jinja").render(
        frontier=frontier,
        sentence=summary_sentence(frontier),
        statements=statements(frontier),
        table=frontier_table(frontier),
        pictures=[
            (name, _CAPTIONS.get(name, name), f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}")
            for name, data in pictures.items()
        ],
        metric_rows=metric_rows,
        level=wording.percent(frontier.level),
        failed=sum(p.status == "failed" for p in frontier.points),
    )
