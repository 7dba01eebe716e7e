"""Print calibration cards, and write them as Markdown and pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mergekit_calib import plugins
from mergekit_calib.cards.calibration_card import ModelScores, Scores
from mergekit_calib.items.metric_registry import IN_ORDER_OF_SUBJECTS
from mergekit_calib.report.figures import drawing
from mergekit_calib.report.figures.plot_reliability import diagrams_figure
from mergekit_calib.report.tables.markdown import escape_markdown, markdown_table
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import excludes_zero
from mergekit_calib.results.findings import SUITE, Estimate
from mergekit_calib.results.frontier import Reliability
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic

_ORDER = [metric.name for metric in IN_ORDER_OF_SUBJECTS]
_GAP = 3  # columns between two cells
_BAR, _SHORTEST_BAR = 24, 12  # columns of a bar of length 1
_WIDTH_OF_ACCURACY = 5  # columns of ` 0.85` behind a bar
_WIDTH_OF_BIN = 9  # columns of `0.80–0.87`
_FEW = 20  # items in a bin below which its accuracy is dimmed


def print_card(card: Scores, console: Console) -> None:
    """Print the table of every scope, and the reliability diagrams of the last scope with choices."""
    for scope in card.scopes:
        console.print(Text(_heading(card, scope)), style="bold")
        console.print(_table(card, scope, console.width))
        diagrams = [(m.name, m.reliability[scope]) for m in card.models if scope in m.reliability]
        if diagrams and scope == [each for each in card.scopes if card.has_choices(each)][-1]:
            console.print(_diagrams(diagrams, console.width))
    for note in card.notes:
        console.print(Text(note))


def write_card(card: Scores, folder: Path) -> None:
    """Write `scores.md`, and `reliability-*.png` of every scope with choices, to `folder`."""
    write_text_atomic(folder / "scores.md", markdown(card))
    for scope in card.scopes:
        shown = [(_panel_title(m, scope), m.reliability[scope]) for m in card.models if scope in m.reliability]
        if shown:
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in scope)[:100]
            write_bytes_atomic(folder / f"reliability-{name}.png", drawing.render(diagrams_figure(shown)))


def markdown(card: Scores) -> str:
    """Return the card as Markdown tables, with names escaped."""
    parts = []
    for scope in card.scopes:
        rows = []
        for metric in _metrics(card, scope):
            cells = [f"{value} {span}{change}".strip() for value, span, change in _cells(card, scope, metric)]
            rows.append([escape_markdown(_label(card, scope, metric)), *cells])
        titles = ["metric", *(escape_markdown(model.name) for model in card.models)]
        table = markdown_table(titles, rows, alignment=f"l{'r' * len(card.models)}")
        parts.append(f"### {escape_markdown(_heading(card, scope))}\n\n{table}")
    return "\n\n".join([*parts, *map(escape_markdown, card.notes)]) + "\n"


def _heading(card: Scores, scope: str) -> str:
    counts = {e.n for m in card.models for e in m.metrics.get(scope, {}).values()}
    items = " or ".join(f"{n:,}" for n in sorted(counts))
    name = "all items with choices" if scope == SUITE else scope
    bins = f", {card.n_bins} bins" if card.has_choices(scope) else ""
    return f"{name} · {items} items · {formatting.percent(card.level)} intervals{bins}"


def _metrics(card: Scores, scope: str) -> list[str]:
    names = {metric for model in card.models for metric in model.metrics.get(scope, {})}
    return [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))


def _label(card: Scores, scope: str, metric: str) -> str:
    registered = plugins.metrics().get(metric.partition(",")[0])
    if registered is not None and registered.signed:
        return metric  # best near 0: no arrow says which way is better
    return f"{metric} {'↑' if card.directions[scope][metric] == 'maximize' else '↓'}"


def _cells(card: Scores, scope: str, metric: str) -> Iterator[tuple[str, str, str]]:
    """Yield for each model the value, the interval, and the difference to the first model if there is one."""
    estimates = [m.metrics.get(scope, {}).get(metric, Estimate(value=None)) for m in card.models]
    places = formatting.decimals(estimates)
    for model, estimate in zip(card.models, estimates, strict=True):
        difference = model.differences.get(scope, {}).get(metric)
        change = ""
        if difference is not None and difference.value is not None:
            star = "*" if excludes_zero(difference) else ""
            change = f" ({formatting.number(difference.value, places, signed=True)}{star})"
        yield formatting.number(estimate.value, places), formatting.bracketed(estimate, places), change


def _table(card: Scores, scope: str, width: int) -> RenderableType:
    """Return the models side by side, or below each other for each metric if that is wider than `width`."""
    rows = {metric: [_assembled(*cell) for cell in _cells(card, scope, metric)] for metric in _metrics(card, scope)}
    names = [Text(model.name, overflow="fold") for model in card.models]
    labels = {metric: Text(_label(card, scope, metric)) for metric in rows}
    # Names may be folded, numbers may not.
    widths = [max((cells[k].cell_len for cells in rows.values()), default=0) for k in range(len(names))]
    needed = max((label.cell_len for label in labels.values()), default=0) + sum(_GAP + each for each in widths) + 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("")
    if needed <= width:
        for name in names:
            table.add_column(name, justify="left")
        for metric, cells in rows.items():
            table.add_row(labels[metric], *cells)
    else:
        table.add_column("model", overflow="fold")
        table.add_column("", no_wrap=True)
        for metric, cells in rows.items():
            for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
                table.add_row(labels[metric] if i == 0 else "", name, cell, end_section=i == len(names) - 1)
    if not any(model.differences.get(scope) for model in card.models):
        return table
    level = formatting.percent(card.level)
    legend = f"In brackets: the paired difference to {card.models[0].name}; * if its {level} interval excludes 0."
    return Group(table, Text(legend, style="dim"), Text())


def _assembled(value: str, interval: str, change: str) -> Text:
    return Text.assemble(value, " ", (interval, "dim"), (change, "bold" if change.endswith("*)") else ""))


def _diagrams(diagrams: Sequence[tuple[str, Reliability]], width: int) -> RenderableType:
    """Return the diagrams as one table with a bar for each model, or as one table each if that is wider than `width`.

    A bar is the accuracy in a bin of confidence, with the confidence above (░) or below (▒) it.
    """
    widest = max(len(f"{max(diagram.counts):,}") for _, diagram in diagrams)
    bar = (width - _WIDTH_OF_BIN) // len(diagrams) - (4 + _WIDTH_OF_ACCURACY + max(widest, len("items")))
    if any(diagram.edges != diagrams[0][1].edges for _, diagram in diagrams) or (bar < _SHORTEST_BAR):
        return Columns([_diagram([each], _BAR) for each in diagrams], padding=(0, 4))
    return _diagram(diagrams, min(bar, _BAR))


def _diagram(diagrams: Sequence[tuple[str, Reliability]], length: int) -> RenderableType:
    """Return a table of the bins in which a model has items; a bar is of `length` columns where accuracy is 1."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(Text("confidence", style="dim"), style="dim", vertical="bottom")
    for name, _ in diagrams:
        table.add_column(Text(name, overflow="fold"), width=length + _WIDTH_OF_ACCURACY)
        table.add_column("items", justify="right", vertical="bottom")
    edges = diagrams[0][1].edges
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        cells = [_bin(diagram, i, length) for _, diagram in diagrams]
        if any(count for _, count in cells):
            table.add_row(f"{low:.2f}–{high:.2f}", *(each for pair in cells for each in pair))
    return Group(table, Text("▇ accuracy   ░ overconfident by   ▒ underconfident by", style="dim"))


def _bin(diagram: Reliability, i: int, length: int) -> tuple[Text, str]:
    """Return the bar of a bin and its number of items; both are empty if it has none."""
    count, accuracy, confidence = diagram.counts[i], diagram.accuracy[i], diagram.confidence[i]
    if accuracy is None or confidence is None:
        return Text(), ""
    accurate, confident = (round(length * x) for x in (accuracy, confidence))
    bar = Text("▇" * min(accurate, confident), style="blue")
    bar.append("░" * (confident - accurate), style="red")
    bar.append("▒" * (accurate - confident), style="green")
    bar.append(f" {accuracy:.2f}", style="dim" if count < _FEW else "")
    return bar, f"{count:,}"


def _panel_title(model: ModelScores, scope: str) -> str:
    name = model.name.rstrip("/").rsplit("/", 1)[-1]
    estimates = model.metrics.get(scope, {})
    numbers = [f"{m} {formatting.number(estimates[m].value)}" for m in ("acc", "ece") if m in estimates]
    return f"{name[:20]}\n{'   '.join(numbers)}"
