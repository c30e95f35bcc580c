"""One HDF5 file per run: written as it runs, read lazily, exported."""
