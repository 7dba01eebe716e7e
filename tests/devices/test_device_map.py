"""`device_map` in `model_args`: lm-eval's spellings, what it resolves to, and what is refused with the numbers."""

from __future__ import annotations

import pytest
import torch

from helpers.device_tags import DeviceTags
from helpers.prepared_sweeps import prepared, short_form
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.device_map import DeviceMap, device_map_of
from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.memory import SCORING_BYTES, footprint, free_memory

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)
ROOMS = {FIRST: 10**9, SECOND: 2 * 10**9}


@pytest.mark.parametrize(
    ("model_args", "rooms"),
    [
        ({"device_map": "auto"}, ROOMS),
        ({"parallelize": True}, ROOMS),
        ({"parallelize": True, "max_memory_per_gpu": "100MB"}, dict.fromkeys(ROOMS, 10**8)),
        ({"device_map": "auto", "max_memory_per_gpu": 10**8}, dict.fromkeys(ROOMS, 10**8)),
    ],
)
def test_lm_evals_spellings_ask_for_a_map(model_args, rooms):
    assert device_map_of(model_args, ROOMS) == DeviceMap("auto", rooms)


@pytest.mark.parametrize("model_args", [{}, {"parallelize": False}, {"dtype": "bfloat16"}, {"device": "cpu"}])
def test_other_arguments_ask_for_none(model_args):
    assert device_map_of(model_args, ROOMS) is None


@pytest.mark.parametrize("rooms", [{}, {FIRST: 10**9}])
def test_with_one_gpu_or_none_there_is_nothing_to_spread_over(rooms):
    assert device_map_of({"device_map": "auto"}, rooms) is None


@pytest.mark.parametrize(
    ("model_args", "says"),
    [
        ({"device_map": "autp"}, "'autp' (did you mean 'auto'?)"),
        ({"device_map": ["auto"]}, "module → device"),
        ({"device_map": {"": 2}}, "the GPUs here: cuda:0, cuda:1"),
        ({"device_map": {"": "nonsense"}}, "the GPUs here: cuda:0, cuda:1"),
        ({"device_map": "auto", "device": "cuda:0"}, "both device and device_map"),
        ({"parallelize": True, "device": "cuda:0"}, "both device and parallelize"),
        ({"max_memory_per_gpu": "1GB"}, "needs `device_map: auto`"),
        ({"parallelize": True, "max_memory_per_gpu": "lots"}, "as 10GiB"),
        ({"parallelize": "yes"}, "true or false"),
    ],
)
def test_values_that_cannot_be_used_are_refused(model_args, says):
    with pytest.raises(CalibError) as caught:
        device_map_of(model_args, ROOMS)
    assert says in str(caught.value)


@pytest.mark.parametrize("wish", ["auto", "sequential"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "mixtral"])
def test_layers_are_whole_and_fit_into_the_rooms(small_model, name, wish):
    model = empty_model(small_model(name).config, False)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    rooms = {FIRST: int(0.95 * n_bytes), SECOND: int(0.8 * n_bytes)}
    placed = DeviceMap(wish, rooms).resolved(model)
    assert set(placed.values()) == {FIRST, SECOND}
    for device, room in rooms.items():
        mine = {
            p
            for name, p in model.named_parameters()
            if device in {d for module, d in placed.items() if name == module or name.startswith(f"{module}.")}
        }
        assert sum(p.numel() * p.element_size() for p in mine) <= room


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"": 0, "model.layers.1": "cpu"}, "(model.layers.1 and on) would lie on the CPU or a disk"),
        ({"": "disk"}, "would lie on the CPU or a disk"),
        ({"": 0, "model.layer.1": 1}, "no module 'model.layer.1' (did you mean 'model.layers.1'"),
        ({"model.layers": 0, "lm_head": 1}, "leaves out a part of the model"),
    ],
)
def test_maps_that_leave_a_part_without_a_gpu_are_refused(small_model, wish, says):
    given = device_map_of({"device_map": wish}, ROOMS)
    assert given is not None
    assert given.devices
    with pytest.raises(CalibError) as caught:
        given.resolved(small_model("llama"))
    assert says in str(caught.value)


def test_a_model_that_no_two_gpus_hold_is_refused_with_the_numbers_before_it_is_loaded(make_model, task, tmp_path):
    recipe = short_form(make_model(seed=0), make_model(seed=1))
    with DeviceTags(free_bytes=SCORING_BYTES + 100), pytest.raises(CalibError) as caught:
        prepared(recipe, task, tmp_path / "out", model_args={"device_map": "auto"})
    assert "the model has 0.0 GB of weights" in str(caught.value)
    assert "Room for weights: cuda:0 0.0 GB, cuda:1 0.0 GB" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_devices_are_in_no_content_key_and_memory_is_counted_over_all_of_them(make_model, task, tmp_path):
    recipe = short_form(make_model(seed=0), make_model(seed=1))
    on_cpu = prepared(recipe, task, tmp_path / "out")
    with DeviceTags():
        spread = prepared(recipe, task, tmp_path / "out", model_args={"device_map": "auto"})
        assert free_memory(FIRST, (SECOND,))[0] == 2 * 2**31
        assert spread.point_models()._device_map == spread.device_map
    assert spread.memory.devices == "cuda:0 and cuda:1"
    assert spread.memory.on_device == spread.memory.live + 2 * SCORING_BYTES
    assert spread.device == FIRST
    assert spread.key_of(spread.parents[0]) == on_cpu.key_of(on_cpu.parents[0])
    assert spread.study_name == on_cpu.study_name
    needed = footprint(spread.models.values(), None, None, None, FIRST, spread.options, others=(SECOND,))
    assert "on cuda:0 and cuda:1" in needed.peak
