"""The speed of the GRU forecaster, as JSON lines.

    python benchmarks/forecasting.py [--rounds 5] [--fit SCENARIO] [--seed 3]

- `training`: loss and gradients of one window of 48 steps for 100 nodes of 8 peers, all units in one product,
  against a loop over 100 `torch.nn.GRU`, on the same numbers in the same run. `ratio` is the speed-up, and
  `agreement` the largest relative difference of the losses of a node; above 1e-4 the exit code is 1.
- `forecast`: milliseconds of `forecast()` and of `update()` for 100 nodes of 8 peers; asked: below 5 for
  `forecast()`.
- `fit`, with --fit: seconds of CPU of a fit on the history of a scenario.

Figures are medians over the rounds, in CPU time of one thread.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# The benchmark of physics, next to this one, has the package's name and must not be found in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

# ruff: noqa: E402
import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from qdpem import load_scenario
from qdpem.demand.peers import PeerTable
from qdpem.demand.requests import Requests
from qdpem.forecasting.checks.reference_demand import by_step, forecast_context, scenario_arrivals
from qdpem.forecasting.features.peer_features import FEATURES
from qdpem.forecasting.features.schedule import SCHEDULES
from qdpem.forecasting.gru import GruForecast
from qdpem.forecasting.pretrained import UNITS, load_pretrained
from qdpem.forecasting.recurrent.cell import TRUSTS
from qdpem.forecasting.recurrent.fitting import copy_to_groups
from qdpem.forecasting.recurrent.likelihood import negative_log_likelihood, trusted_starts
from qdpem.forecasting.recurrent.series import STRIDE, Series
from qdpem.forecasting.recurrent.training import WINDOW, SeriesTensors, series_tensors, windows
from qdpem.policy.forecaster import ForecastContext

NODES, PEERS, HORIZON = 100, 8, 8
AGREEMENT = 1e-4


def cpu_s(work: Callable[[], Any]) -> float:
    """Seconds of CPU of a call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def drawn_window(generator: np.random.Generator) -> SeriesTensors:
    """A window of numbers of the right shapes."""
    scored, rows = WINDOW // STRIDE, NODES * PEERS
    series = Series(
        features=generator.standard_normal((WINDOW, rows, FEATURES)).astype(np.float32),
        schedules=generator.uniform(0.0, 0.1, (scored, rows, SCHEDULES, HORIZON)).astype(np.float16),
        mean=generator.uniform(0.01, 1.0, (scored, rows)).astype(np.float32),
        ahead=generator.poisson(0.3, (scored, rows, HORIZON)).astype(np.float32),
        weight=np.ones((scored, rows), dtype=np.float32),
    )
    return series_tensors(series, groups=NODES)


def stacked(weights: dict[str, torch.Tensor], tensors: SeriesTensors) -> torch.Tensor:
    """Losses of all nodes, and their gradients."""
    loss, _ = next(windows(weights, tensors, torch.zeros(NODES, PEERS, UNITS)))
    torch.autograd.backward(loss.sum())
    return loss.detach()


def looped(units: list[tuple[torch.nn.GRU, torch.nn.Linear]], tensors: SeriesTensors) -> torch.Tensor:
    """The same by one module after the other."""
    losses = []
    for node, (gru, head) in enumerate(units):
        states, _ = gru(tensors.features[:, node])
        raw = head(states[STRIDE - 1 :: STRIDE])
        trust = torch.softmax(raw[..., :TRUSTS], dim=-1)[..., :SCHEDULES]
        scheduled = trusted_starts(trust, tensors.schedules[:, node].float())
        mean, ahead = tensors.mean[:, node].unsqueeze(-1), tensors.ahead[:, node]
        rate = torch.nn.functional.softplus(raw[..., TRUSTS:]) * mean
        plain = negative_log_likelihood(0.0 * rate, mean.expand_as(rate), ahead)
        loss = ((negative_log_likelihood(scheduled, rate, ahead) - plain).mean(dim=-1)).mean()
        torch.autograd.backward(loss)
        losses.append(loss.detach())
    return torch.stack(losses)


