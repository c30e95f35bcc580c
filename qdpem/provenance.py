"""Where a result came from: versions, machine, commit and date. Facts for attributes, never data."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("qdpem", "numpy", "scipy", "qutip", "networkx", "torch", "simpy", "h5py", "pydantic", "topohub")


def provenance(*, scenario_hash: str = "") -> dict[str, str]:
    """Versions of Python and the packages, platform, git commit if any, date (UTC), scenario hash.

    Keys are plain words ("python", "numpy_version", "commit", "date", ...); what is unknown is "".
    Nothing is imported to learn its version.
    """
    facts = {f"{package}_version": _version(package) for package in PACKAGES}
    return facts | {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenario_hash": scenario_hash,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit this package's source stands at, with "+changes" if files differ; "" when installed."""
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return ""
    commit = _git(source, "rev-parse", "HEAD")
    changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit


def _git(directory: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=5.0, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
