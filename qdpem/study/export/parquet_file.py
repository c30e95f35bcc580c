"""A table as a Parquet file, with types, units and provenance as metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qdpem.events.tables import TEXT, Column
from qdpem.extras import require_packages
from qdpem.study.export.exported_table import ExportedTable


def write_parquet(path: Path, table: ExportedTable) -> None:
    """Write one table: codes as dictionaries, `units` and `meaning` of each field, provenance of the schema.

    Raises MissingPackagesError without pyarrow.
    """
    require_packages(["pyarrow"], extra="report", user="export to parquet")
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [
            pyarrow.field(
                column.name, _type(column), metadata={"units": column.unit, "meaning": column.meaning}
            )
            for column in table.columns
        ],
        metadata=dict(table.facts),
    )
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for block in table.blocks():
            arrays = [_array(column, block[column.name]) for column in table.columns]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _type(column: Column) -> Any:
    import pyarrow

    if column.dtype == TEXT:
        return pyarrow.string()
    plain = pyarrow.from_numpy_dtype(column.dtype)
    return pyarrow.dictionary(plain, pyarrow.string()) if column.words else plain


def _array(column: Column, values: NDArray[Any]) -> Any:
    import pyarrow

    if column.dtype == TEXT:
        return pyarrow.array(values.tolist(), type=pyarrow.string())
    array = pyarrow.array(values.astype(column.dtype, copy=False))
    if not column.words:
        return array
    # The codes are the indices already.
    return pyarrow.DictionaryArray.from_arrays(array, pyarrow.array(list(column.words)))
