"""Some kills and some flipped bits, as the benchmarks of them draw hundreds."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from qdpem.records.reader import open_record
from qdpem.study.report.html import Appendix

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("journal", "flips"), [(False, 40), (True, 20)])
def test_flipped_bits_are_noticed(script, tmp_path: Path, monkeypatch, journal: bool, flips: int) -> None:
    monkeypatch.chdir(ROOT)
    bitflips = script("bitflips.py")
    path, options = tmp_path / "run.h5", argparse.Namespace(journal=journal)
    bitflips.record_small_run(path, journal=journal)
    kept = bitflips.journal_path(path) if journal else path
    data = kept.read_bytes()
    expected = bitflips.content(open_record(path))
    for bit in np.random.default_rng(5).integers(0, 8 * len(data), flips).tolist():
        flipped = bitflips.write_flipped(data, bit, tmp_path / "flipped", journal=options.journal)
        found = bitflips.outcome(flipped, expected, verify=True, prefix=journal)
        assert found in ("detected", "harmless"), (bit, found)


@pytest.mark.parametrize(("name", "shares"), [("run", (0.5, 0.9)), ("study", (0.6,)), ("train", (0.6,))])
def test_a_killed_command_loses_nothing_and_ends_as_it_would_have(
    script, tmp_path: Path, monkeypatch, name: str, shares: tuple[float, ...]
) -> None:
    kills = script("kills.py")
    # Workers that outlive their command are looked for in the study: those of a training are started alike,
    # and load torch.
    monkeypatch.setitem(kills.COMMANDS, "train", [*kills.COMMANDS["train"][:-1], "1"])
    # To draw the report takes longer than the runs, and it comes after them.
    monkeypatch.setattr(
        "qdpem.study.run.build_appendix", lambda result, *, command: Appendix(command=command)
    )
    reference = kills.whole(name, tmp_path)
    for number, share in enumerate(shares):
        place = tmp_path / str(number)
        found = kills.kill(name, place, after_s=share * reference.wall_s, reference=reference)
        assert found.faults == [], (name, share)
