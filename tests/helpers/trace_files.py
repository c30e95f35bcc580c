"""Small made-up files in the formats of real traffic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qdpem.demand.traces.matrices.traffic_matrices import TrafficMatrices

SHARED = Path(__file__).parents[3] / "shared" / "data"
"""Real traffic, beside the checkout where it exists; it is not part of the project."""

NODES = ("Ost", "Süd", "West")
PAIRS = tuple(itertools.permutations(NODES, 2))
CSV = """time,Ost>Süd,Ost>West,Süd>Ost,Süd>West,West>Ost,West>Süd
2004-03-01T00:00,1,2,3,4,5,6
2004-03-01T00:05,2,0,3,4.5,5,6
2004-03-01T00:10,3,2,3,4,5,600
2004-03-01T00:15,4,2,3,4,5,6
"""


def saved(folder: Path, text: str, name: str = "traffic.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def made_matrices(
    volume: Any, *, step_s: float = 300.0, names: Iterable[str] | None = None
) -> TrafficMatrices:
    values = np.array(volume, dtype=np.float64)
    return TrafficMatrices(
        node_names=tuple(names or (f"n{number}" for number in range(values.shape[1]))),
        time_s=step_s * np.arange(len(values)),
        step_s=step_s,
        volume=values,
        unit="Mbit/s",
        origin="a test",
    )


def sndlib_xml(
    demands: Mapping[tuple[str, str], Any],
    *,
    time: str = "20040301-0000",
    nodes: Iterable[str] = NODES,
    granularity: str = "5min",
    unit: str = "MBITPERSEC",
    prefix: str = "",
) -> str:
    """One matrix as SNDlib writes it; with a `prefix`, its elements have one."""
    p = f"{prefix}:" if prefix else ""
    listed = "\n".join(
        f"""  <{p}demand id="{source}_{target}">
   <{p}source>{source}</{p}source>
   <{p}target>{target}</{p}target>
   <{p}demandValue> {value} </{p}demandValue>
  </{p}demand>"""
        for (source, target), value in demands.items()
    )
    coordinates = f"<{p}coordinates><{p}x>1.0</{p}x><{p}y>2.0</{p}y></{p}coordinates>"
    placed = "\n".join(f'   <{p}node id="{node}">{coordinates}</{p}node>' for node in nodes)
    name = f"xmlns{':' + prefix if prefix else ''}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{p}network {name}="http://sndlib.zib.de/network" version="1.0">
 <{p}meta>
  <{p}granularity>{granularity}</{p}granularity>
  <{p}time>{time}</{p}time>
  <{p}unit>{unit}</{p}unit>
  <{p}origin>made up</{p}origin>
 </{p}meta>
 <{p}networkStructure>
  <{p}nodes coordinatesType="geographical">
{placed}
  </{p}nodes>
  <{p}links><{p}link id="L"><{p}source>Ost</{p}source><{p}target>Süd</{p}target></{p}link></{p}links>
 </{p}networkStructure>
 <{p}demands>
{listed}
 </{p}demands>
</{p}network>
"""
