"""The size of runs, foreseen before they begin: refused beyond the machine, else warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdpem.cli.console import console

if TYPE_CHECKING:
    from qdpem.network.graph import Network
    from qdpem.scenario.schema import Scenario


def check_size(
    scenario: Scenario,
    *,
    oversize: bool,
    runs: int = 1,
    network: Network | None = None,
    rate_hz: float | None = None,
) -> None:
    """Print the warnings of a scenario's size on stderr. Raises SizeError if the machine is too small.

    Args:
        scenario: of the runs.
        oversize: begin however large the runs are.
        runs: at the same time.
        network: already built; what the scenario says about it when None.
        rate_hz: of requests, where the scenario does not state it.
    """
    from qdpem.parallel import memory_bytes
    from qdpem.scenario.size import estimate_size, require_size

    if network is None:
        estimate = estimate_size(scenario, rate_hz=rate_hz)
    else:
        estimate = estimate_size(
            scenario,
            nodes=network.node_count,
            links=network.link_count,
            rate_hz=rate_hz or None,
            delay_s=float(network.delay_s.max()),
        )
    warnings = require_size(estimate, memory_bytes=memory_bytes(), runs=runs, oversize=oversize)
    for warning in warnings:
        console(stderr=True).print(f"warning: {warning}", style="yellow", markup=False)


def runs_at_once(workers: int | None, tasks: int, *, engine: str = "loky") -> int:
    """How many of `tasks` runs are at work at a time."""
    from qdpem.parallel import cores

    return 1 if engine == "serial" else max(1, min(workers or cores(), tasks))
