"""Item scores read from disk equal those that were written; damaged ones are found and kept aside."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib.items.item_files import UnreadableItemsError, read_items
from mergekit_calib.items.store import ItemStore, StoredPoint
from mergekit_calib.items.table import ItemTable


def test_item_tables_read_from_disk_equal_those_written(tmp_path):
    table = ItemTable(
        task="t",
        doc_ids=np.array([3, 5]),
        doc_hashes=["a", "b"],
        log_likelihoods=np.array([[-1.5, -np.inf, np.nan], [-0.25, -2.0, -3.0]]),
        labels=np.array([[True, False, False], [False, True, True]]),
        choice_chars=np.array([[1, 2, 0], [3, 4, 5]]),
        choice_bytes=np.array([[1, 3, 0], [3, 4, 5]]),
        values={"own": np.array([0.5, 1.0])},
    )
    generated = ItemTable(
        task="g",
        doc_ids=np.array([0]),
        doc_hashes=["c"],
        log_likelihoods=np.empty((1, 0)),
        labels=np.empty((1, 0), dtype=bool),
        choice_chars=np.empty((1, 0), dtype=np.int64),
        choice_bytes=np.empty((1, 0), dtype=np.int64),
        generations=[["one", "two"]],
    )
    store = ItemStore(tmp_path)
    store.save(
        "k" * 16, StoredPoint("p/1", {"e": [table], "f": [generated]}, "digest", {"merge": 1.0}), {"recipe": "r"}
    )
    back = store.load("k" * 16)
    assert (back.id, back.digest, back.seconds) == ("p/1", "digest", {"merge": 1.0})
    for before, after in ((table, back.tables["e"][0]), (generated, back.tables["f"][0])):
        for name in ("doc_ids", "log_likelihoods", "labels", "choice_chars", "choice_bytes"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert after.doc_hashes == before.doc_hashes
        assert after.generations == before.generations
        assert {k: v.tolist() for k, v in after.values.items()} == {k: v.tolist() for k, v in before.values.items()}


def point_with(value: float) -> StoredPoint:
    table = ItemTable(
        task="t",
        doc_ids=np.array([0]),
        doc_hashes=["a"],
        log_likelihoods=np.array([[value, -2.0]]),
        labels=np.array([[True, False]]),
        choice_chars=np.array([[1, 2]]),
        choice_bytes=np.array([[1, 3]]),
        values={"acc": np.array([1.0])},
    )
    return StoredPoint("p", {"t": [table]}, "digest", {})


@pytest.fixture
def store(tmp_path) -> ItemStore:
    return ItemStore(tmp_path / "items")


@pytest.mark.parametrize("first", range(3))
def test_a_flipped_bit_is_found_or_changes_nothing(store, first):
    path = store.save("k" * 16, point_with(-1.0), {})
    data = path.read_bytes()
    facts, rows = read_items(path)
    n_found = 0
    positions = range(first, len(data), 61)
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert read_items(path, "k" * 16) == (facts, rows)
        except UnreadableItemsError:
            n_found += 1
    assert n_found > len(positions) / 2


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"PAR1" + bytes(100) + b"PAR1"],
    ids=["emptied", "cut", "garbage"],
)
def test_a_damaged_file_is_kept_aside_and_its_point_is_scored_again(store, caplog, damage):
    path = store.save("k" * 16, point_with(-1.0), {})
    store.save("l" * 16, point_with(-3.0), {})
    path.write_bytes(damage(path.read_bytes()))
    assert [key for key, _ in store.described()] == ["l" * 16]
    assert store.load("k" * 16) is None
    assert path.with_name(path.name + ".unreadable").exists()
    assert path.name in caplog.text
    store.save("k" * 16, point_with(-1.0), {})
    assert store.load("k" * 16) is not None


def test_a_file_named_like_that_of_another_point_is_not_taken_for_it(store):
    path = store.save("k" * 16, point_with(-1.0), {})
    path.rename(path.with_name(f"p-{'l' * 16}.parquet"))
    assert store.load("l" * 16) is None
    assert not list(store.described())


def test_of_two_files_with_one_key_the_whole_one_is_read(store):
    path = store.save("k" * 16, point_with(-1.0), {})
    path.with_name(f"a copy-{'k' * 16}.parquet").write_bytes(b"garbage")
    loaded = store.load("k" * 16)
    assert loaded is not None
    assert loaded.tables["t"][0].log_likelihoods.tolist() == [[-1.0, -2.0]]


def test_folders_links_and_other_files_are_no_item_scores(store, tmp_path):
    store.save("k" * 16, point_with(-1.0), {})
    (store.folder / f"folder-{'l' * 16}.parquet").mkdir()
    (store.folder / f"link-{'m' * 16}.parquet").symlink_to(tmp_path / "nowhere")
    (store.folder / "notes.parquet").write_text("mine")
    (store.folder / "notes.txt").write_text("mine")
    assert [key for key, _ in store.described()] == ["k" * 16]


def test_scores_of_a_newer_version_are_kept_aside(store, caplog, monkeypatch):
    monkeypatch.setattr("mergekit_calib.items.item_files.FORMAT", 99)
    store.save("k" * 16, point_with(-1.0), {})
    monkeypatch.undo()
    assert store.load("k" * 16) is None
    assert "is of a newer version" in caplog.text
