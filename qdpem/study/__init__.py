"""Arms x seeds on an engine, statistics, report.

A package and a function of one name meet here: the module can be called, and `qdpem.study(scenario, ...)`
is `qdpem.study.run.study(scenario, ...)`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from qdpem.study.run import study

        return study(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
