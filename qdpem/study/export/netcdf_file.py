"""A table as a netCDF-4 file: one dimension, `row`, and a variable for each column."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qdpem.events.tables import TEXT
from qdpem.extras import require_packages
from qdpem.study.export.exported_table import ExportedTable

_ROW = "row"
_CHUNK_ROWS = 4096
_TEXT_DTYPE = np.dtype("O", metadata={"vlen": str})
"""Text of any length, as h5py marks it."""


def write_netcdf(path: Path, table: ExportedTable) -> None:
    """Write one table, with units and meaning of each variable and the provenance of the file as attributes.

    Codes stay codes, with `flag_values` and `flag_meanings` as the CF conventions (section 3.5) have it.
    Raises MissingPackagesError without h5netcdf.
    """
    require_packages(["h5netcdf"], extra="report", user="export to netcdf")
    import h5netcdf

    with h5netcdf.File(path, "w") as file:
        file.attrs.update({key: value for key, value in table.facts.items() if value})
        file.attrs["title"] = f"qdpem table {table.name}"
        file.dimensions = {_ROW: None}
        for column in table.columns:
            dtype = _TEXT_DTYPE if column.dtype == TEXT else np.dtype(column.dtype)
            variable = file.create_variable(column.name, (_ROW,), dtype=dtype, chunks=(_CHUNK_ROWS,))
            variable.attrs["units"] = column.unit or "1"
            variable.attrs["long_name"] = column.meaning
            if column.words:
                variable.attrs["flag_values"] = np.arange(len(column.words), dtype=column.dtype)
                # The convention parts meanings by blanks.
                variable.attrs["flag_meanings"] = " ".join(word.replace(" ", "_") for word in column.words)
        first = 0
        for block in table.blocks():
            last = first + len(block[table.columns[0].name])
            file.resize_dimension(_ROW, last)
            for column in table.columns:
                values = block[column.name]
                file[column.name][first:last] = values.astype(object) if column.dtype == TEXT else values
            first = last
