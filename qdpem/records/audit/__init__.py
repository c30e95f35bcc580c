"""Every pair of a record, replayed under a reference physics model."""
