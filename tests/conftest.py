"""What all tests share: helpers whose assertions tell as much as those of tests, and one thread each.

Tests run side by side: linear algebra that takes every core for itself makes all of them slower.
"""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec

import pytest

from qdpem.errors import QdpemError

os.environ.setdefault("OMP_NUM_THREADS", "1")
pytest.register_assert_rewrite("tests.helpers")
# Imports make no garbage: without the collector, collecting the tests takes two thirds of the time.
gc.disable()


_MOSTLY = {"mostly_slow": pytest.mark.slow, "mostly_repeated": pytest.mark.repeated}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cases after the first n, or one, of `mostly_slow(n)` are `slow`, of `mostly_repeated(n)` `repeated`."""
    taken: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        taken[test] += 1
        for name, rest in _MOSTLY.items():
            mark = item.get_closest_marker(name)
            if mark is not None and taken[test] > mark.kwargs.get("cases", mark.args[0] if mark.args else 1):
                item.add_marker(rest)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Without torch, a fixture that needs it skips its tests; see `pytest_runtest_call`."""
    yield from _skipping_what_needs_torch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Without torch, a test that needs it is skipped: it stops where qdpem says what to install."""
    yield from _skipping_what_needs_torch()


def _skipping_what_needs_torch() -> Iterator[None]:
    try:
        yield
    except (QdpemError, ModuleNotFoundError) as error:
        asked = "qdpem[learning]" in str(error) or getattr(error, "name", None) == "torch"
        if asked and find_spec("torch") is None:
            pytest.skip("needs torch")
        raise


def pytest_collection_finish() -> None:
    """What was imported stays: no collection need look through it. What tests leave is rarely in cycles."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _unsettled_heap() -> Iterator[None]:
    """A run does the same for itself and first collects the whole heap: nothing beside minutes, much beside
    the tenths of a second that most runs of tests take. tests/simulation/test_heap.py tests it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qdpem.simulation.run.frozen_gc", nullcontext)
        yield
