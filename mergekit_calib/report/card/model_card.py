"""The model card of the chosen model, for the Hugging Face Hub: `out/README.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import yaml

from mergekit_calib.recipe.parent_roles import models_named
from mergekit_calib.report.card.front_matter import front_matter, hub_names, models_in, parent_licences
from mergekit_calib.report.card.public_names import is_on_hub, models_of, public_names, with_public_names
from mergekit_calib.report.tables.markdown import escape_markdown, fenced, frontier_markdown
from mergekit_calib.report.tables.rows import table_caption
from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.answer import answer_lines, how_chosen
from mergekit_calib.report.text.parent_texts import parent_role
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier, PointResult

_ALT = {
    "frontier.png": "Every point by the first two objectives, with the frontier, the parents and the chosen point",
    "lambda.png": "Each objective along the first axis",
    "reliability.png": "Reliability diagrams of the parents and the chosen point",
}


def model_card(
    frontier: Frontier,
    pictures: Iterable[str] = tuple(_ALT),
    licence: Mapping[str, str] | None = None,
    *,
    has_chat_template: bool = False,
    repository: str | None = None,
    parent_names: Mapping[str, str] | None = None,
) -> str:
    """Return the card of the chosen model. It names models, but no local path.

    Args:
        frontier: the sweep.
        pictures: the names of the pictures that exist in `calibration/`.
        licence: the licence's entries in the front matter, if they have been set.
        has_chat_template: whether the model has a chat template, which the example of its use then applies.
        repository: the repository on the Hub that the card is for; None for the card in the sweep's own folder, beside
            the whole report.
        parent_names: role → the parent's name on the Hub, where the sweep had a local copy.

    Raises:
        ValueError: no point is chosen, so there is no model to describe.
    """
    if frontier.selected is None:
        raise ValueError("no point is chosen, so there is no model to describe")
    names = public_names(models_of(frontier), parent_names)
    origins = _origins(frontier, frontier.selected)
    base_models = list(dict.fromkeys(each for model in origins for each in _on_hub(model, names, parent_names)))
    licences = parent_licences(models_in(frontier, frontier.selected).values())
    licences = {names[model]: licence for model, licence in licences.items()}
    frontier = with_public_names(frontier, names)
    selected = frontier.selected
    assert selected is not None
    answer = answer_lines(frontier)
    if repository is not None:
        answer = (*answer[:3], "All scored points, the choice and the plain recipe are below.")
    available = [name for name in _ALT if name in set(pictures)]
    sections = [
        f"---\n{front_matter(frontier, selected, licence, base_models, licences)}---",
        f"# {escape_markdown(frontier.name)}",
        "  \n".join(map(escape_markdown, answer)),
        _provenance(frontier, selected, licences),
        *map(_picture, available[:1]),
        "## Use it",
        _usage(repository or frontier.name or "out", has_chat_template),
        *_statements(frontier),
        "## Every point",
        frontier_markdown(frontier),
        escape_markdown(table_caption(frontier)),
        *map(_picture, available[1:]),
        "## How it was chosen",
        _choice(frontier),
        "## Rebuild it",
        _rebuild(frontier, selected, has_report=repository is None, has_paths=not all(map(is_on_hub, names))),
        "## What was not tested",
        _untested(frontier),
    ]
    return "\n\n".join(sections) + "\n"


def _origins(frontier: Frontier, selected: PointResult) -> list[str]:
    """Return the models that the chosen point was made from, as the sweep names them."""
    models = list(models_in(frontier, selected).values())
    if parent_role(frontier, selected) is None:
        models += models_named(yaml.safe_load(selected.recipe))
    return list(dict.fromkeys(models))


def _on_hub(model: str, names: Mapping[str, str], given: Mapping[str, str] | None) -> list[str]:
    """Return a model's names on the Hub: the one that is given for it, or those in the sweep's own name for it."""
    return [names[model]] if names.get(model) in (given or {}).values() else hub_names([model])


def _usage(name: str, has_chat_template: bool) -> str:
    name = name if re.fullmatch(r"[\w./-]+", name, re.ASCII) else "OUT"
    prompt = "Why do well-calibrated answers matter?"
    given = f'[{{"role": "user", "content": "{prompt}"}}]' if has_chat_template else f'"{prompt}"'
    answer = '["generated_text"][-1]["content"]' if has_chat_template else '["generated_text"]'
    code = (
        "from transformers import pipeline\n\n"
        f'generate = pipeline("text-generation", model="{name}")\n'
        f"prompt = {given}\n"
        f"print(generate(prompt, max_new_tokens=100)[0]{answer})"
    )
    server = f"vllm serve {name}    # an OpenAI-compatible server on port 8000"
    return "\n\n".join(["With transformers:", fenced(code, "python"), "With vLLM:", fenced(server, "sh")])


def _provenance(frontier: Frontier, selected: PointResult, found: Mapping[str, str]) -> str:
    escape = escape_markdown
    models = "; ".join(f"{escape(role)}: {escape(name)}" for role, name in frontier.models.items())
    licences = "; ".join(f"{escape(model)}: {escape(name)}" for model, name in found.items())
    role = parent_role(frontier, selected)
    origin = f"A merge of {models}; method {escape(frontier.method)}."
    if len(frontier.models) == 1:
        origin = f"A merge of parts of {models}; method {escape(frontier.method)}."
    if role is not None:
        origin = f"The weights of the {escape(role)} model, not a merge; the sweep tried {models}."
    apply = "the licences of the merged models apply" if role is None else f"the licence of {escape(role)} applies"
    return (
        f"{origin} mergekit-calib chose it from {formatting.counted(len(frontier.points), 'point')} in a "
        f"calibration-aware sweep. Whoever publishes it sets `license` in this file's front matter; {apply}"
        f"{f' ({licences})' if licences else ''}."
    )


def _statements(frontier: Frontier) -> list[str]:
    lines = [f"- {escape_markdown(statement)}" for statement in statements(frontier)]
    level = f"Brackets are {formatting.percent(frontier.level)} intervals."
    return ["## What the numbers say", "\n".join(lines), level] if lines else []


def _picture(name: str) -> str:
    return f"![{_ALT[name]}](calibration/{name})"


def _choice(frontier: Frontier) -> str:
    escape = escape_markdown
    items = []
    for entry in frontier.suite:
        shots = f", {entry.num_fewshot}-shot" if entry.num_fewshot is not None else ""
        limit = f", limit {entry.limit:g}" if entry.limit is not None else ""
        sizes = f"{entry.n_items:,} items: {entry.n_selection:,} for selection, {entry.n_held_out:,} held out"
        items.append(f"- {escape(entry.name)}{shots}{limit}: {sizes}")
    binned = [o for o in frontier.objectives if formatting.is_binned(o.metric)]
    text = "\n".join(map(escape, how_chosen(frontier))) + "\n\n" + "\n".join(items)
    if binned:
        text += (
            f"\n\n{escape(formatting.listed([_with_items(frontier, o) for o in binned]))}, in {frontier.n_bins} bins: "
            "a binned error is biased upwards if bins hold few items, and more so for a better calibrated model."
        )
    return text


def _with_items(frontier: Frontier, objective: Objective) -> str:
    n = formatting.item_counts(frontier, objective)
    return f"{objective.name} (n = {n:,})" if n else objective.name


def _rebuild(frontier: Frontier, selected: PointResult, has_report: bool, has_paths: bool) -> str:
    pinned = " ".join(f"{p}=={frontier.versions[p]}" for p in ("mergekit", "transformers") if p in frontier.versions)
    command = f"mergekit-yaml mergekit_config.yml OUT --random-seed {frontier.seed}"
    if any("+" in reference for reference in models_named(yaml.safe_load(selected.recipe))):
        command += " --lora-merge-cache lora_cache"
    install = f"pip install {pinned}\n" if pinned else ""
    parts = [
        "Plain mergekit, without the plugin, rebuilds the model from the recipe beside this file:",
        fenced(f"{install}{command}", "sh"),
        fenced(selected.recipe, "yaml"),
    ]
    if has_report and has_paths:
        parts.append("Local folders have their names here, and their paths in `mergekit_config.yml`.")
    if has_report:
        parts.append("`calibration/sweep.yml` records the whole sweep, with the models' fingerprints and all seeds.")
    if frontier.versions:
        versions = ", ".join(f"{name} {version}" for name, version in frontier.versions.items())
        parts.append(f"Run with {escape_markdown(versions)}.")
    return "\n\n".join(parts)


def _untested(frontier: Frontier) -> str:
    escape = escape_markdown
    tasks = formatting.listed([escape(entry.name) for entry in frontier.suite]) if frontier.suite else "no task"
    lines = [
        f"- Tested only on {tasks}: not on other tasks or languages, long contexts, conversation or safety, which "
        "merging can change in either direction.",
        "- Intervals are over the items of these tasks. They hold for other items of the same kind, not for other "
        "tasks, prompts or seeds.",
    ]
    limited = [escape(entry.name) for entry in frontier.suite if entry.limit is not None]
    if limited:
        lines.append(f"- Not all items of {formatting.listed(limited)} were scored: a limit was set.")
    failed = [escape(p.name) for p in frontier.points if p.status == "failed"]
    if failed:
        lines.append(f"- These points failed and were not compared: {formatting.listed(failed)}.")
    lines += [f"- {escape(formatting.sentence(frontier, note))}" for note in frontier.notes]
    return "\n".join(lines)
