"""Claims: who waits for which resource, and whether it went to another meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from qdpem.events.recorder import Row
from qdpem.events.words import ClaimKind, ClaimOutcome

Key = tuple[float, int]


class Claimant(Protocol):
    """The allocation that claims: who it is, whose, what for (0 to serve), and until when."""

    id: int
    purpose: int
    source: int
    expires_s: float


class Claim:
    """A wish for one emission, token or qubit of one allocation.

    `key` orders claims at a resource: urgency (the deadline; infinite for stock, so that serve goes
    first), then id. `owner` and `tag` say whom to tell when it is granted.
    """

    __slots__ = (
        "allocation",
        "contended_from_s",
        "id",
        "key",
        "kind",
        "link",
        "made_s",
        "node",
        "open",
        "owner",
        "purpose",
        "rival",
        "source",
        "tag",
    )

    def __init__(
        self,
        id: int,
        kind: ClaimKind,
        claimant: Claimant,
        node: int,
        link: int,
        made_s: float,
        owner: Any,
        tag: Any,
    ) -> None:
        self.id = id
        self.kind = kind
        self.allocation = claimant.id
        self.purpose = claimant.purpose
        self.source = claimant.source
        self.node = node
        self.link = link
        self.key: Key = (math.inf if claimant.purpose else claimant.expires_s, id)
        self.made_s = made_s
        self.owner = owner
        self.tag = tag
        self.contended_from_s = math.nan
        self.rival = -1
        self.open = True

    def lose(self, lost_s: float, rival: int) -> None:
        """The resource went to a claim from source `rival` at `lost_s`; the earliest loss counts.

        A claim that waits at two sources may be told of their losses in any order.
        """
        if not self.contended_from_s <= lost_s:
            self.contended_from_s = lost_s
            self.rival = rival


class ClaimBook:
    """Makes claims under ids that are never reused and writes each once, when it ends."""

    def __init__(self, append: Callable[[Row], None]) -> None:
        self._append = append
        self.open: dict[int, Claim] = {}
        self.made = 0

    def make(
        self,
        kind: ClaimKind,
        claimant: Claimant,
        *,
        node: int,
        now_s: float,
        owner: Any,
        link: int = -1,
        tag: Any = None,
    ) -> Claim:
        """A new open claim."""
        claim = Claim(self.made, kind, claimant, node, link, now_s, owner, tag)
        self.made += 1
        self.open[claim.id] = claim
        return claim

    def end(self, claim: Claim, how: ClaimOutcome, now_s: float) -> None:
        """Close a claim: granted, withdrawn or refused."""
        if claim.open:
            claim.open = False
            del self.open[claim.id]
            self._write(claim, how, now_s)

    def close(self, now_s: float) -> None:
        """Write the claims still open at the end of the run."""
        for claim in self.open.values():
            self._write(claim, ClaimOutcome.OPEN, now_s)

    def _write(self, claim: Claim, how: ClaimOutcome, now_s: float) -> None:
        contended = claim.contended_from_s == claim.contended_from_s
        self._append(
            (
                claim.id,
                claim.allocation,
                claim.kind.code,
                claim.purpose,
                claim.source,
                claim.node,
                claim.link,
                claim.made_s,
                now_s,
                how.code,
                int(contended),
                now_s - claim.contended_from_s if contended else 0.0,
                claim.rival,
            )
        )
