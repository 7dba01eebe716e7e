"""Item scores read from disk equal those that were written."""

from __future__ import annotations

import numpy as np

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
