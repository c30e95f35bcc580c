"""Prints for every package that qdpem and its reports need the constraint to the lowest version allowed.

The extra `learning` is left out: an old torch is gigabytes of CUDA on most machines.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
groups = [project["dependencies"], project["optional-dependencies"]["report"]]
for requirement in (requirement for group in groups for requirement in group):
    name, bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={bound}")
