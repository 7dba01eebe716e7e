"""Samples as versions of lm-eval wrote them: each gives the same tables, up to what a version itself gets wrong.

`data/make_samples.py` made the files, by the versions' own code; its model's log-likelihoods are a hash of the request.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mergekit_calib.cards.card_maker import CardMaker
from mergekit_calib.cards.from_samples import read_samples
from mergekit_calib.cli import main
from mergekit_calib.errors import CalibError

DATA = Path(__file__).parent / "data"
VERSIONS = ["0.4.2", "0.4.3", "0.4.5", "0.4.7", "0.4.13", "0.5.0.dev1"]
TASKS = {"form_choice", "form_norm", "form_text", "form_mutual", "form_several", "form_inputs", "form_answers"}
NOT_IN_0_5 = {"form_mutual", "form_several", "form_inputs"}


def folder_of(version: str) -> Path:
    return DATA / version


def read(folder: Path):
    (model,) = read_samples([folder])
    return model


def files_of(version: str) -> list[Path]:
    return sorted(folder_of(version).rglob("*form_*.jsonl"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_tables(version):
    model, expected = read(folder_of(version)), read(folder_of("0.4.13"))
    assert model.name == "made/up"
    assert set(model.tables) == (TASKS - NOT_IN_0_5 if version.startswith("0.5") else TASKS)
    for task, (table,) in model.tables.items():
        (other,) = expected.tables[task]
        assert table.doc_hashes == other.doc_hashes, task
        for name in ("doc_ids", "log_likelihoods", "labels", "choice_chars", "choice_bytes"):
            np.testing.assert_array_equal(getattr(table, name), getattr(other, name), err_msg=f"{task} {name}")
        assert table.generations == other.generations
        if task != "form_mutual":
            assert {k: v.tolist() for k, v in table.values.items()} == {k: v.tolist() for k, v in other.values.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_metrics_are_those_that_the_run_reports(version):
    (results,) = (json.loads(file.read_text())["results"] for file in folder_of(version).rglob("results*.json"))
    for task, (table,) in read(folder_of(version)).tables.items():
        filters = ("strict", "loose") if task == "form_answers" else ("none",)
        for name, values in table.values.items():
            metric, _, other = name.partition(",")
            assert values.mean() == results[task][f"{metric},{other or filters[0]}"], (task, name)
        # 0.4.5 to 0.4.8 compute the accuracy from wrong requests if there are two kinds of them.
        if table.has_choices and "acc,none" in results[task] and (task, version) not in WRONG:
            chosen = table.log_likelihoods
            correct = table.labels[np.arange(len(table)), np.nanargmax(chosen, axis=1)]
            assert correct.mean() == results[task]["acc,none"], task


WRONG = {("form_mutual", "0.4.5"), ("form_mutual", "0.4.7")}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_cannot_be_read_or_is_wrong_is_noted(version):
    notes = read(folder_of(version)).notes
    assert any("form_rolling" in note for note in notes) == (not version.startswith("0.5"))
    assert any("acc_mutual_info" in note for note in notes) == (("form_mutual", version) in WRONG)
    mutual = read(folder_of(version)).tables.get("form_mutual")
    assert mutual is None or ("acc_mutual_info" in mutual[0].values) == (("form_mutual", version) not in WRONG)


def test_without_the_results_a_file_of_0_4_2_is_read_if_its_task_is_one_of_lm_evals(tmp_path):
    (source,) = (file for file in files_of("0.4.2") if "form_choice" in file.name)
    named = tmp_path / "pretrained__org__model,dtype__float32_arc_easy.jsonl"
    shutil.copy(source, named)
    model = read(named)
    assert (model.name, list(model.tables)) == ("org/model", ["arc_easy"])
    renamed = named.rename(tmp_path / "pretrained__org__model_nobodys.jsonl")
    with pytest.raises(CalibError, match=r"put the `results\.json` of its run beside it"):
        read_samples([renamed])


def test_without_the_results_a_document_that_two_filters_logged_counts_once(tmp_path):
    (source,) = (file for file in files_of("0.4.5") if "form_answers" in file.name)
    shutil.copy(source, tmp_path)
    model = read(tmp_path)
    assert len(model.tables["form_answers"][0]) == 4
    assert not model.notes


def test_models_that_were_written_to_one_folder_are_told_apart_by_the_dates_of_their_runs(tmp_path):
    """As from 0.4.9 on with `--output_path a.json`, then `b.json`."""
    (source,) = folder_of("0.4.13").rglob("results*.json")
    results = json.loads(source.read_text())
    (samples,) = (file for file in files_of("0.4.13") if "form_choice" in file.name)
    for name, date in (("a", "2026-01-01T00-00-00.000001"), ("b", "2026-01-02T00-00-00")):
        (tmp_path / f"{name}_{date}.json").write_text(json.dumps(results | {"model_name": f"org/{name}"}))
        shutil.copy(samples, tmp_path / f"samples_form_choice_{date}.jsonl")
    assert [model.name for model in read_samples([tmp_path])] == ["org/a", "org/b"]


def test_the_order_of_the_lines_of_several_devices_does_not_matter(tmp_path):
    (source,) = (file for file in files_of("0.4.13") if "form_choice" in file.name)
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / source.name).write_text("".join([*lines[::2], *lines[1::2]]), encoding="utf-8")
    table, expected = read(tmp_path).tables["form_choice"][0], read(folder_of("0.4.13")).tables["form_choice"][0]
    assert table.doc_hashes == expected.doc_hashes
    np.testing.assert_array_equal(table.log_likelihoods, expected.log_likelihoods)


def changed(tmp_path: Path, change) -> Path:
    """A copy of a run of 0.4.13 with one task, whose file's lines are changed."""
    for file in [*folder_of("0.4.13").rglob("results*.json"), *files_of("0.4.13")]:
        if file.suffix == ".json" or "form_choice" in file.name:
            shutil.copy(file, tmp_path)
    (file,) = tmp_path.glob("samples_*")
    file.write_bytes(change(file.read_bytes().splitlines(keepends=True)))
    return file


