"""Files of item scores as version 0.1 wrote them: without a checksum."""

from __future__ import annotations

import pyarrow as pa


def as_of_version_0_1(table: pa.Table) -> pa.Table:
    """Return a table with the metadata of version 0.1, which has the facts alone."""
    return table.replace_schema_metadata({b"mergekit_calib": table.schema.metadata[b"mergekit_calib"]})
