"""The table `expected_demand`: every forecast for every peer, for records of level "full"."""

from __future__ import annotations

import numpy as np

from qdpem.events.full_tables import EXPECTED_DEMAND
from qdpem.events.recorder import Recorder, named_row
from qdpem.simulation.observation.forecasts import Forecasts

_row = named_row(EXPECTED_DEMAND)


class ExpectedDemandTable:
    """Writes forecasts, if the recorder wants them."""

    def __init__(self, recorder: Recorder) -> None:
        self._active = recorder.wants(EXPECTED_DEMAND)
        self._write = recorder.appender(EXPECTED_DEMAND)

    def write(self, forecasts: Forecasts, now_s: float) -> None:
        """Write the latest forecast, made now: a row for each peer and step; none without a forecast."""
        if not self._active:
            return
        peers, latest = forecasts.peers, forecasts.latest
        for node, place in np.argwhere(peers.known).tolist():
            destination = int(peers.destination[node, place])
            target_fidelity = float(peers.target_fidelity[node, place])
            pairs = int(peers.pairs[node, place])
            steps = zip(
                latest.scheduled[node, place].tolist(), latest.unscheduled[node, place].tolist(), strict=True
            )
            for step, (scheduled, unscheduled) in enumerate(steps, start=1):
                # NaN is no forecast.
                if scheduled == scheduled:
                    self._write(
                        _row(
                            time_s=now_s,
                            node=node,
                            destination=destination,
                            target_fidelity=target_fidelity,
                            pairs=pairs,
                            step=step,
                            scheduled=scheduled,
                            unscheduled=unscheduled,
                        )
                    )
