"""The scenarios that ship with qdpem, by name, and what a user's word for a scenario means.

A name is the path of the file in the folder `scenarios`, without ".toml": "quickstart", "sweeps/foresight".
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from qdpem.errors import nearest

SUFFIX = ".toml"
_FOLDER = Path(str(files("qdpem"))) / "scenarios"


def shipped_names() -> list[str]:
    """Sorted names of the shipped scenarios.

    >>> [name for name in shipped_names() if name.endswith("t")]
    ['quickstart', 'surfnet', 'controls/shuffled-forecast', 'sweeps/foresight']
    """
    names = (path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.glob(f"**/*{SUFFIX}"))
    return sorted(names, key=lambda name: (name.count("/"), name))


def shipped_file(name: str) -> Path | None:
    """The file of the shipped scenario `name`; None if there is none of that name.

    >>> shipped_file("quickstart").name
    'quickstart.toml'
    """
    return _FOLDER / f"{name}{SUFFIX}" if name in shipped_names() else None


def scenario_file(word: str | Path, *, folder: Path = Path()) -> Path:
    """The file that `word` means: the shipped scenario of that name, otherwise a path relative to `folder`.

    The name of a shipped scenario always means that scenario, whatever files there are, so that a command
    does the same in every directory. A file called `quickstart` is meant by "./quickstart", or by a Path.
    """
    shipped = shipped_file(word) if isinstance(word, str) else None
    return shipped or folder / word


def results_name(word: str | Path) -> str:
    """The last part of a name or path, without ".toml": the directory of the scenario's results.

    >>> results_name("sweeps/foresight"), results_name("here/mine.toml")
    ('foresight', 'mine')
    """
    name = Path(word).name
    return name.removesuffix(SUFFIX) or name


def missing_file(word: str | Path) -> str:
    """What is wrong with the word for a scenario that is no file, and what would be right."""
    names, text = shipped_names(), str(word).removesuffix(SUFFIX)
    near = nearest(text, names) or nearest(Path(text).name, names)
    hint = f"did you mean {near!r}, which ships with qdpem?" if near else "`qdpem list scenarios` lists them"
    return f"there is no such file, and no shipped scenario has this name; {hint}"


def description_of(name: str) -> str:
    """The description in the file of a shipped scenario."""
    path = shipped_file(name)
    return "" if path is None else str(tomllib.loads(path.read_text("utf-8")).get("description", ""))


def hidden_files(word: str, *, folder: Path = Path()) -> list[Path]:
    """Files and folders in `folder` that could be meant by the name of a shipped scenario, and are not."""
    if shipped_file(word) is None:
        return []
    return [path for path in (folder / word, folder / f"{word}{SUFFIX}") if path.exists()]
