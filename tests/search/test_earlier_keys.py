"""Scores are found again on other devices, and those of versions whose content keys held the device; not those of
another version of transformers."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest
import transformers
import yaml

from helpers.earlier_keys_of_scores import file_under_earlier_keys
from mergekit_calib.items.store import ItemStore
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.earlier_keys import adopt_earlier_scores

GRID = {"lambda": [0.5]}
FLOAT32 = {"dtype": "float32"}
ENGINE = {"name": "transformers", "version": transformers.__version__}


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def folder_noted(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def scored(recipe_with, run, tmp_path):
    """Return the folder of a finished sweep of three points, and its recipe."""
    recipe = recipe_with(GRID, model_args=FLOAT32)
    run(recipe, tmp_path / "out")
    return tmp_path / "out", recipe


def items(out: Path) -> Path:
    return out / "calibration" / "items"


def on(device: str | None, recipe: dict) -> dict:
    model_args = FLOAT32 | ({} if device is None else {"device": device})
    return {**recipe, "calibration": {**recipe["calibration"], "model_args": model_args}}


def test_scores_are_reused_on_another_device_which_is_no_change_of_the_recipe(scored, run):
    out, recipe = scored
    notes, before = Notes(), sorted(p.name for p in items(out).iterdir())
    _, again = run(on("cpu", recipe), out, notes)
    assert again == {}
    assert notes.texts == ["3 points of an earlier run are reused"]
    assert sorted(p.name for p in items(out).iterdir()) == before


@pytest.mark.parametrize("device", ["cpu", None])
def test_scores_under_earlier_keys_are_found_whatever_the_device_was(scored, run, device):
    out, recipe = scored
    before = sorted(p.name for p in items(out).iterdir())
    earlier = file_under_earlier_keys(items(out), on(device, recipe)["calibration"]["model_args"])
    assert not set(earlier) & set(before)
    _, again = run(recipe, out)
    assert again == {}
    assert sorted(p.name for p in items(out).iterdir()) == before


def test_another_version_of_transformers_scores_the_points_again_and_says_so(scored, run, monkeypatch):
    out, recipe = scored
    before = {p.name for p in items(out).iterdir()}
    monkeypatch.setattr(transformers, "__version__", "5.99.0")
    monkeypatch.setattr(
        "mergekit_calib.sweep.prepared.versions", lambda: {"transformers": "5.99.0", "lm-eval": "0.4.13"}
    )
    record = out / "calibration" / "sweep.yml"
    text = yaml.safe_load(record.read_text())
    text["versions"] |= {"transformers": "5.24.0", "lm-eval": "0.4.13"}
    record.write_text(yaml.safe_dump(text))
    notes = Notes()
    _, again = run(recipe, out, notes)
    assert len(again) == 3
    assert before < {p.name for p in items(out).iterdir()}
    assert "3 are not in this sweep and left out" in notes.texts[0]
    assert "have changed: the version of transformers" in notes.texts[0]


def test_a_study_in_a_database_is_filled_from_scores_under_earlier_keys(recipe_with, run, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    search = {"strategy": "random", "points": 2, "storage": url}
    recipe = recipe_with({"lambda": {"min": 0.0, "max": 1.5}}, search)
    first, _ = run(recipe, tmp_path / "out")
    file_under_earlier_keys(items(tmp_path / "out"), {**FLOAT32, "device": "cpu"})
    (before,) = optuna.get_all_study_names(url)
    optuna.delete_study(study_name=before, storage=url)  # the name held `model_args` as well
    again, scored = run(recipe, tmp_path / "out")
    assert scored == {}
    assert [p.id for p in again.points] == [p.id for p in first.points]


def test_stopped_points_and_ages_are_kept_and_files_that_cannot_be_traced_are_left(scored):
    out, _ = scored
    whole, traceless, *_ = sorted(file_under_earlier_keys(items(out), {**FLOAT32, "device": "cpu"}))
    part = items(out) / whole.replace(".parquet", ".part.parquet")
    (items(out) / whole).rename(part)
    os.utime(part, (1_000_000_000, 1_000_000_000))
    with (items(out) / traceless).open("r+b") as file:
        file.truncate(200)
    other = items(out) / f"other-{'0' * 16}.parquet"
    other.write_bytes(part.read_bytes())

    store = ItemStore(items(out))
    assert adopt_earlier_scores(store, ENGINE) == 2
    assert adopt_earlier_scores(store, ENGINE) == 0
    names = {p.name for p in items(out).iterdir()}
    assert {traceless, other.name} < names
    assert part.name not in names
    (stopped,) = (p for p in items(out).glob("*.part.parquet"))
    assert stopped.stat().st_mtime == 1_000_000_000
    assert store.load_part(store.key_in_name(stopped)) is not None


def test_an_adoption_that_was_killed_before_it_removed_the_old_file_is_finished(scored):
    out, _ = scored
    file_under_earlier_keys(items(out), {**FLOAT32, "device": "cpu"})
    old = {path.name: path.read_bytes() for path in items(out).iterdir()}
    store = ItemStore(items(out))
    adopt_earlier_scores(store, ENGINE)
    adopted = {path.name for path in items(out).iterdir()}
    for name, data in old.items():
        (items(out) / name).write_bytes(data)
    assert adopt_earlier_scores(store, ENGINE) == len(old)
    assert {path.name for path in items(out).iterdir()} == adopted
