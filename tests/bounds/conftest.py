"""A line of nodes to put bounds on."""

from tests.helpers.line_scenarios import line

__all__ = ["line"]
