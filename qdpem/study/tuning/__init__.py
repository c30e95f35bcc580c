"""The search for a policy's parameters on tuning seeds, by successive halving."""
