"""A study in a database: processes share it, a wrong URL is reported first, and no file of the run holds the URL."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import optuna
import pytest
import yaml

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

WORKER = """
import sys
from mergekit.options import MergeOptions
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.search.driver import Search
score = Search.score

def logged(self, point, digest, score_all):
    with open(sys.argv[3], "a") as log:  # what a sweep prints goes to its run log
        print(point.id, file=log)
    return score(self, point, digest, score_all)

Search.score = logged
sys.exit(run_source(open(sys.argv[1]).read(), sys.argv[2], MergeOptions(quiet=True), sys.argv[1]))
"""
RANGE = {"lambda": {"min": 0.0, "max": 1.5}}


def search(tmp_path, points: int) -> dict[str, object]:
    return {"strategy": "random", "points": points, "storage": f"sqlite:///{tmp_path}/study.db"}


def test_two_processes_share_a_study_in_a_database(recipe_with, tmp_path):
    (tmp_path / "sweep.yml").write_text(dump_recipe(recipe_with(RANGE, search(tmp_path, 4))))
    command = [sys.executable, "-c", WORKER, str(tmp_path / "sweep.yml"), str(tmp_path / "out")]
    logs = [tmp_path / "first", tmp_path / "second"]
    workers = [subprocess.Popen([*command, str(log)], stderr=subprocess.PIPE, text=True) for log in logs]
    outputs = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    counts = Counter(point for log in logs if log.exists() for point in log.read_text().split())
    frontier = Frontier.load(tmp_path / "out")
    assert frontier.finished
    assert counts == Counter(p.id for p in frontier.points)
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")
    assert study.n_trials >= 4
    assert not (tmp_path / "out" / "calibration" / "study.log").exists()


def test_a_search_resumes_from_a_database_that_keeps_a_study_for_each_folder(recipe_with, run, tmp_path):
    first, _ = run(recipe_with(RANGE, search(tmp_path, 2)), tmp_path / "out")
    other, scored = run(recipe_with(RANGE, search(tmp_path, 2)), tmp_path / "other")
    assert [p.id for p in first.points] == [p.id for p in other.points]
    assert len(scored) == 4
    more, scored = run(recipe_with(RANGE, search(tmp_path, 3)), tmp_path / "out")
    assert {p.id for p in first.points} < {p.id for p in more.points}
    assert len(scored) == 1
    assert len(optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")) == 2


def test_a_lost_database_is_filled_again_from_the_item_scores(recipe_with, run, tmp_path):
    run(recipe_with(RANGE, search(tmp_path, 2)), tmp_path / "out")
    (tmp_path / "study.db").unlink()
    frontier, scored = run(recipe_with(RANGE, search(tmp_path, 2)), tmp_path / "out")
    assert scored == {}
    assert len(frontier.points) == 4


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("study.db", "is no database URL"),
        ("oracool://host/db", "oracool"),
        ("sqlite:////no/such/folder/study.db", "cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_used_is_reported_before_the_folder_is_made(recipe_with, run, tmp_path, url, says):
    with pytest.raises(RecipeError) as caught:
        run(recipe_with(RANGE, {"strategy": "random", "points": 2, "storage": url}), tmp_path / "out")
    assert caught.value.key == "calibration.search.storage"
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_driver_is_named(recipe_with, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RecipeError, match="driver, psycopg"):
        run(recipe_with(RANGE, {"strategy": "random", "points": 2, "storage": "postgresql://h/db"}), tmp_path / "out")


def test_the_url_is_in_no_file_of_the_run(recipe_with, run, tmp_path):
    (tmp_path / "sec-ret").mkdir()
    url = f"sqlite:///{tmp_path}/sec-ret/study.db"
    run(recipe_with(RANGE, {"strategy": "random", "points": 1, "storage": url}), tmp_path / "out")
    texts = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not [p for p in texts if b"sec-ret" in p.read_bytes()]
    record = yaml.safe_load((tmp_path / "out" / "calibration" / "sweep.yml").read_text())
    assert "storage" not in record["calibration"]["search"]
