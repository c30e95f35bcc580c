"""Demand processes: the generators of a mixture, each with the expectation of one who knows it."""
