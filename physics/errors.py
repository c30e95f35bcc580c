"""Errors about names, with the nearest right name in the message. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(LookupError):
    """No `kind` has the name `name`; the message gives the nearest known name and all known names.

    >>> str(UnknownNameError("physics model", "paulli", ["qutip", "pauli"]))
    "no physics model is called 'paulli'; did you mean 'pauli'? known: pauli, qutip"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = nearest(name, self.known)
        hint = f"did you mean {near!r}? " if near else ""
        super().__init__(f"no {kind} is called {name!r}; {hint}known: {', '.join(self.known)}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most similar to `name`, or None when none is similar.

    >>> nearest("local-minhops", ["local-minhop", "dpem"])
    'local-minhop'
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