@pytest.mark.parametrize(
    ("change", "n", "note"),
    [
        (lambda lines: b"".join([*lines[:2], lines[2][:100]]), 2, "line 3, the last, is cut off"),
        (lambda lines: b"".join(lines[:3]), 3, "3 of the 4 documents that the run scored"),
        (lambda lines: b"".join([*lines, lines[1]]), 4, "1 lines repeat a document"),
        (lambda lines: gzip.compress(b"".join(lines)), 4, None),
        (lambda lines: b"\xef\xbb\xbf" + b"".join(lines).replace(b"\n", b"\r\n"), 4, None),
    ],
    ids=["cut off", "fewer", "repeated", "compressed", "BOM and CRLF"],
)
def test_what_is_left_of_a_file_is_read_and_noted(change, n, note, tmp_path):
    changed(tmp_path, change)
    model = read(tmp_path)
    assert len(model.tables["form_choice"][0]) == n
    assert any(note in each for each in model.notes) if note else not model.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: b"", "it is empty"),
        (lambda lines: b"\n \n", "it is empty"),
        (lambda lines: b"[]", "no document"),
        (lambda lines: b"".join([lines[0], lines[1][:50], b"\n", lines[2]]), "line 2: not JSON"),
        (lambda lines: b"".join(lines) + lines[0].replace(b'["-', b'["-9'), "document 0: it is there twice"),
        (lambda lines: b"PAR1\x00\xff\xfe", "not text in UTF-8"),
        (lambda lines: gzip.compress(b"".join(lines))[:200], "cannot be read"),
        (lambda lines: b'{"prompt": "a", "completion": "b"}\n', "its keys are 'prompt', 'completion'"),
        (lambda lines: json.dumps({"results": {}, "configs": {}}, indent=1).encode(), "this is a file of results"),
        (lambda lines: b"1\n2\n", "line 1: it holds a int"),
        (lambda lines: b"[" * 100_000, "nested too deeply"),
        (lambda lines: b'{"doc_id": ' + b"9" * 5000 + b"}\n", "not JSON"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(change, message, tmp_path):
    file = changed(tmp_path, change)
    with pytest.raises(CalibError, match=message) as problem:
        read_samples([file])
    text = str(problem.value)
    assert text.startswith(str(file))
    assert len(text) < 500 + len(str(file))
    assert "\n" not in text


def problem_of(file: Path) -> str:
    """Return why a file cannot be read; empty if it can."""
    try:
        read_samples([file])
    except CalibError as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("version", ["0.4.2", "0.4.5", "0.4.13"])
@pytest.mark.parametrize(
    "key", ["doc_id", "doc", "target", "arguments", "resps", "filter", "metrics", "doc_hash", "acc"]
)
def test_any_value_in_place_of_any_other_is_read_or_named(version, key, tmp_path):
    (file,) = (file for file in files_of(version) if "form_choice" in file.name)
    text = file.read_text(encoding="utf-8")
    lines = json.loads(text) if version == "0.4.2" else [json.loads(line) for line in text.splitlines()]
    wrong = [None, True, -1, 0.5, 10**400, float("nan"), "", "x" * 3000, "\ud800\x00\x1b[2J", [], [[]], {}, [None]]
    wrong += [{"gen_args_x": None}, {"a": {"b": 1}}, [["a"], ["b"]], [[["x", 1]], [[None]]], [0, [1]], {"x": [{}]}]
    outcomes = set()
    for value in wrong:
        changed_lines = [line | ({key: value} if i else {}) for i, line in enumerate(lines)]
        target = tmp_path / "samples_form_choice.jsonl"
        target.write_text("\n".join(map(json.dumps, changed_lines)))
        message = problem_of(target)
        assert len(message) < 500 + len(str(target))
        assert message.isprintable()  # so it is one line
        outcomes.add("named" if message else "read")
    assert "named" in outcomes or key in ("doc", "filter", "metrics", "doc_hash", "acc")


def part_of(version: str, folder: Path, *tasks: str) -> Path:
    """A copy of a run with some of its tasks alone."""
    folder.mkdir()
    for file in folder_of(version).rglob("*.json*"):
        if file.suffix == ".json" or any(task in file.name for task in tasks):
            shutil.copy(file, folder)
    return folder


def test_a_task_without_a_metric_is_left_out_of_the_card_of_the_others_and_refused_alone(tmp_path):
    both = part_of("0.4.13", tmp_path / "both", "form_rolling", "form_answers")
    with pytest.raises(CalibError, match="no metric can be computed"):
        read_samples(both.glob("*form_rolling*"))
    done = CliRunner().invoke(main, ["score", "--from", str(both), "--out", str(tmp_path / "card")])
    assert done.exit_code == 0, done.output
    notes = json.loads((tmp_path / "card" / "scores.json").read_text())["notes"]
    assert any("form_rolling" in note for note in notes)


def test_tasks_that_two_runs_share_are_compared_in_pairs(tmp_path):
    old = part_of("0.4.3", tmp_path / "old", "form_choice", "form_text")
    new = part_of("0.4.13", tmp_path / "new", "form_choice", "form_norm")
    models = read_samples([new, old])
    assert [model.name for model in models] == [f"made/up ({new})", f"made/up ({old})"]
    maker = CardMaker({}, n_resamples=20)
    for model in models:
        maker.add(model.name, model.tables)
    first, second = maker.card.models
    assert not first.differences
    assert list(second.differences) == ["form_choice"]
    assert second.differences["form_choice"]["acc"].value == 0.0
    (note,) = maker.card.notes
    assert f"form_norm is of made/up ({new}) alone" in note
    assert f"form_text is of made/up ({old}) alone" in note


def test_a_path_without_samples_is_answered_with_what_would_work(tmp_path):
    shutil.copy(next(folder_of("0.4.13").rglob("results*.json")), tmp_path)
    sweep = tmp_path / "sweep"
    (sweep / "calibration").mkdir(parents=True)
    for path, message in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path, "no samples; run lm_eval again, with --log_samples"),
        (sweep, "`mergekit-calib report` reads it"),
    ):
        done = CliRunner().invoke(main, ["score", "--from", str(path)])
        assert (done.exit_code, message in done.output) == (1, True), done.output
