"""Packages of plugins that are installed for one test: a module and the metadata of its entry points."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    package: str,
    version: str = "1.0",
    source: str = "",
    offers: Mapping[str, Mapping[str, str]],
) -> None:
    """Put `package` on the search path, as pip would: `offers` is group -> name -> object in its module."""
    site = folder / f"site-{package}"
    metadata = site / f"{package}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (site / f"{package}.py").write_text(source, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {package}:{value}\n" for name, value in names.items())
        for group, names in offers.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    # Another test may have imported a package of this name, which then holds other things.
    monkeypatch.delitem(sys.modules, package, raising=False)
