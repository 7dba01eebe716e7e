"""The comparison of several sweeps as one HTML page, with the style and the charts of the report's page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from mergekit_calib.analysis.axis_importance import axis_importances
from mergekit_calib.report.page.report_page import digest, json_block, scripts_of, text_of
from mergekit_calib.report.page.templates import rendered
from mergekit_calib.report.tables.comparison import Compared, caption, comparison_table
from mergekit_calib.report.tables.comparison_pairs import Pair, item_notes, pairs_caption, pairs_table
from mergekit_calib.report.text import formatting
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import PointResult

_SCRIPTS = ("common", "axes", "figure", "marks", "sweeps_plane", "sweeps_along", "parallel", "importance", "sweeps")


def comparison_html(sweeps: Sequence[Compared], found: Sequence[Pair], picture: bytes) -> str:
    """Return the page; its scripts are admitted by their hashes, and names are data that they insert as text.

    Args:
        sweeps: the sweeps.
        found: the comparisons of each two of them.
        picture: an SVG that stands in for the charts where scripts are switched off.
    """
    titles, rows = comparison_table(sweeps)
    pair_titles, pair_rows = pairs_table(found) if found else ([], [])
    scripts = scripts_of(_SCRIPTS)
    return rendered(
        "compare.html.jinja",
        sweeps=sweeps,
        titles=titles,
        rows=rows,
        caption=caption(sweeps),
        pair_titles=pair_titles,
        pair_rows=pair_rows,
        pair_caption=pairs_caption(found) if found else "",
        notes=item_notes(found),
        level=formatting.percent(sweeps[0].frontier.level),
        stylesheet=Markup(text_of("page.css") + text_of("compare.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{digest(script)}'" for script in scripts),
        data=Markup(json_block(_data(sweeps))),
        said=json.dumps({"baselines": {}}),
        # As an image, an SVG can neither run scripts nor fetch anything, whatever the names in it.
        picture=f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}",
    )


def _data(sweeps: Sequence[Compared]) -> dict[str, Any]:
    """Return what the scripts need: an empty sweep for what they share with the report's page, and the sweeps."""
    empty: dict[str, Any] = {name: [] for name in ("points", "objectives", "suite", "baselines")}
    return {
        **empty,
        "finished": True,
        "models": {},
        "axes": {},
        "measures": [
            {"name": m.name, "direction": m.direction if formatting.arrow(m) else None} for m in sweeps[0].measures
        ],
        "sweeps": [_sweep(sweep) for sweep in sweeps],
    }


def _sweep(sweep: Compared) -> dict[str, Any]:
    predicted = sweep.frontier.predicted
    curves: dict[str, Any] = {}
    if predicted is not None:
        along = {m.name: predicted.along(m) for m in sweep.measures}
        curves = {name: list(zip(predicted.values, values, strict=True)) for name, values in along.items() if values}
    return {
        "label": sweep.label,
        "method": sweep.frontier.method,
        "axes": list(sweep.frontier.axes),
        "is_predicted": predicted is not None,
        "predicted": curves,
        "importances": [asdict(each) for each in axis_importances(sweep.frontier, sweep.measures)],
        "points": [_point(point, sweep.measures) for point in sweep.frontier.complete_points],
    }


def _point(point: PointResult, measures: Sequence[Objective]) -> dict[str, Any]:
    values = {m.name: point.estimate(m).model_dump(exclude={"n"}) for m in measures}
    return {
        "id": point.id,
        "role": point.role,
        "axes": point.axes,
        "selected": point.selected,
        "dominated": bool(point.dominated_by.get("held_out")),
        "values": values,
    }
