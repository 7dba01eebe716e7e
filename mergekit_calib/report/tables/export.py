"""Exports of a sweep's table of points: Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mergekit_calib.errors import CalibError, near_names
from mergekit_calib.report.tables.csv_text import csv_text
from mergekit_calib.report.tables.frames import points_frame
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown
from mergekit_calib.report.tables.metric_frames import wide_frame
from mergekit_calib.report.tables.rows import frontier_table, measured_columns, table_caption
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.rule_measures import scores_chosen_on
from mergekit_calib.report.text.safe_text import on_one_line
from mergekit_calib.results.baseline_findings import Baseline
from mergekit_calib.results.findings import Objective, WithMetrics
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.storage.atomic import write_text_atomic

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "−": "$-$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "●": r"$\bullet$",
    "★": r"$\star$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "∞": r"$\infty$",
    "…": r"\ldots{}",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Those, and all characters but printable ASCII and Latin letters with accents.
_SPECIAL = re.compile("|".join([*map(re.escape, _LATEX), "[^ -~¡-ſ]"]))


def as_markdown(frontier: Frontier, measures: Sequence[Objective] = ()) -> str:
    """Return the table of points and baselines, with a caption that says how to read it."""
    caption = table_caption(frontier, measures=measures)
    return f"{frontier_markdown(frontier, measures)}\n\n{escape_markdown(caption)}\n"


def as_csv(frontier: Frontier, measures: Sequence[Objective] = ()) -> str:
    """Return one row for each point: every metric on both splits, or those asked for on the held-out split."""
    return csv_text(wide_frame(frontier, measures) if measures else points_frame(frontier))


def as_json(frontier: Frontier, measures: Sequence[Objective] = ()) -> str:
    """Return the table's points and baselines with unrounded numbers; the whole result is `frontier.json`."""
    columns = list(measures) or measured_columns(frontier)
    chosen_on = [*frontier.objectives, *scores_chosen_on(frontier)]

    def measured(item: WithMetrics) -> dict[str, Any]:
        return {c.name: item.estimate(c).model_dump() for c in columns if item.estimate(c).value is not None}

    def described(baseline: Baseline) -> dict[str, Any]:
        fields = {"id", "kind", "of", "temperatures", "uses_labels", "at", "models_run", "shown"}
        return {**baseline.model_dump(include=fields), "metrics": measured(baseline)}

    points = [
        {
            "id": point.id,
            "role": point.role,
            "axes": point.axes,
            "status": point.status,
            "reason": point.reason,
            "metrics": measured(point),
            "chosen_on": {o.name: point.estimate(o, formatting.chosen_split(frontier)).value for o in chosen_on},
            "differences": {
                role: {name: difference.model_dump() for name, difference in differences.items()}
                for role, differences in point.differences.items()
            },
            "changes": {role: changes.model_dump() for role, changes in point.changes.items()},
            "dominated_by": point.dominated_by,
            "on_frontier": formatting.is_on_frontier(point),
            "frontier_probability": point.frontier_probability,
            "superiority": point.superiority.model_dump() if point.superiority else None,
            "selected": point.selected,
        }
        for point in sorted(frontier.points, key=formatting.point_order)
    ]
    baselines = [described(baseline) for baseline in frontier.baselines]
    about = {"name": frontier.name, "models": frontier.models, "method": frontier.method, "level": frontier.level}
    content = {**about, "split": "held_out", "points": points, "baselines": baselines}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_latex(frontier: Frontier, measures: Sequence[Objective] = ()) -> str:
    """Return a LaTeX `table` with `booktabs` rules: points and baselines, the choice in bold, intervals small."""
    table = frontier_table(frontier, measures).short
    width = len(table.axes) + len(table.measures)
    columns = f"l{'r' * len(table.axes)}{'l' * len(table.measures)}c"
    titles = ["point", *table.axes, *table.measures, "●"]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\small",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line([latex(title) for title in titles]),
        r"\midrule",
    ]
    for row in table.rows:
        label = latex(row.label)
        axes = [latex(value) for value in row.axes]
        if row.outcome:
            lines.append(rf"{label} & \multicolumn{{{width + 1}}}{{l}}{{\emph{{{latex(row.outcome)}}}}} \\")
            continue
        label = rf"\textbf{{{label}}} $\star$" if row.point.selected else label
        lines.append(_line([label, *axes, *map(_cell, row.values), latex(row.frontier)]))
    if table.baselines:
        lines.append(r"\midrule")
        for baseline in table.baselines:
            label = rf"\emph{{{latex(baseline.label)}}}"
            lines.append(_line([label, *[""] * len(table.axes), *map(_cell, baseline.values), ""]))
    caption = latex(f"{formatting.models_line(frontier)}, {frontier.method}. {table_caption(frontier, True, measures)}")
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


