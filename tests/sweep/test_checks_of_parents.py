"""A run stops when its parents have shown that no merge of them can be scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from mergekit.options import MergeOptions

from helpers.bad_checkpoints import tensors
from helpers.checkpoints import save_tokenizer
from helpers.prepared_sweeps import short_form
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.coordinator import run_sweep


class Begun(Progress):
    """Remembers which points were begun."""

    def __init__(self) -> None:
        self.points: list[str] = []

    def point_started(self, point_id: str) -> None:
        self.points.append(point_id)


@pytest.fixture
def refused(make_model, task, tmp_path):
    """Run a sweep of a base and `aligned`; return the error that ended it, and the points that were begun."""
    register()

    def run(aligned: Path, **calibration: object) -> tuple[str, list[str]]:
        block = {"axes": {"lambda": [0.25, 0.5, 0.75]}, "suite": [task], **calibration}
        recipe = {**short_form(make_model(seed=0), aligned), "calibration": block}
        sweep, begun = parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml"), Begun()
        with pytest.raises(CalibError) as caught:
            run_sweep(sweep, tmp_path / "out", MergeOptions(quiet=True), begun)
        return str(caught.value), begun.points

    return run


def test_the_run_stops_if_both_parents_fail_with_the_same_error(make_model, refused):
    message, begun = refused(make_model(seed=1), model_args={"max_length": 1})
    assert begun == ["lambda=0", "lambda=1"]
    assert message.startswith("both parents fail with the same error")
    assert message.count("tokens") == 1


def test_the_run_stops_at_a_parent_whose_weights_hold_nan_and_names_it(make_model, refused, tmp_path):
    broken = shutil.copytree(make_model(seed=1), tmp_path / "broken")
    tensors(lambda by_name: by_name["model.norm.weight"].fill_(float("nan")))(broken)
    message, begun = refused(broken)
    assert begun == ["lambda=0", "lambda=1"]
    assert f"aligned ({broken}): tensor model.norm.weight holds NaN" in message


def test_a_tokenizer_of_another_model_is_found_before_its_tokens_are_looked_up(make_model, task, refused, tmp_path):
    other = shutil.copytree(make_model(seed=1), tmp_path / "other")
    save_tokenizer(other, 640)
    source = Path(task).with_suffix(".jsonl")
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    rows[3]["choices"][0] = "w639"
    (tmp_path / "large.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "large.yaml").write_text(Path(task).read_text().replace(str(source), str(tmp_path / "large.jsonl")))
    message, begun = refused(other, suite=[str(tmp_path / "large.yaml")])
    assert "token 639, and the model has embeddings for 64" in message
    assert begun == ["lambda=0", "lambda=1"]


def test_infinity_counts_as_nan(make_model, refused, tmp_path):
    broken = shutil.copytree(make_model(seed=1), tmp_path / "broken")
    tensors(lambda by_name: by_name["lm_head.weight"].masked_fill_(torch.eye(64, 32, dtype=torch.bool), torch.inf))(
        broken
    )
    assert "lm_head.weight holds NaN or infinity" in refused(broken)[0]
