"""Write the chosen model of a sweep, and what goes with it: the record, the result, the report."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.recipe import Point
from mergekit_calib.report.report_files import write_report
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.served_findings import load_checks
from mergekit_calib.sweep.adapter_form import note_on_adapter, write_adapter_form
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.prepared import Prepared


def points_of(prepared: Prepared, frontier: Frontier) -> dict[str, Point]:
    """Return id → point, for each point of a result."""
    parents = {parent.role: parent for parent in prepared.parents}
    return {p.id: parents[p.role] if p.role else prepared.point(p.axes) for p in frontier.points}


def write_choice(prepared: Prepared, frontier: Frontier, progress: Progress) -> None:
    """Write the chosen model, made by mergekit from its plain recipe, and the report.

    Args:
        prepared: the sweep, whose folder this process has to itself.
        frontier: its result, with a choice.
        progress: is told if the folder held another point's model.
    """
    points = points_of(prepared, frontier)
    write_model(prepared, frontier, points, prepared.folder, progress)
    prepared.record(points.values())
    save_result(frontier, prepared.folder, prepared.options.write_model_card)
    prepared.folder.remove_scratch()


def write_model(
    prepared: Prepared,
    frontier: Frontier,
    points: Mapping[str, Point],
    folder: RunFolder,
    progress: Progress,
    as_adapter: bool = False,
) -> None:
    """Write the chosen model into a folder, unless it is there; check that it is the one that was scored.

    With `as_adapter`, write its adapter instead, and a note on it into the result.
    """
    selected = frontier.selected
    assert selected is not None
    assert selected.digest is not None  # a point that was scored has one
    digest = selected.digest
    folder.check_is_there()
    point, models = points[selected.id], prepared.point_models()
    if as_adapter:
        folder.write_model(lambda to: write_adapter_form(point, prepared, to), f"adapter of {digest}", selected.id)
        frontier.notes = [*frontier.notes, note_on_adapter(point)]
    elif replaced := folder.write_model(lambda to: models.write(point, to, digest), digest, selected.id):
        progress.folder_noted(replaced)


def save_result(frontier: Frontier, folder: RunFolder, card: bool) -> None:
    """Write the result, as finished, and its report into a folder."""
    frontier.finished = True
    frontier.served = [
        check
        for check in load_checks(folder.calibration)
        if (selected := frontier.selected) and (check.point, check.digest) == (selected.id, selected.digest)
    ]
    folder.save(frontier)
    write_report(frontier, folder.path, card=card)
