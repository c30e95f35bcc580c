"""Packages that only some work needs: asked for where that work begins, before hours of it are lost."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from qdpem.errors import MissingPackagesError


def require_packages(packages: Sequence[str], *, extra: str, user: str) -> None:
    """Raise MissingPackagesError unless all `packages` are installed; none is imported.

    Args:
        packages: the names that are imported.
        extra: the extra of qdpem that installs them.
        user: what needs them, in the message.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MissingPackagesError(user, missing, extra=extra)
