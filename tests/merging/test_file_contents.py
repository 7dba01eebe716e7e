"""Hashes of contents alone: equal copies are equal, and no byte may differ."""

from __future__ import annotations

import os
import shutil

import pytest
from mergekit.options import MergeOptions

from mergekit_calib.merging import parents
from mergekit_calib.merging.file_contents import content_fingerprint, content_of_model
from mergekit_calib.merging.parents import fingerprint, open_parents

LARGE = (64 << 20) + 1  # bytes; of files above 64 MiB, content keys take samples and the time of change


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("original") / "model.safetensors"
    with file.open("wb") as stream:
        stream.truncate(LARGE)
    return file


def copy_of(file, folder):
    folder.mkdir(exist_ok=True)
    copy = folder / file.name
    shutil.copyfile(file, copy)
    os.utime(copy, ns=(1, 1))
    return copy


def test_equal_copies_with_other_times_are_equal(large_file, tmp_path):
    copy = copy_of(large_file, tmp_path / "copy")
    assert content_fingerprint([copy]) == content_fingerprint([large_file])
    assert fingerprint([copy]) != fingerprint([large_file])  # the reason why there are two


@pytest.mark.parametrize("place", [0, parents._SAMPLE_BYTES + 1, LARGE - 1], ids=["sampled", "unsampled", "last"])
def test_one_changed_byte_changes_it_wherever_it_is(large_file, tmp_path, place):
    copy = copy_of(large_file, tmp_path / "copy")
    with copy.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\1")
    assert content_fingerprint([copy]) != content_fingerprint([large_file])


def test_a_model_is_its_config_and_weights_by_name(make_model, tmp_path):
    folder = make_model()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    options = MergeOptions()
    ours, theirs = open_parents([str(folder), str(copy)], options).values()
    assert content_of_model(ours, options) == content_of_model(theirs, options)
    assert {"config.json", "model.safetensors"} <= content_of_model(ours, options).keys()
