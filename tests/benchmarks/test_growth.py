"""The census must find what hangs anywhere in a simulation; growth is told from fluctuation."""

from __future__ import annotations

import functools
from collections import deque

import numpy as np
import pytest


@pytest.fixture
def growth(script):
    return script("growth.py")


class Slotted:
    __slots__ = ("items", "unset")

    def __init__(self, items):
        self.items = items


class Shelf:
    def __init__(self):
        self.kept = [1.0] * 7
        self.by_id = {number: Slotted([None] * number) for number in range(4)}
        self.recent = deque([b"a", b"b"])
        self.table = np.zeros((3, 5))
        self.waiting = []

    def ask(self):
        return self.waiting


def test_elements_count_by_attribute_and_objects_by_class(growth):
    found = growth.census(Shelf())
    assert found["Shelf"] == 1
    assert found["Shelf.kept"] == 7
    assert found["Shelf.by_id"] == 4
    assert found["Slotted"] == 4
    assert found["Slotted.items"] == 0 + 1 + 2 + 3
    assert found["Shelf.recent"] == 2
    assert found["Shelf.table"] == 15


@pytest.mark.parametrize("wrap", ["closure", "method", "partial", "nested"])
def test_what_waits_behind_functions_is_found(growth, wrap):
    hidden = Slotted([0] * 50)
    kept = Shelf()
    kept.waiting = hidden
    held = {
        "closure": lambda _: hidden,
        "method": kept.ask,
        "partial": functools.partial(print, hidden),
        "nested": [({"a": [hidden]},)],
    }[wrap]
    root = Slotted([held])
    assert growth.census(root)["Slotted.items"] >= 50


def test_loops_end_shared_things_count_once_and_lasting_types_are_not_entered(growth):
    stock = Shelf()
    stock.waiting = [stock, stock.kept]
    assert growth.census(stock)["Shelf.kept"] + growth.census(stock)["Shelf.waiting"] in (7 + 2, 2 + 7)
    assert growth.census(stock)["Shelf"] == 1
    assert growth.census([Shelf()], lasting=(Shelf,))["Shelf.kept"] == 0


def test_growth_is_what_never_comes_back(growth):
    first = [{"steady": 1000 + 40 * (turn % 3), "leak": 100 + 10 * turn, "few": turn} for turn in range(5)]
    last = [{"steady": 1000 + 45 * (turn % 3), "leak": 200 + 10 * turn, "few": 5 + turn} for turn in range(5)]
    assert growth.grown(first, last) == {"leak": (140, 200)}
    assert growth.grown(first, [{**one, "new": 50} for one in last])["new"] == (0, 50)
