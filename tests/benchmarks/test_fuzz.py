"""Wrong or extreme scenarios end in a run or in a sentence, never in a traceback or without a word."""

from __future__ import annotations

import json
from itertools import islice

import pytest

pytestmark = pytest.mark.slow

COUNT = 25


def test_no_mutant_ends_in_a_traceback(script, capsys) -> None:
    fuzz = script("fuzz.py")
    code = fuzz.main(["--count", str(COUNT), "--seed", "5", "--workers", "1", "--cap", "50"])
    *rows, counts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row["outcome"] in fuzz.BUGS] == []
    assert code == 0
    assert counts["mutants"] == len(rows) == COUNT
    # Both kinds of answer occur, or nothing was tried.
    assert counts["ran"]
    assert counts["sentence"]


def test_mutants_are_the_same_for_the_same_seed_and_change_every_key(script) -> None:
    fuzz = script("fuzz.py")
    bases = {name: base for name, base in fuzz.shipped().items() if name.endswith("chain.toml")}
    first, again, other = (
        [mutant.changes for mutant in islice(fuzz.mutants(bases, seed=seed), 200)] for seed in (1, 1, 2)
    )
    # NaN is unequal to itself, so texts are compared.
    assert str(first) == str(again) != str(other)
    changed = {key for mutant in islice(fuzz.mutants(bases, seed=1), 3000) for key in mutant.changes}
    assert {"window.measured_s", "links.hardware.modes", "topology.parameters.nodes"} <= changed
