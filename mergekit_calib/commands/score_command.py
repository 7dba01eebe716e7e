"""`mergekit-calib score`: make a calibration card, print it, and write it to a folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mergekit_calib.cards.calibration_card import Scores
from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.cards.from_samples import read_samples
from mergekit_calib.cards.rendering import print_card, write_card
from mergekit_calib.errors import CalibError, RecipeError, shown
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.report.terminal.safe_console import SafeConsole
from mergekit_calib.report.terminal.told_warnings import told_warnings
from mergekit_calib.report.terminal.waiting import waiting
from mergekit_calib.scoring.known_tasks import check_names

_OF_ENTRIES = ("num_fewshot", "repeats", "limit", "system_instruction")


def card_from_samples(paths: Sequence[str], out: Path | None, n_bins: int) -> Scores:
    """Print and return the card of finished lm-eval runs; neither a model nor torch is loaded.

    Args:
        paths: samples files, or output folders, of `lm_eval --log_samples`.
        out: the folder to write the card to; None to only print it.
        n_bins: bins of `ece`.
    """
    _check_folder(out)
    with waiting("reading samples"), told_warnings():
        models = read_samples(paths)
        directions: dict[str, dict[str, bool]] = {}
        for model in models:
            for task, ways in model.higher_is_better.items():
                directions.setdefault(task, {}).update(ways)
        maker = CardMaker(directions, n_bins=n_bins)
        for model in models:
            maker.add(model.name, model.tables)
            maker.card.notes += model.notes
    return _printed(maker.card, out)


def card_from_models(models: Sequence[str], tasks: Sequence[str], out: Path | None, **options: Any) -> Scores:
    """Score models on tasks, and print and return their card.

    Args:
        models: the models, as a mergekit recipe names them.
        tasks: lm-eval tasks.
        out: the folder to write the card and the item scores to; None to only print the card.
        options: the other options of the command.
    """
    _check_folder(out)
    batch_size = _batch_size(options["batch_size"])
    given = {name: options[name] for name in _OF_ENTRIES if options[name] is not None}
    if given.get("limit", 0) >= 1:
        given["limit"] = int(given["limit"])
    if options["apply_chat_template"]:
        given["apply_chat_template"] = True
    entries = [SuiteEntry(task=task, **given) for task in tasks]
    with waiting("loading tasks") as spinner, told_warnings():
        try:
            check_names(entries)
        except RecipeError as problem:
            raise CalibError(f"tasks: {problem.problem}") from problem
        from mergekit_calib.cards.from_models import score_models  # it imports torch, transformers and lm-eval

        card = score_models(
            models,
            entries,
            out=out,
            model_args=_model_args(options["model_args"]),
            device=options["device"],
            batch_size=batch_size,
            trust_remote_code=options["trust_remote_code"],
            n_bins=options["n_bins"],
            on_model=lambda name: spinner.update(text=f"loading {name}"),
            on_answers=lambda task, done, total: spinner.update(text=f"{task}: {done:,} of {total:,} requests"),
        )
    return _printed(card, out)


def _check_folder(out: Path | None) -> None:
    """Raise an error if the folder of the card cannot be written to, before anything is scored."""
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as problem:
        reason = "it is a file" if out.is_file() else getattr(problem, "strerror", None) or problem
        raise CalibError(f"--out {out}: {reason}; name a folder that can be written to") from problem


def _model_args(text: str) -> dict[str, Any]:
    from lm_eval.utils import simple_parse_args_string

    return dict(simple_parse_args_string(text)) if text else {}


def _batch_size(text: str | None) -> int | str | None:
    """Return a batch size as `hf` takes it."""
    if text is None or re.fullmatch(r"auto(:[1-9]\d*)?", text):
        return text
    if re.fullmatch(r"[1-9]\d*", text):
        return int(text)
    raise CalibError(f"--batch_size {shown(text)}: write a number from 1, auto, or auto:N")


def _printed(card: Scores, out: Path | None) -> Scores:
    print_card(card, SafeConsole())
    if out:
        card.save(out)
        write_card(card, out)
    return card
