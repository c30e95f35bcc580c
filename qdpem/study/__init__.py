"""Arms x seeds on an engine, statistics, report. The module itself can be called: `qdpem.study(scenario, ...)`.

A package and a function of one name meet here: `qdpem.study(...)` runs a study (see `qdpem.study.run.study`),
and `qdpem.study.run` is still the module it was.
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
