"""Where to stop answering, in a finished sweep: chosen on the selection split, verified on the held-out split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mergekit_calib import Frontier
from mergekit_calib.analysis.answering_thresholds import answering, points_to_answer
from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.cli import main
from mergekit_calib.items.table import ItemTable, choice_table
from mergekit_calib.report.page import report_html
from mergekit_calib.report.text.answering_texts import answering_rows, where_to_answer


def _table(n: int, n_wrong: int, confident: float = 0.9, task: str = "made_up") -> ItemTable:
    """Items of two choices: the last `n_wrong` are answered wrongly, with confidence 0.6; the others correctly."""
    confidences = np.where(np.arange(n) < n - n_wrong, confident, 0.6)
    table = choice_table(np.log(np.stack([confidences, 1 - confidences], 1)).tolist(), [[0]] * n)
    labels = table.labels.copy()
    labels[n - n_wrong :] = [False, True]
    fields = {**vars(table), "task": task, "labels": labels, "doc_hashes": [f"{task}{i}" for i in range(n)]}
    return ItemTable(**{name: fields[name] for name in ItemTable.__dataclass_fields__})


def test_the_threshold_of_one_split_is_measured_on_the_other():
    table = _table(400, 100)
    selection, held_out = int(table.rows("selection").sum()), int(table.rows("held_out").sum())
    found = answering({"p": {"made_up": [table]}}, 0.05, 0.95)
    chosen = found.points["p"].chosen
    assert (found.n_selection, found.n_held_out) == (selection, held_out)
    assert chosen.threshold in (0.899, 0.9)  # 0.9, or just below it, after the softmax
    assert chosen.safe
    right = table.rows("held_out") & (np.arange(400) < 300)
    assert chosen.coverage.value == pytest.approx(right.sum() / held_out)
    assert (chosen.error.value, chosen.error.low, chosen.error.n) == (0.0, 0.0, right.sum())
    z = 1.959964
    assert chosen.error.high == pytest.approx(z**2 / (right.sum() + z**2))  # Wilson's upper end without errors
    assert found.points["p"].curve[-1] == (1.0, pytest.approx(1 - right.sum() / held_out, abs=1e-5))


def test_few_items_give_a_threshold_without_a_margin_or_none():
    few = answering({"p": {"made_up": [_table(60, 15)]}}, 0.05, 0.95).points["p"].chosen
    assert few.threshold in (0.899, 0.9)
    assert not few.safe
    assert answering({"p": {"made_up": [_table(60, 60)]}}, 0.05, 0.95).points["p"].chosen is None


def test_a_task_without_choices_is_left_out_and_named():
    table = _table(400, 100)
    texts = _table(50, 0, task="texts")
    empty = {"log_likelihoods": np.empty((50, 0)), "labels": np.empty((50, 0), dtype=bool)}
    fields = {**vars(texts), **empty, "generations": [["a"]] * 50}
    generated = ItemTable(**{name: fields[name] for name in ItemTable.__dataclass_fields__})
    found = answering({"p": {"made_up": [table], "texts": [generated]}}, 0.05, 0.95)
    assert found.left_out == ["texts"]
    assert found.n_selection + found.n_held_out == 400
    assert answering({"p": {"texts": [generated]}}, 0.05, 0.95) is None


def test_a_sweep_says_it_for_the_choice_and_the_parents(finished_demo: Path):
    frontier = Frontier.load(finished_demo)
    assert list(frontier.answering.points) == points_to_answer(frontier)
    assert frontier.answering.max_error == 0.05
    statement = where_to_answer(frontier)
    assert "target: at most 5 %" in statement or "no confidence on the selection split" in statement
    assert len(answering_rows(frontier)) == len(points_to_answer(frontier))
    card = (finished_demo / "README.md").read_text(encoding="utf-8")
    assert "5 %" in card
    assert 'id="answering-table"' in (finished_demo / "calibration" / "report.html").read_text(encoding="utf-8")


def test_report_sets_another_target_from_the_stored_items(demo_copy: Path):
    result = CliRunner().invoke(main, ["report", str(demo_copy), "--max-error", "0.2"])
    assert result.exit_code == 0, result.output
    frontier = Frontier.load(demo_copy)
    assert frontier.answering.max_error == 0.2
    chosen = frontier.answering.points[frontier.selected.id].chosen
    table = StoredSweep.load(demo_copy).tables(frontier.selected.id)["calib_demo"][0]
    held_out = table.take(table.rows("held_out"))
    answered = np.nanmax(held_out.probabilities, axis=1) >= chosen.threshold
    assert chosen.coverage.value == pytest.approx(answered.mean())
    assert "at most 20 %" in (demo_copy / "README.md").read_text(encoding="utf-8")
    # A later report keeps the target.
    assert CliRunner().invoke(main, ["report", str(demo_copy)]).exit_code == 0
    assert "at most 20 %" in (demo_copy / "README.md").read_text(encoding="utf-8")


def test_an_earlier_result_without_thresholds_is_read_and_gets_them_in_a_report(demo_copy: Path):
    file = demo_copy / "calibration" / "frontier.json"
    frontier = Frontier.load(demo_copy)
    old = json.loads(frontier.model_copy(update={"answering": None}).model_dump_json())
    del old["answering"]
    file.write_text(json.dumps(old), encoding="utf-8")
    assert Frontier.load(demo_copy).answering is None
    assert where_to_answer(Frontier.load(demo_copy)) == ""
    assert 'id="answering-table"' not in report_html(Frontier.load(demo_copy))
    assert CliRunner().invoke(main, ["report", str(demo_copy)]).exit_code == 0
    assert 'id="answering-table"' in (demo_copy / "calibration" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["0", "1", "five"])
def test_a_target_that_is_no_share_is_refused(demo_copy: Path, target: str):
    result = CliRunner().invoke(main, ["report", str(demo_copy), "--max-error", target])
    assert result.exit_code == 2
    assert "--max-error" in result.output


def _with_error(frontier: Frontier, **changes: object) -> Frontier:
    found, point = frontier.answering, frontier.selected.id
    old = found.points[point]
    chosen = (old.chosen).model_copy(update=changes)
    return frontier.model_copy(
        update={"answering": found.model_copy(update={"points": {point: old.model_copy(update={"chosen": chosen})}})}
    )


def test_the_text_says_where_the_held_out_split_does_not_confirm_the_target(demo_copy: Path):
    CliRunner().invoke(main, ["report", str(demo_copy), "--max-error", "0.3"])
    frontier = Frontier.load(demo_copy)
    chosen = frontier.answering.points[frontier.selected.id].chosen
    above = _with_error(frontier, error=chosen.error.model_copy(update={"value": 0.35, "low": 0.3, "high": 0.4}))
    reaching = _with_error(frontier, error=chosen.error.model_copy(update={"value": 0.25, "low": 0.2, "high": 0.31}))
    met = _with_error(frontier, error=chosen.error.model_copy(update={"value": 0.2, "low": 0.1, "high": 0.29}))
    assert "the error is above the target" in where_to_answer(above)
    assert "reaches above the target" in where_to_answer(reaching)
    assert "above the target" not in where_to_answer(met)
    assert "without a margin" in where_to_answer(_with_error(frontier, safe=False))
