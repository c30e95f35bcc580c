"""How much a network can deliver in the long run: a multicommodity flow, by column generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdpem.arrays import Floats
from qdpem.flow.column_generation import (
    Generated,
    MasterProblem,
    MasterSolution,
    generate_columns,
    solve_linear_programme,
)
from qdpem.flow.columns import Columns, PricingResult, ResourcePrices
from qdpem.flow.commodities import Commodity
from qdpem.network.graph import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowBound:
    """The long-run optimum, between the best flow and the bound that duality proves.

    `offered_hz`: requests per second. `delivered_hz`: deliveries of the best flow. `bound_hz`: no flow
    delivers more, converged or not. `fraction`: bound_hz / offered_hz (1 when nothing is offered).
    `iterations` and `columns` of the column generation. Loads are use / capacity in the best flow, 0 where
    there is no capacity: `link_load` float64 [L] of the pairs that a link could make if it had both its
    sources for itself, `source_load` [N] of the emissions, `repeater_load` [N] of the swap tokens.
    """

    offered_hz: float
    delivered_hz: float
    bound_hz: float
    fraction: float
    iterations: int
    columns: int
    link_load: Floats
    source_load: Floats
    repeater_load: Floats


def flow_bound(
    network: Network, commodities: Sequence[Commodity], *, tolerance: float = 1e-6, max_iterations: int = 200
) -> FlowBound:
    """The maximum rate of requests that any policy could deliver in the long run, on mean rates.

    max sum_kp x_kp over paths p of at most max_hops links, where x, y >= 0 and
    demand: sum_p x_kp <= rate_k;  link e = (u, v): sum x_kp n_kpe <= eta_e (y_eu + y_ev) if it is
    source-limited, else modes_e x p_e / period_e;
    source v: sum_e y_ev <= source_rate_hz;  repeater v: sum x_kp m_kpv <= repeater_rate_hz.

    A delivery takes pairs x pairs_per_link fresh pairs on each link, divided by the better success
    probability of the link's two ends if there is any swap, and pairs / success probability swaps at each
    inner node. Columns are generated (`column_generation`). Any nonnegative prices of links and swaps give a
    bound: sum_k rate_k max(0, 1 - min cost_k) + sum_v g_v max_e eta_e price_e, over source-limited e,
    + sum_e capacity_e price_e over the other links + sum_v c_v price_v. The generation ends when bound and
    flow are within `tolerance` of each other, relatively, or after `max_iterations`.

    Ages, deadlines and memories are left out. That only raises the optimum if the options of the commodities
    hold every plan that an arm may use. The bound holds for long-run means: a run of one seed is finite and
    may exceed it by chance, so it serves as a guide and a scale, and no check compares a run with it. Raises
    QdpemError when the solver fails.
    """
    master = _DeliveryMaster(network, Columns(network, commodities))
    return master.result(generate_columns(master, tolerance=tolerance, max_iterations=max_iterations))


class _DeliveryMaster(MasterProblem):
    """Maximises deliveries. The bound begins at all that is offered."""

    def __init__(self, network: Network, columns: Columns) -> None:
        super().__init__(network, columns)
        self.bound = float(columns.rate.sum())

    def start(self) -> MasterSolution:
        """No resource has a price."""
        free = ResourcePrices(np.zeros(self.network.link_count), np.zeros(self.network.node_count))
        return self.no_flow(free, delivery_value=1.0)

    def dual_bound(self, solution: MasterSolution, pricing: PricingResult) -> float:
        """The demand that is worth serving, plus the value of all capacities."""
        columns = self.columns
        return float(
            columns.rate @ np.maximum(0.0, 1.0 - pricing.cost) + columns.capacity_value(solution.prices)
        )

    def solve(self) -> MasterSolution:
        """Variables: flow per column, emissions per end of each link."""
        from scipy.sparse import csr_matrix, hstack

        columns = self.columns
        limits = np.concatenate([columns.demand, columns.capacities])
        matrix = hstack([columns.matrix(), columns.emission_matrix()], format="csr")
        gains = np.concatenate([np.ones(len(columns)), np.zeros(2 * self.network.link_count)])
        result = solve_linear_programme(-gains, csr_matrix(matrix), limits, method="highs")
        flow, emissions = self.flow_of(result.x)
        demand_price, prices = columns.dual_prices(-result.ineqlin.marginals)
        return MasterSolution(-float(result.fun), flow, emissions, 1.0, demand_price, prices)

    def result(self, generated: Generated) -> FlowBound:
        """The best flow, in requests per second, and the load it puts on each resource."""
        network, columns, (solution, bound, iterations) = self.network, self.columns, generated
        _, pairs, _, swaps = columns.row_use(solution.flow)
        emitted_pairs = columns.per_emission * solution.emissions.sum(axis=1)
        # The solver may let links emit more than the flow needs.
        needed = solution.emissions * _fraction(pairs, emitted_pairs)[:, None]
        emitted = np.zeros(network.node_count)
        np.add.at(emitted, network.graph.link_ends, needed)
        offered, unit_hz = float(columns.rate.sum()), columns.unit_hz
        return FlowBound(
            offered_hz=offered * unit_hz,
            # Solver tolerance may lift the value slightly above the proved bound.
            delivered_hz=min(solution.value, bound) * unit_hz,
            bound_hz=bound * unit_hz,
            fraction=bound / offered if offered > 0.0 else 1.0,
            iterations=iterations,
            columns=len(columns),
            link_load=_fraction(pairs, network.link_rate_hz / unit_hz),
            source_load=_fraction(emitted, network.source_rate_hz / unit_hz),
            repeater_load=_fraction(swaps, network.repeater_rate_hz / unit_hz),
        )


def _fraction(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)
