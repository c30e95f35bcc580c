"""The network of a scenario, built with progress, for the commands that describe it before anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdpem.cli.console import progress_bars
from qdpem.cli.size import check_size

if TYPE_CHECKING:
    from rich.console import Console

    from qdpem.network.graph import Network
    from qdpem.scenario.schema import Scenario
    from qdpem.study.analysis.network_summary import NetworkSummary


def network_with_summary(scenario: Scenario, *, seed: int, oversize: bool) -> tuple[Network, NetworkSummary]:
    """The network of one seed and its summary; the size of a run is checked before and after.

    Raises SizeError if the machine is too small, unless `oversize`.
    """
    from qdpem.network.build import build_network, build_physics
    from qdpem.study.analysis.network_summary import summarize_network

    check_size(scenario, oversize=oversize)
    with progress_bars() as bars:
        bar = bars.add_task(f"preparing {scenario.name}", total=None, detail="building the network")
        physics = build_physics(scenario)
        network = build_network(scenario, physics, seed=seed)
        bars.update(bar, detail="finding paths and the load")
        summary = summarize_network(scenario, network=network, physics=physics, seed=seed)
        bars.remove_task(bar)
    # Again, now that the network and the rate of requests are known.
    check_size(scenario, oversize=oversize, network=network, rate_hz=summary.load.rate_hz)
    return network, summary


def print_summary(summary: NetworkSummary, *, console: Console) -> None:
    """Print the summary and its warnings."""
    console.print(str(summary), markup=False)
    for warning in summary.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)
