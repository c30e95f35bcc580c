"""The origin of a result: versions, machine, commit and date, for the attributes of a record."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("qdpem", "numpy", "scipy", "qutip", "networkx", "torch", "simpy", "h5py", "pydantic", "topohub")


def provenance(*, scenario_hash: str = "") -> dict[str, str]:
    """Versions of Python and the packages, platform, git commit if any, date (UTC), scenario hash.

    Keys are plain words ("python", "numpy_version", "commit", "date", ...); an unknown fact is "".
    No package is imported to find its version.
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


def source_files(package: str) -> list[Path]:
    """The files of a top-level package, code and data, or of a module, sorted; none if it is not found.

    Bytecode is left out: it is made from the code.
    """
    spec = find_spec(package)
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
    files = (file for place in spec.submodule_search_locations for file in Path(place).rglob("*"))
    return sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts)


def source_digest(files: Iterable[Path]) -> str:
    """BLAKE2b digest of the files' contents, 32 hexadecimal digits; paths and order have no effect.

    >>> source_digest([])
    'cae66941d9efbd404e4d88758ea67670'
    """
    texts = sorted(hashlib.blake2b(file.read_bytes(), digest_size=16).digest() for file in files)
    return hashlib.blake2b(b"".join(texts), digest_size=16).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of this package's source, with "+changes" if files differ; "" when installed."""
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return ""
    commit = _git(source, "rev-parse", "HEAD")
    changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit


def _git(directory: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            # The timeout keeps a slow file system from holding up a run.
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
