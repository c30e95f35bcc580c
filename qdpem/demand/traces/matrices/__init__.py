"""Series of traffic matrices: the value, its readers, and operations that return new values."""
