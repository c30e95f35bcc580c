"""One module per command of `qdpem`."""
