"""One run: a scenario, an arm and a seed on the SimPy clock."""
