"""Another choice from a finished sweep: a point that a person names, or what another rule chooses.

Nothing is scored again. A point that the sweep has not scored is scored first, as its own points were.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mergekit.options import MergeOptions

from mergekit_calib.analysis.decided_choice import Choosing
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.results.decision import Decision
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name
from mergekit_calib.search.protocol import Outcome
from mergekit_calib.sweep.adapter_form import check_adapter_form
from mergekit_calib.sweep.asked_point import AskedPoint
from mergekit_calib.sweep.chosen_model import points_of, save_result, write_model
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.folder_checks import check_usable
from mergekit_calib.sweep.frontier_builder import FrontierBuilder
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.sweep.validation import check_rule, rule_scores_of


def decision_in(prepared: Prepared) -> Decision | None:
    """Return the decision that is recorded in a sweep's folder, checked against the sweep; None if there is none.

    Raises:
        CalibError: it cannot be read, or is not possible in this sweep.
    """
    decision = Decision.load(prepared.folder.calibration)
    if decision is not None and decision.select is not None:
        _check_rule(decision.select, prepared)
    elif decision is not None:
        AskedPoint.of_decision(decision, prepared)
    return decision


def choose_again(
    stored: StoredSweep,
    point: str | None,
    select: Mapping[str, Any] | None,
    to: Path | None,
    progress: Progress,
    as_adapter: bool = False,
) -> Frontier:
    """Choose another point of a finished sweep, and write its model by mergekit with its card.

    Args:
        stored: the finished sweep.
        point: the point that a person names; None if a rule chooses.
        select: the rule that chooses, as a recipe's `select`; None for the recipe's own, if no point is named.
        to: a new folder for the model and its report, which leaves the sweep's folder as it is; None to replace the
            model in the sweep's folder, and to record the decision there.
        progress: receives the events.
        as_adapter: write the adapter of a `base+lora` recipe with its change scaled, not the merged model; needs `to`.

    Returns:
        The result with the new choice.

    Raises:
        CalibError: there is no such point or rule, the parents have changed, the sweep is running, or the weights that
            mergekit writes are not those that were scored.
    """
    if not stored.frontier.finished:
        raise CalibError(f"the sweep in {stored.folder} is not finished; run its command again, which goes on with it")
    prepared = prepared_again(stored, writes_model=to is None)
    decision = None if select is None else Decision(select=dict(select))
    if decision is not None and decision.select is not None:
        _check_rule(decision.select, prepared)
    target = prepared.folder if to is None else _new_folder(to, stored.folder)
    with prepared.folder.joined(prepared.study_name) as session:
        if not session.is_first:
            raise CalibError(f"a sweep is running in {stored.folder}; wait until it has ended")
        with prepared.folder.alone():
            prepared.adopt_earlier_scores()
            prepared.merge_adapters()
            asked = None if point is None else AskedPoint.named(point, prepared, stored.frontier)
            if asked is not None:
                decision = asked.decision
                if as_adapter:
                    check_adapter_form(asked.point, prepared)
            known = {p.id: p for p in stored.frontier.points}
            if asked is not None and asked.point.id in known:
                _check_complete(known[asked.point.id])
            elif asked is not None:
                _check_comparable(stored, prepared)
            outcomes = _outcomes(stored, prepared)
            if asked is not None and all(o.point.id != asked.point.id for o in outcomes):
                outcomes.append(asked.outcome(prepared, progress))
            progress.concluding()
            frontier = _restated(stored, prepared, outcomes, decision)
            points = points_of(prepared, frontier)
            if to is None:
                if decision is None:
                    Decision.remove(target.calibration)
                else:
                    decision.save(target.calibration)
            try:
                write_model(prepared, frontier, points, target, progress, as_adapter)
            except CalibError as problem:
                if changed := _changed_models(stored, prepared):
                    raise CalibError(f"{problem}; the files of {changed[0]} have changed since") from problem
                raise
            keys = {p.id: prepared.key_of(p) for p in points.values() if p.id not in stored.keys}
            frontier.name = target.path.resolve().name
            target.record({**stored.record, "points": {**stored.keys, **keys}})
            save_result(frontier, target, prepared.options.write_model_card)
            prepared.folder.remove_scratch()
    return frontier


def prepared_again(stored: StoredSweep, writes_model: bool) -> Prepared:
    """Return the sweep as its record describes it, checked."""
    source = str(stored.folder / "calibration" / "sweep.yml")
    text = stored.record.get("yaml")
    if not isinstance(text, str):
        raise CalibError(
            f"{source} was written by an earlier version, without the recipe's text; run the sweep's command once "
            "more: it scores nothing again, and records it"
        )
    register()
    sweep = parse_sweep(text, registered_signatures(), source, known_keys())
    given = stored.record.get("merge_options")
    own = {k: v for k, v in given.items() if k != "lora_merge_cache"} if isinstance(given, dict) else {}
    return prepare(sweep, stored.folder, MergeOptions.model_validate(own), writes_model=writes_model)


def _outcomes(stored: StoredSweep, prepared: Prepared) -> list[Outcome]:
    """Return what the sweep found of each of its points, but not of one that a person has asked for before."""
    before = Decision.load(prepared.folder.calibration)
    points, outcomes = points_of(prepared, stored.frontier), []
    for result in stored.frontier.points:
        if before and result.id == before.point and result.id in _asked_ids(stored):
            continue
        key = stored.keys.get(result.id, "")
        found = None if result.status == "failed" else _load(prepared, key, result)
        outcomes.append(Outcome(points[result.id], 0, found, result.reason))
    return outcomes


def _load(prepared: Prepared, key: str, result: PointResult) -> Any:
    items = prepared.folder.items
    if found := items.load(key) or (items.load_part(key) if result.status == "stopped" else None):
        return found
    raise CalibError(
        f"{prepared.folder.path}: the item scores of {result.name} in calibration/items are missing or damaged; the "
        "sweep's command scores it again"
    )


def _asked_ids(stored: StoredSweep) -> list[str]:
    """Return the ids of points that are in the result because a person asked for them."""
    return [point.id for point in stored.frontier.points if point.asked]


def _restated(stored: StoredSweep, prepared: Prepared, outcomes: list[Outcome], decision: Decision | None) -> Frontier:
    """Return the result with everything that depends on the choice computed anew."""
    before = stored.frontier
    parents = {p.role: prepared.folder.items.load(stored.keys[p.id]) for p in before.parents if p.id in stored.keys}
    roles = {o.to for o in prepared.objectives if o.to is not None}
    references = {role: scores.tables for role, scores in parents.items() if role in roles and scores is not None}
    analysis = prepared.analysis(references)
    frontier = prepared.new_frontier()
    frontier.created, frontier.versions = before.created, before.versions
    builder = FrontierBuilder(frontier, analysis, Choosing(prepared.sweep.calibration.select, decision))
    seen = {point.id: point for point in before.points}
    for outcome in outcomes:
        result = builder.add(outcome, conclude=outcome is outcomes[-1])
        result.asked = outcome.point.id not in seen or seen[outcome.point.id].asked
        if outcome.point.id in seen:
            result.reused = seen[outcome.point.id].reused
    predicted = before.predicted
    interpolation = None if predicted is None else (predicted.nodes, predicted.known, predicted.went_on)
    builder.finish(interpolation)
    return frontier


def _check_rule(select: Mapping[str, Any], prepared: Prepared) -> None:
    """Check a rule as one in the recipe is checked."""
    sweep = prepared.sweep
    block = sweep.calibration.model_copy(update={"select": dict(select)})
    scores = rule_scores_of(prepared.objectives, prepared.suite.tasks)
    try:
        check_rule(replace(sweep, calibration=block, source=None), scores)
    except CalibError as problem:
        raise CalibError(str(problem).replace("calibration.select", "the rule", 1)) from problem


def _check_comparable(stored: StoredSweep, prepared: Prepared) -> None:
    """Check that a point scored now can be compared with those that the sweep scored."""
    parent = prepared.parents[0]
    if stored.keys.get(parent.id) == prepared.key_of(parent):
        return
    changed = [f"the files of {name}" for name in _changed_models(stored, prepared)]
    then, now = stored.record.get("versions"), prepared.resolved()["versions"]
    if isinstance(then, dict):
        names = ("transformers", "lm-eval", "vllm")
        changed += [f"{n} ({then[n]}, now {now.get(n)})" for n in names if n in then and then[n] != now.get(n)]
    raise CalibError(
        f"this point was not scored in the sweep, and could not be compared with its points if it were now, since "
        f"these have changed: {', '.join(changed) or 'the suite or its documents'}; run the sweep's command again"
    )


def _changed_models(stored: StoredSweep, prepared: Prepared) -> list[str]:
    recorded = stored.record.get("models")
    before = recorded if isinstance(recorded, dict) else {}
    return [
        name
        for name, model in prepared.models.items()
        if isinstance(before.get(name), dict) and before[name].get("fingerprint") != model.fingerprint
    ]


def _check_complete(point: PointResult) -> None:
    if point.status != "complete":
        raise CalibError(
            f"{point_name(point.id)} {point.status} in this sweep ({point.reason}), so it cannot be written"
        )


def _new_folder(to: Path, out: Path) -> RunFolder:
    """Return a folder for a model: new, empty, or one that an earlier call wrote."""
    if to.resolve() == out.resolve():
        raise CalibError(f"{to} is the sweep's own folder; leave out --to to replace the model there")
    folder = RunFolder(to)
    check_usable(to, [folder.calibration, folder.scratch])
    names = sorted(path.name for path in to.iterdir()) if to.exists() else []
    if names and not (folder.calibration / "model.json").exists():
        raise CalibError(f"{to} holds something else ({', '.join(names[:3])}); name a new folder")
    logging.getLogger(__name__).info("the model is written to %s", to)
    return folder
