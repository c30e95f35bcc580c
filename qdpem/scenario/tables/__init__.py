"""The tables of a scenario as frozen dataclasses, checked when they are built."""
