"""What a node sees pass of other nodes' requests: each reservation that it has granted, by its link."""

from __future__ import annotations

import numpy as np

from qdpem.policies.minimum_hop import CentralFirstComeFirstServed, LocalMinimumHop
from qdpem.scenario.schema import Arm
from qdpem.simulation.run import simulate


class Watching(LocalMinimumHop):
    """Minimum hop, asked at every epoch; it keeps its last observation of all sites."""

    acts_every_epoch = True

    def act(self, observations):
        if len(observations) == len(self._context.sites):
            self.last = observations
        return super().act(observations)


def watched(scenario, *, arm="local-minhop", seed=1):
    policy = Watching(Watching.Parameters())
    tables = simulate(scenario, Arm(name=arm), seed=seed, policy=policy).tables
    return policy.last, tables


def test_counts_are_the_reservations_that_came_by(line):
    """Idle enough that none is refused: the paths of the record say how often each node was on one."""
    last, tables = watched(line(nodes=5, rate_hz=3.0, measured_s=10.0))
    allocations, steps = tables["allocations"], tables["path_steps"]
    assert not allocations["cause"].any()
    early = allocations["allocation"][allocations["time_s"] < last.time_s - 0.01]
    late = allocations["allocation"][allocations["time_s"] >= last.time_s - 0.01]
    expected = np.zeros((2, 5, 5), dtype=int)
    for at, chosen in enumerate((early, np.concatenate([early, late]))):
        for allocation in chosen.tolist():
            path = steps["node"][steps["allocation"] == allocation].tolist()
            for place, node in enumerate(path[1:], start=1):
                expected[at, node, node] += 1
                for neighbour in path[place - 1 : place + 2 : 2]:
                    expected[at, node, neighbour] += 1
    for row, site in enumerate(last.site.tolist()):
        around = last.observed_node[row]
        seen = dict(zip(around.tolist(), last.carried_count[row].tolist(), strict=True))
        assert seen.pop(-1, -1) == -1
        for node, count in seen.items():
            assert expected[0, site, node] <= count <= expected[1, site, node]
    assert last.carried_count.max() > 5


def test_own_requests_and_paths_elsewhere_leave_the_counts_of_a_node_at_zero(line, arrive):
    arrive([(1.0, 0, 2), (2.0, 0, 2)])
    last, _ = watched(line(nodes=4, measured_s=3.0))
    assert last.carried_count.tolist() == [[0, 0, -1], [2, 2, 2], [2, 2, 0], [0, 0, -1]]


def test_the_controller_has_none_since_all_orders_are_its_own(line):
    class Central(Watching):
        control = CentralFirstComeFirstServed.control

    policy = Central(Central.Parameters())
    simulate(line(measured_s=3.0), Arm(name="central-fcfs"), seed=1, policy=policy)
    assert (policy.last.carried_count == -1).all()
    assert policy.last.carried_count.shape == policy.last.observed_node.shape
