"""Arms times seeds on an engine; statistics; tuning; the report."""
