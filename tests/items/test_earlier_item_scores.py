"""Item scores that version 0.1 wrote: the column of the labels has the name `gold` there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergekit_calib.items.store import ItemStore

ROWS = [
    {
        "entry": "quiz",
        "task": "quiz",
        "doc_id": 0,
        "doc_hash": "00aa",
        "log_likelihoods": [-0.5, -1.5, -2.5],
        "gold": [False, True, False],
        "choice_chars": [3, 4, 5],
        "choice_bytes": [3, 4, 6],
        "generations": None,
        "values": [("acc", 0.0)],
    },
    {
        "entry": "quiz",
        "task": "quiz",
        "doc_id": 1,
        "doc_hash": "00bb",
        "log_likelihoods": [-0.25, -1.25],
        "gold": [True, False],
        "choice_chars": [3, 4],
        "choice_bytes": [3, 4],
        "generations": None,
        "values": [("acc", 1.0)],
    },
]
SCHEMA = pa.schema(
    [
        ("entry", pa.string()),
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("doc_hash", pa.string()),
        ("log_likelihoods", pa.list_(pa.float64())),
        ("gold", pa.list_(pa.bool_())),
        ("choice_chars", pa.list_(pa.int64())),
        ("choice_bytes", pa.list_(pa.int64())),
        ("generations", pa.list_(pa.string())),
        ("values", pa.map_(pa.string(), pa.float64())),
    ]
)
KEY = "0123456789abcdef"


@pytest.fixture
def store(tmp_path: Path) -> ItemStore:
    facts = {"id": "lambda=0.5", "digest": "d1", "seconds": {"merge": 1.0}, "stopped": None}
    schema = SCHEMA.with_metadata({"mergekit_calib": json.dumps(facts)})
    pq.write_table(pa.Table.from_pylist(ROWS, schema=schema), tmp_path / f"lambda=0.5-{KEY}.parquet")
    return ItemStore(tmp_path)


def test_the_labels_are_read_from_the_column_gold(store):
    point = store.load(KEY)
    assert point is not None
    assert (point.id, point.digest, point.n_items) == ("lambda=0.5", "d1", 2)
    (table,) = point.tables["quiz"]
    np.testing.assert_array_equal(table.labels, [[False, True, False], [True, False, False]])
    np.testing.assert_array_equal(table.log_likelihoods, [[-0.5, -1.5, -2.5], [-0.25, -1.25, np.nan]])
    np.testing.assert_array_equal(table.values["acc"], [0.0, 1.0])


def test_a_point_saved_again_reads_the_same(store, tmp_path):
    point = store.load(KEY)
    assert point is not None
    again = ItemStore(tmp_path / "again")
    path = again.save(KEY, point, {})
    assert "labels" in pq.read_schema(path).names
    read = again.load(KEY)
    assert read is not None
    np.testing.assert_array_equal(read.tables["quiz"][0].labels, point.tables["quiz"][0].labels)
