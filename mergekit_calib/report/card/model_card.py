"""The model card of the chosen model, in the Hugging Face form: `out/README.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import yaml

from mergekit_calib.report.card.front_matter import front_matter, models_in, parent_licences
from mergekit_calib.report.tables.frames import frontier_markdown, frontier_table, summary_sentence
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.frontier import Frontier, Objective, PointResult

_ALT = {
    "frontier.png": "The points by their first two objectives, the frontier, the parents and the choice",
    "lambda.png": "Each objective along the first axis",
    "reliability.png": "Reliability diagrams of the parents and the choice",
}


def model_card(
    frontier: Frontier, pictures: Iterable[str] = tuple(_ALT), licence: Mapping[str, str] | None = None
) -> str:
    """The card of the selected point, ready to push.

    Args:
        pictures: the names of the files that there are in `calibration/`.
        licence: the entries for it in the front matter, once somebody has set one.

    Raises:
        ValueError: no point is selected, so there is no model to describe.
    """
    selected = frontier.selected
    if selected is None:
        raise ValueError("no point is selected, so there is no model that a card could describe")
    escape = formatting.escape_markdown
    available = [name for name in _ALT if name in set(pictures)]
    table = frontier_table(frontier)
    sections = [
        f"---\n{front_matter(frontier, selected, licence)}---",
        f"# {escape(frontier.name)}",
        escape(summary_sentence(frontier)),
        _provenance(frontier),
        *map(_picture, available[:1]),
        *_statements(frontier),
        "## Every point",
        frontier_markdown(frontier),
        escape(table.caption),
        *map(_picture, available[1:]),
        "## How it was chosen",
        _choice(frontier),
        "## Rebuild it",
        _rebuild(frontier, selected),
        "## What was not tested",
        _untested(frontier),
    ]
    return "\n\n".join(sections) + "\n"


def _provenance(frontier: Frontier) -> str:
    escape = formatting.escape_markdown
    models = "; ".join(f"{escape(role)}: {escape(name)}" for role, name in frontier.models.items())
    licences = "; ".join(f"{escape(m)}: {escape(found)}" for m, found in parent_licences(frontier).items())
    return (
        f"A merge of {models}, method {escape(frontier.method)}, found by a calibration-aware sweep of "
        f"{formatting.counted(len(frontier.points), 'point')} with mergekit-calib. The licence is left to whoever "
        f"publishes it, by `license` in this file's front matter; those of the models it was merged from "
        f"apply{f' ({licences})' if licences else ''}."
    )


def _statements(frontier: Frontier) -> list[str]:
    said = [f"- {formatting.escape_markdown(statement)}" for statement in statements(frontier)]
    return ["## What the numbers say", "\n".join(said)] if said else []


def _picture(name: str) -> str:
    return f"![{_ALT[name]}](calibration/{name})"


def _choice(frontier: Frontier) -> str:
    escape = formatting.escape_markdown
    lines = []
    if frontier.selection is not None:
        reason = escape(frontier.selection.reason).rstrip(".")
        lines.append(f"Rule {escape(frontier.selection.rule)}, on the selection split: {reason}.")
    lines.append(
        "Points are chosen on one split of the items, the selection split; a number that does not say so is from the "
        "other, the held-out split, so that the choice does not flatter its own figures."
    )
    items = []
    for entry in frontier.suite:
        shots = f", {entry.num_fewshot}-shot" if entry.num_fewshot is not None else ""
        limit = f", limit {entry.limit:g}" if entry.limit is not None else ""
        sizes = f"{entry.n_items:,} items: {entry.n_selection:,} to select on, {entry.n_held_out:,} to report on"
        items.append(f"- {escape(entry.name)}{shots}{limit}: {sizes}")
    binned = [o for o in frontier.objectives if formatting.is_binned(o.metric)]
    text = "\n".join(lines) + "\n\n" + "\n".join(items)
    if binned:
        text += (
            f"\n\n{escape(formatting.listed([_with_items(frontier, o) for o in binned]))}, in {frontier.n_bins} bins: "
            "a binned error is biased upward where bins hold few items, more so for the better calibrated model."
        )
    return text


def _with_items(frontier: Frontier, objective: Objective) -> str:
    n = formatting.item_counts(frontier, objective)
    return f"{objective.name} (n = {n:,})" if n else objective.name


def _rebuild(frontier: Frontier, selected: PointResult) -> str:
    pinned = " ".join(f"{p}=={frontier.versions[p]}" for p in ("mergekit", "transformers") if p in frontier.versions)
    command = f"mergekit-yaml mergekit_config.yml OUT --random-seed {frontier.seed}"
    if any("+" in reference for reference in models_in(yaml.safe_load(selected.recipe))):
        command += " --lora-merge-cache lora_cache"
    install = f"pip install {pinned}\n" if pinned else ""
    parts = [
        "Plain mergekit, without the plugin, on the recipe that lies beside this file:",
        formatting.fenced(f"{install}{command}", "sh"),
        formatting.fenced(selected.recipe, "yaml"),
        "The sweep itself, with the models' fingerprints and all seeds, is `calibration/sweep.yml`.",
    ]
    if frontier.versions:
        versions = ", ".join(f"{name} {version}" for name, version in frontier.versions.items())
        parts.append(f"Run with {formatting.escape_markdown(versions)}.")
    return "\n\n".join(parts)


def _untested(frontier: Frontier) -> str:
    escape = formatting.escape_markdown
    tasks = formatting.listed([escape(entry.name) for entry in frontier.suite]) if frontier.suite else "no task"
    lines = [
        f"- Only {tasks}. Nothing here speaks of other tasks or languages, of long contexts, of free conversation, or "
        "of safety, which merging can change in either direction.",
        "- Intervals are over the items of these tasks: they say what other items of the same kind would give, not "
        "what other tasks, prompts or seeds would.",
    ]
    limited = [escape(entry.name) for entry in frontier.suite if entry.limit is not None]
    if limited:
        lines.append(f"- Not all items of {formatting.listed(limited)} were scored: a limit was set.")
    failed = [escape(p.id) for p in frontier.points if p.status == "failed"]
    if failed:
        lines.append(f"- Points that failed, and so were not compared: {formatting.listed(failed)}.")
    lines += [f"- {escape(note)}" for note in frontier.notes]
    return "\n".join(lines)
