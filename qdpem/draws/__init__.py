"""The random draws of a run: emissions, attempts and outcomes. They are the same for every arm of a seed."""
