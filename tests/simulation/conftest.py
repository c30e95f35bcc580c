"""The scenario builders and scripted policies of `tests.helpers.line_scenarios`, as fixtures."""

from tests.helpers.line_scenarios import arrive, chain, line, script

__all__ = ["arrive", "chain", "line", "script"]
