"""Writes the generated parts of the reference: `python docs/generator`."""