def modules(start: dict[str, np.ndarray]) -> list[tuple[torch.nn.GRU, torch.nn.Linear]]:
    """A GRU and a head for each node, with its weights."""
    made = []
    for node in range(NODES):
        gru, head = torch.nn.GRU(FEATURES, UNITS), torch.nn.Linear(UNITS, TRUSTS + HORIZON)
        own = {name: torch.from_numpy(value[node]) for name, value in start.items()}
        with torch.no_grad():
            gru.weight_ih_l0.copy_(own["input"].T)
            gru.weight_hh_l0.copy_(own["recurrent"].T)
            gru.bias_ih_l0.copy_(own["input_bias"][0])
            gru.bias_hh_l0.copy_(own["recurrent_bias"][0])
            head.weight.copy_(own["head"].T)
            head.bias.copy_(own["head_bias"][0])
        made.append((gru, head))
    return made


def training(rounds: int) -> dict[str, Any]:
    """The stacked units against the loop, in turns."""
    torch.set_num_threads(1)
    tensors = drawn_window(np.random.default_rng(1))
    start = copy_to_groups(load_pretrained(), groups=NODES, horizon=HORIZON)
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    units = modules(start)
    one, other = stacked(weights, tensors), looped(units, tensors)
    stacked_s, looped_s = [], []
    for _ in range(rounds):
        stacked_s.append(cpu_s(lambda: stacked(weights, tensors)))
        looped_s.append(cpu_s(lambda: looped(units, tensors)))
    fast, slow = statistics.median(stacked_s), statistics.median(looped_s)
    return {
        "benchmark": "training",
        "stacked_ms": round(1e3 * fast, 2),
        "looped_ms": round(1e3 * slow, 2),
        "ratio": round(slow / fast, 2),
        "agreement": float(((one - other).abs() / other.abs()).max()),
    }


def forecast(rounds: int) -> dict[str, Any]:
    """A step of 100 nodes of 8 peers, each of which asks about every 40 steps."""
    generator, steps = np.random.default_rng(2), 60
    gru = GruForecast()
    gru.reset(
        ForecastContext(
            node_count=NODES, max_peers=PEERS, step_s=1.0, horizon_steps=HORIZON, history_s=0.0, seed=1
        )
    )
    table = PeerTable(nodes=NODES, max_peers=PEERS)
    time_s = np.sort(generator.uniform(0.0, steps + rounds, (steps + rounds) * NODES * PEERS // 40))
    zeros = np.zeros(len(time_s), dtype=np.int64)
    asked = Requests(
        id=zeros,
        time_s=time_s,
        source=generator.integers(NODES, size=len(time_s)),
        destination=generator.integers(PEERS, size=len(time_s)),
        target_fidelity=zeros + 0.7,
        pairs=zeros + 1,
        deadline_s=time_s + 1.0,
        application=zeros,
        repeat_until_deadline=zeros,
        process=zeros,
    )
    gru.fit(asked.at(np.arange(0)), table.peers)
    update_s, forecast_s = [], []
    for requests in by_step(asked, step_s=1.0, steps=steps + rounds):
        table.add(requests)
        peers = table.peers
        update_s.append(cpu_s(lambda requests=requests, peers=peers: gru.update(requests, peers)))
        forecast_s.append(cpu_s(gru.forecast))
    made_ms = 1e3 * statistics.median(forecast_s[-rounds:])
    return {
        "benchmark": "forecast",
        "forecast_ms": round(made_ms, 3),
        "update_ms": round(1e3 * statistics.median(update_s[-rounds:]), 3),
        "below": 5.0,
        "met": made_ms < 5.0,
    }


def fit(scenario_file: str, seed: int) -> dict[str, Any]:
    """A fit on the history of a scenario."""
    scenario = load_scenario(scenario_file)
    arrivals, network = scenario_arrivals(scenario, seed=seed)
    gru, nodes = GruForecast(), network.node_count
    gru.reset(forecast_context(arrivals, scenario.forecasting, nodes=nodes, seed=seed, truth=False))
    table = PeerTable(nodes=nodes, max_peers=scenario.forecasting.max_peers)
    table.begin(arrivals.history)
    fit_s = cpu_s(lambda: gru.fit(arrivals.history, table.peers))
    return {"benchmark": "fit", "scenario": scenario.name, "seed": seed, "fit_s": round(fit_s, 2)}


def main() -> int:
    """Print one line for each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fit", metavar="SCENARIO")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    made = training(arguments.rounds)
    print(json.dumps(made), flush=True)
    print(json.dumps(forecast(arguments.rounds)), flush=True)
    if arguments.fit:
        print(json.dumps(fit(arguments.fit, arguments.seed)), flush=True)
    return int(made["agreement"] > AGREEMENT)


if __name__ == "__main__":
    sys.exit(main())
