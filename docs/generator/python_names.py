"""Helps autoapi to read the two packages without importing them, and docstrings written in Markdown."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGES = ("physics", "qdpem")
LAZY = re.compile(r"^if TYPE_CHECKING:\n((?:(?:    .*)?\n)+)", re.MULTILINE)
IMPORTED = re.compile(r"^from ((?:physics|qdpem)[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
WHOLE = re.compile(r"^from (?:physics|qdpem) import .*$", re.MULTILINE)
PARAMETER = re.compile(r"^    (\w+): (.*)")
# Signs with a meaning in reStructuredText that are only themselves in our prose.
SIGNS = re.compile(r"\*(?=\S)|\|(?=\S)|(?<=\w)_(?=\W|$)")


def public_modules(root: Path, copies: Path) -> list[str]:
    """Copies for autoapi of the modules that offer a public name, as one folder per package.

    The `__init__` of a copy imports at once what the package loads lazily, because autoapi follows imports
    without running them and does not look below `if TYPE_CHECKING:`.
    """
    shutil.rmtree(copies, ignore_errors=True)
    faces = {package: _opened(root / package / "__init__.py") for package in PACKAGES}
    public = {name for text in faces.values() for _, names in _imports(text) for name in names}
    for package, text in faces.items():
        for module in _offering(root, text, public, seen=set()):
            _copy(root, copies, module)
        (copies / package).mkdir(exist_ok=True)
    for package, text in faces.items():
        (copies / package / "__init__.py").write_text(text, encoding="utf-8")
    return [str(copies / package) for package in PACKAGES]


def _opened(face: Path) -> str:
    return LAZY.sub(lambda block: textwrap.dedent(block[1]), face.read_text(encoding="utf-8"), count=1)


def _imports(text: str) -> list[tuple[str, set[str]]]:
    """Modules of the two packages that a text imports from, with the names that it imports."""
    return [(module, set(re.findall(r"\w+", names))) for module, names in IMPORTED.findall(text)]


def _offering(root: Path, text: str, public: set[str], *, seen: set[Path]) -> set[Path]:
    """Files from which `text` imports a public name, and from which these import one in their turn."""
    for module, names in _imports(text):
        path = root.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if names & public and file not in seen:
            seen.add(file)
            _offering(root, _opened(file), public, seen=seen)
    return seen


def _copy(root: Path, copies: Path, file: Path) -> None:
    """Copy a module, and the `__init__` of every package above it."""
    path = file.relative_to(root)
    for each in (path, *(above / "__init__.py" for above in path.parents if above.name)):
        target = copies / each
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whole modules imported from the package would look like circles.
        target.write_text(WHOLE.sub("", (root / each).read_text(encoding="utf-8")), encoding="utf-8")


def as_restructured(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Turn the Markdown of a docstring into reStructuredText, in place.

    Blocks of code and examples stay as they are; `Args:` becomes a list of parameters.
    """
    within_args = False
    for index, line in enumerate(lines):
        if line == "Args:":
            within_args, lines[index] = True, ""
        elif within_args and line.startswith("    "):
            lines[index] = _inline(PARAMETER.sub(r":param \1: \2", line))
        elif line and not line.startswith(("    ", ">>>", "...")):
            within_args = False
            lines[index] = _inline(line)


def _inline(line: str) -> str:
    parts = re.split(r"`([^`]+)`", line)
    # Every second part stood between backticks. Those that are open across lines stay text.
    return "".join(
        f"``{part}``" if index % 2 else SIGNS.sub(r"\\\g<0>", part).replace("`", "\\`")
        for index, part in enumerate(parts)
    )


def public_reference(app: Any, environment: Any, node: Any, content: Any) -> Any:
    """The page of a name in a signature that a package offers, whichever module it is read from."""
    name = node["reftarget"].rpartition(".")[2]
    python = environment.get_domain("py")
    found: Iterable[str] = (
        f"{package}.{name}" for package in PACKAGES if f"{package}.{name}" in python.objects
    )
    for full in found:
        return python.resolve_xref(environment, node["refdoc"], app.builder, "obj", full, node, content)
    return None
