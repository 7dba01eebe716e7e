"""The memory of a sweep is estimated beforehand; parents are streamed if they do not fit, or the sweep is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mergekit.io.tasks import LoadTensor
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.memory import (
    Footprint,
    fitting_footprint,
    footprint,
    free_memory,
    left_by_control_groups,
    n_parameters,
)
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.parents import open_parents
from mergekit_calib.merging.plan import ResidentTensors
from mergekit_calib.merging.tokenizer_choice import choose_tokenizer
from mergekit_calib.recipe import dump_recipe, parse_sweep

OPTIONS = MergeOptions(random_seed=0, quiet=True)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
GB = 10**9


@pytest.fixture
def parents(make_model):
    return list(open_parents([str(make_model(seed=s)) for s in (1, 2)], OPTIONS).values())


def test_parents_in_the_recipes_dtype_are_mapped_and_take_no_memory(parents):
    needed = footprint(parents, "bfloat16", None, None, CPU, OPTIONS)
    assert (needed.live, needed.parents, needed.building) == (2 * n_parameters(parents[0]), 0, 0)
    assert needed.on_host == needed.on_device == needed.live + GB


def test_parents_in_another_dtype_are_copies(parents):
    n = n_parameters(parents[0])
    needed = footprint(parents, "float32", None, None, CPU, OPTIONS)
    assert (needed.live, needed.parents) == (4 * n, 2 * 4 * n)
    wide = footprint(parents, None, None, torch.float32, CPU, OPTIONS)
    assert (wide.live, wide.parents, wide.building) == (4 * n, 0, 2 * n)


def test_copies_have_the_recipes_dtype_and_the_live_model_its_out_dtype(parents):
    n = n_parameters(parents[0])
    needed = footprint(parents, "float32", "bfloat16", None, CPU, OPTIONS)
    assert (needed.live, needed.parents) == (2 * n, 2 * 4 * n)
    mapped = footprint(parents, None, "float32", None, CPU, OPTIONS)
    assert (mapped.live, mapped.parents) == (4 * n, 0)


def test_free_memory_is_that_of_the_numbered_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: asked.append(device) or (GB, 2 * GB))
    assert [free_memory(torch.device(name))[0] for name in ("cuda", "cuda:1")] == [GB, GB]
    assert asked == [3, 1]


def test_a_gpu_holds_the_live_model_and_the_parents_only_with_read_to_gpu(parents):
    n = n_parameters(parents[0])
    needed = footprint(parents, "bfloat16", None, None, GPU, OPTIONS)
    assert (needed.on_device, needed.on_host) == (2 * n + GB, 2 * n)
    read = footprint(parents, "bfloat16", None, None, GPU, MergeOptions(read_to_gpu=True, cuda=True))
    assert (read.on_device, read.on_host) == (3 * 2 * n + GB, 2 * n)


def test_free_memory_is_within_the_limit_of_the_control_group(tmp_path):
    own, job = tmp_path / "own", tmp_path / "slurm" / "job"
    own.write_text("0::/slurm/job/step\n")
    for folder, limit, used, cached in ((job, str(10 * GB), 4 * GB, GB), (job / "step", "max", 5, 0)):
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon {used}\ninactive_file {cached}\n")

    assert left_by_control_groups(tmp_path, own) == [7 * GB]
    assert left_by_control_groups(tmp_path, tmp_path / "absent") == []


def test_parents_are_streamed_if_copies_of_them_do_not_fit():
    needed = Footprint(CPU, live=4 * GB, building=0, parents=8 * GB)
    assert fitting_footprint(needed, 13 * GB, 13 * GB) == needed
    assert fitting_footprint(needed, 12 * GB, 12 * GB).streams
    on_gpu = Footprint(GPU, live=4 * GB, building=0, parents=8 * GB, parents_on_device=True)
    assert fitting_footprint(on_gpu, 5 * GB, 0).streams


@pytest.mark.parametrize(
    ("needed", "free", "message"),
    [
        (
            Footprint(CPU, 4 * GB, 0, 8 * GB),
            (4 * GB, 4 * GB),
            r"takes up to 5\.0 GB of memory.*4\.0 GB are free",
        ),
        (
            Footprint(GPU, 14 * GB, 14 * GB, 0),
            (20 * GB, 8 * GB),
            r"15\.0 GB on cuda:0 and 14\.0 GB of the host's.*20\.0 GB are free on cuda:0, 8\.0 GB on the host",
        ),
    ],
)
def test_a_sweep_that_does_not_fit_is_refused_with_the_numbers(needed, free, message):
    with pytest.raises(CalibError, match=message):
        fitting_footprint(needed, *free)


def test_workers_of_a_host_are_counted_together_and_the_message_says_how_many_would_fit():
    alone = Footprint(CPU, live=4 * GB, building=3 * GB, parents=2 * GB)
    four = replace(alone, workers=4)
    assert (alone.on_host, four.on_host) == (10 * GB, (4 * (4 + 1 + 2) + 3 + 4 * 0.5) * GB)  # models are built in turn
    assert fitting_footprint(four, 33 * GB, 33 * GB) == four
    assert fitting_footprint(four, 32 * GB, 32 * GB).streams
    message = r"takes up to 25\.0 GB of memory.*for each of 4 workers.*20\.0 GB are free on cpu\. 3 workers would fit"
    with pytest.raises(CalibError, match=message):
        fitting_footprint(four, 20 * GB, 20 * GB)


def test_workers_with_gpus_share_the_host_and_check_their_own_devices():
    needed = Footprint(GPU, live=14 * GB, building=14 * GB, parents=3 * GB, workers=8)
    assert (needed.on_device, needed.on_host) == (15 * GB, (14 + 8 * 3 + 8 * 0.5) * GB)
    assert fitting_footprint(needed, None, 42 * GB) == needed
    with pytest.raises(CalibError, match=r"; 15\.5 GB are free on the host\. 3 workers would fit"):
        fitting_footprint(needed, None, int(15.5 * GB))
    with pytest.raises(CalibError, match=r"; 14\.0 GB are free on cuda:0\. Another `device`"):
        fitting_footprint(replace(needed, workers=1), 14 * GB, None)


def test_streamed_parents_give_the_same_weights_and_are_read_again_for_each_point(make_model, tmp_path, monkeypatch):
    register()
    base, aligned = make_model(seed=1), make_model(seed=2)
    recipe = {
        "merge_method": "calibration_sweep",
        "base_model": str(base),
        "models": [{"model": str(aligned)}],
        "parameters": {"method": "ties", "density": 0.5},
        "dtype": "float32",
        "calibration": {"axes": {"lambda": [0.3, 0.7]}, "suite": ["arc_easy"]},
    }
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    models = open_parents(sweep.models, OPTIONS)
    choice = choose_tokenizer(sweep, models, OPTIONS)
    execute, reads, digests, n_reads = LoadTensor.execute, [], [], []
    monkeypatch.setattr(LoadTensor, "execute", lambda self, **_: reads.append(self.tensor) or execute(self))
    for keep in (True, False):
        reads.clear()
        points = PointModels(OPTIONS, choice, tmp_path, CPU, keep_parents=keep)
        digests.append([_digest(points, point) for point in sweep.grid()])
        n_reads.append(len(reads))
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 2
    assert n_reads[1] == 2 * n_reads[0] > 0


def _digest(points: PointModels, point) -> str:
    with points.at(point) as ready:
        return ready.digest


def test_resident_tensors_that_are_kept_are_read_once(make_model):
    from mergekit.common import ModelReference

    model = ModelReference.parse(str(make_model(seed=1)))
    task = LoadTensor(model=model, tensor="model.norm.weight", dtype="float32")
    kept, streamed = ResidentTensors(OPTIONS), ResidentTensors(OPTIONS, keep=False)
    assert kept[task] is kept[task]
    assert streamed[task] is not streamed[task]
    assert torch.equal(kept[task], streamed[task])
