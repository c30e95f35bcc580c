"""What to say of a name that nothing is registered under. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(LookupError):
    """A name that no `what` has, answered with the nearest right one and all that are known.

    >>> str(UnknownNameError("physics model", "paulli", ["qutip", "pauli"]))
    "no physics model is called 'paulli'; did you mean 'pauli'? known: pauli, qutip"
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(sorted(known))
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"no {what} is called {name!r}; {hint}known: {', '.join(self.known)}")
