"""Column generation (Ford and Fulkerson 1958): the loop that all flow programmes share.

A master problem finds the best flow over the columns at hand and gives dual prices; the pricing problem finds
the columns that pay under these prices, and with them a bound on the flow over all columns. A programme
supplies its rows and its objective.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from qdpem.arrays import Floats
from qdpem.errors import QdpemError
from qdpem.flow.columns import Columns, PricingResult, ResourcePrices
from qdpem.network.graph import Network


class MasterSolution(NamedTuple):
    """An optimum over the columns at hand, in units of the mean rate of a commodity.

    `value`: of the best feasible flow so far. `flow`: per column; `emissions` [L, 2]: by both ends of each
    link. `delivery_value`: of one delivery; `demand_price` [K]: dual price of each commodity's demand. A
    column pays if it costs less than delivery_value - demand_price under the resource prices `prices`.
    """

    value: float
    flow: Floats
    emissions: Floats
    delivery_value: float
    demand_price: Floats
    prices: ResourcePrices


class MasterProblem(ABC):
    """The rows and the objective of a flow programme over its `columns`.

    `bound`: the best bound on the objective that prices have proved so far.
    """

    def __init__(self, network: Network, columns: Columns) -> None:
        self.network = network
        self.columns = columns
        self.bound = np.inf

    @abstractmethod
    def start(self) -> MasterSolution:
        """The prices to begin with, and no flow."""

    @abstractmethod
    def solve(self) -> MasterSolution:
        """The best flow over the columns at hand. Raises QdpemError when the solver fails."""

    @abstractmethod
    def dual_bound(self, solution: MasterSolution, pricing: PricingResult) -> float:
        """The bound that a solution's prices prove, given the cheapest columns under them."""

    def add_rows(self) -> bool:
        """Add rows that were left out and that the last solution violates; whether there were any."""
        return False

    def no_flow(self, prices: ResourcePrices, *, delivery_value: float) -> MasterSolution:
        """A solution with these prices, no price of demand, and no flow."""
        return MasterSolution(
            value=0.0,
            flow=np.zeros(len(self.columns)),
            emissions=np.zeros((self.network.link_count, 2)),
            delivery_value=delivery_value,
            demand_price=np.zeros(len(self.columns.rate)),
            prices=prices,
        )

    def flow_of(self, variables: Floats) -> tuple[Floats, Floats]:
        """Flow per column and emissions [L, 2] among a solver's variables, which begin with these."""
        paths, links = len(self.columns), self.network.link_count
        return variables[:paths], variables[paths : paths + 2 * links].reshape(links, 2)


class Generated(NamedTuple):
    """The last solution, the bound on the optimum over all columns, and how often the master was solved."""

    solution: MasterSolution
    bound: float
    iterations: int


def generate_columns(master: MasterProblem, *, tolerance: float, max_iterations: int) -> Generated:
    """Alternate between the pricing problem and the master problem.

    Ends when value and bound are within `tolerance` of each other, relatively, when no column pays and no row
    is violated, or after `max_iterations` solutions of the master problem. The bound holds in all cases.
    """
    columns, solution, iterations = master.columns, master.start(), 0
    while True:
        pricing = columns.price(solution.prices)
        # Dual bounds are not monotone from round to round, and each of them is valid: keep the best.
        master.bound = min(master.bound, master.dual_bound(solution, pricing))
        if master.bound - solution.value <= tolerance * master.bound or iterations == max_iterations:
            break
        columns_added = columns.add(pricing, below=solution.delivery_value - solution.demand_price)
        # Rows are added in any case: a violated row matters even when no column pays.
        rows_added = master.add_rows()
        # Before the first solution there may be columns of earlier programmes, which nothing has priced yet.
        unsolved = not iterations and len(columns)
        if not (columns_added or rows_added or unsolved):
            break
        solution = master.solve()
        iterations += 1
    return Generated(solution, master.bound, iterations)


def solve_linear_programme(objective: Floats, matrix: Any, limits: Floats, **options: Any) -> Any:
    """Minimise objective @ x subject to matrix @ x <= limits and x >= 0.

    `options` go to `scipy.optimize.linprog`, whose result is returned. Raises QdpemError when it fails.
    """
    from scipy.optimize import linprog

    result = linprog(objective, A_ub=matrix, b_ub=limits, **options)
    if result.status != 0:
        raise QdpemError(f"the flow programme was not solved: {result.message}")
    return result
