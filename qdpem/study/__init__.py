"""Studies: arms times seeds on an engine, their statistics, tuning and the report."""
