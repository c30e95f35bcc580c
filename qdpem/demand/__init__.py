"""Demand: requests, and the random streams they come from."""
