"""Benchmarks are scripts, no package: tests load them by path, among the modules that they import."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """The module of a file under benchmarks; `beside` are files next to it that it imports by name."""

    def load(path: str, *, beside: tuple[str, ...] = ()) -> ModuleType:
        file = BENCHMARKS / path
        for name in beside:
            monkeypatch.setitem(sys.modules, name, load(str(Path(path).with_name(f"{name}.py"))))
        spec = importlib.util.spec_from_file_location(f"benchmarks_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up while it is made.
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load
