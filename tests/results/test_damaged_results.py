"""A result whose numbers were changed on disk is not read; one that is missing or damaged is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mergekit_calib.errors import CalibError
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.result_reader import load_sweep

OLD = Path(__file__).parent / "data" / "frontier_schema_2.json"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "calibration" / "frontier.json"
    path.parent.mkdir()
    path.write_text(Frontier.load(OLD).to_json(), encoding="utf-8")
    return path


def test_it_is_read_as_it_was_written(file):
    assert load_sweep(file.parent.parent) == load_sweep(file) == Frontier.load(OLD)


def test_other_white_space_and_another_order_of_keys_change_nothing(file):
    fields = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(dict(reversed(fields.items())), indent=7), encoding="utf-8")
    assert load_sweep(file) == Frontier.load(OLD)


def test_a_changed_digit_is_found(file):
    text = file.read_text(encoding="utf-8")
    assert "0.0535746" in text
    file.write_text(text.replace("0.0535746", "0.0135746"), encoding="utf-8")
    with pytest.raises(CalibError, match="checksum"):
        load_sweep(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "\x00" * 100, "[" * 100_000, '{"schema_version": 4}'])
def test_a_damaged_one_is_refused_in_one_line(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CalibError, match=r"frontier\.json cannot be read: .*run the sweep's command again") as refused:
        load_sweep(file.parent.parent)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(CalibError, match="no JSON in UTF-8"):
        load_sweep(file)


def test_a_missing_one_is_written_by_the_same_command_if_there_are_scores(file, tmp_path):
    file.unlink()
    with pytest.raises(CalibError, match="holds no sweep"):
        load_sweep(tmp_path)
    (tmp_path / "calibration" / "items").mkdir()
    with pytest.raises(CalibError, match="is missing: run the sweep's command again"):
        load_sweep(tmp_path)
