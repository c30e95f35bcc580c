"""Paths in a scenario: seen from the file that holds them, and made absolute when it is read.

A path is a text in a table of `parameters`, under a key called `path` or one that ends in `_path` or `_file`,
or the `path` of a process of the demand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_PARAMETERS, _PROCESSES = "parameters", "processes"


def absolute_paths(values: Any, directory: Path, *, key: str = "") -> Any:
    """The plain values with every path absolute, relative ones seen from `directory`.

    An empty text is no path. Dotted keys of a sweep count like nested ones.

    >>> absolute_paths({"topology": {"parameters": {"path": "a.json", "kind": "b"}}}, Path("/maps"))
    {'topology': {'parameters': {'path': '/maps/a.json', 'kind': 'b'}}}
    """
    if isinstance(values, dict):
        return {name: absolute_paths(item, directory, key=f"{key}.{name}") for name, item in values.items()}
    if isinstance(values, list):
        return [absolute_paths(item, directory, key=key) for item in values]
    if isinstance(values, str) and values and is_path_key(key):
        # Not resolved: a symbolic link keeps the name that the user gave it.
        return os.path.abspath(directory / values)
    return values


def is_path_key(key: str) -> bool:
    """Whether a dotted key is that of a path.

    >>> is_path_key("topology.parameters.path"), is_path_key("study.arms.0.parameters.policy_file")
    (True, True)
    >>> is_path_key("demand.processes.traffic.path"), is_path_key("topology.kind"), is_path_key("path")
    (True, False, False)
    """
    *above, last = key.split(".")
    if above[-2:-1] == [_PROCESSES]:
        return last == "path"
    return _PARAMETERS in above and (last == "path" or last.endswith(("_path", "_file")))