Export = Callable[[Frontier, Sequence[Objective]], str]

FORMATS: dict[str, tuple[str, Export]] = {
    "md": (".md", as_markdown),
    "csv": (".csv", as_csv),
    "json": (".json", as_json),
    "latex": (".tex", as_latex),
    "tex": (".tex", as_latex),
}
"""Format → the ending of its file, and the function that writes it. `tex` is the short name of `latex`."""


def checked_formats(formats: Iterable[str], known: Iterable[str] = FORMATS) -> list[str]:
    """Return names of formats without blanks around them.

    Raises:
        CalibError: a format is unknown.
    """
    wanted, names = [name.strip() for name in formats], list(known)
    for name in wanted:
        if name not in names:
            raise CalibError(
                f"--format: there is no format {name!r}{near_names(name, names)}; there are {', '.join(names)}"
            )
    return wanted


def write_exports(
    frontier: Frontier, out_path: str | Path, formats: Iterable[str], measures: Sequence[Objective] = ()
) -> list[Path]:
    """Write the table of points to `out_path/calibration/`: as `points.*`, or as `metrics.*` if metrics are asked for.

    Args:
        frontier: the sweep.
        out_path: its output folder.
        formats: names in `FORMATS`.
        measures: the metrics of the table's columns; the objectives if none.

    Returns:
        The files written.

    Raises:
        CalibError: a format is unknown.
    """
    written = []
    for ending, render in dict.fromkeys(FORMATS[name] for name in checked_formats(formats)):
        path = Path(out_path) / "calibration" / f"{'metrics' if measures else 'points'}{ending}"
        write_text_atomic(path, render(frontier, measures))
        written.append(path)
    return written


def latex(text: str) -> str:
    """Return `text` escaped for LaTeX, so that none of its characters starts a command.

    pdfLaTeX stops at a character that its fonts lack. Those outside the Latin script are written by their numbers, as
    `U+4E2D`.
    """
    return _SPECIAL.sub(lambda m: _LATEX.get(m.group()) or f"U+{ord(m.group()):04X} ", on_one_line(text)).rstrip()


def latex_table(titles: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a LaTeX `table` with `booktabs` rules of texts, which are escaped.

    Args:
        titles: (n_columns,) the titles.
        rows: the cells of each row; the last cell of a shorter row spans the rest.
        caption: the caption.
    """
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering\small"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(titles)}}}", r"\toprule", _line(map(latex, titles)), r"\midrule"]
    for row in rows:
        cells = [latex(cell) for cell in row]
        if len(cells) < len(titles):
            cells[-1] = rf"\multicolumn{{{len(titles) - len(cells) + 1}}}{{l}}{{\emph{{{cells[-1]}}}}}"
        lines.append(_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{latex(caption)}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _cell(cell: tuple[str, str]) -> str:
    value, span = cell
    return f"{latex(value)} {{\\scriptsize {latex(span)}}}" if span else latex(value)


def _line(cells: Iterable[str]) -> str:
    line = f"{' & '.join(cells)} \\\\"
    # LaTeX would read a leading bracket as the optional argument of the `\\` before it.
    return f"{{}}{line}" if line.startswith("[") else line
