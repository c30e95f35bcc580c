"""Claims: who wants which emission, token or qubit, and whether it went to another claim meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from qdpem.events.recorder import Row, named_row
from qdpem.events.tables import CLAIMS
from qdpem.events.words import ClaimKind, ClaimOutcome, Purpose

Key = tuple[float, int]

_row = named_row(CLAIMS)


class Claimant(Protocol):
    """The allocation that claims: its id, its purpose, the source of its path, and when it expires."""

    id: int
    purpose: Purpose
    source: int
    expires_s: float


class Claim:
    """A wish of one allocation for one emission, token or qubit.

    `key` orders the claims at a resource: by urgency, then by id. Urgency is the expiry of the allocation.
    It is infinite for stock, so that requests go first.

    Args:
        claimant: the allocation that claims.
        id: number of the claim.
        kind: of the resource.
        node: where the resource is; for emissions the first end of the link.
        link: the link that is to make a pair; -1 for tokens and qubits.
        time_s: when the claim is made.
        owner: the object called when the claim is granted.
        tag: what the owner needs to recognise the claim.
    """

    __slots__ = (
        "allocation",
        "contended_from_s",
        "id",
        "key",
        "kind",
        "link",
        "node",
        "open",
        "owner",
        "purpose",
        "rival",
        "source",
        "tag",
        "time_s",
    )

    def __init__(
        self,
        claimant: Claimant,
        *,
        id: int,
        kind: ClaimKind,
        node: int,
        link: int,
        time_s: float,
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
        self.key: Key = (math.inf if claimant.purpose is Purpose.STOCK else claimant.expires_s, id)
        self.time_s = time_s
        self.owner = owner
        self.tag = tag
        self.contended_from_s = math.nan
        self.rival = -1
        self.open = True

    def lose(self, lost_s: float, rival: int) -> None:
        """The resource went to a claim from source `rival` at `lost_s`; the earliest loss counts.

        A claim that waits at two sources may learn of their losses in any order.
        """
        # NaN, the value before any loss, compares false with every time: the first loss is taken as well.
        if not self.contended_from_s <= lost_s:
            self.contended_from_s = lost_s
            self.rival = rival


class ClaimBook:
    """Makes claims under ids that are never reused, and writes each once, when it ends.

    `open`: the claims that have not ended, by id.
    """

    def __init__(self, append: Callable[[Row], None]) -> None:
        self._append = append
        self.open: dict[int, Claim] = {}
        self._next_id = 0

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
        """A new open claim.

        Args:
            kind: "emission", "token" or "memory".
            claimant: the allocation that claims.
            node: where the resource is; for emissions the first end of the link.
            now_s: the present simulated second.
            owner: the object called when the claim is granted.
            link: the link that is to make a pair; -1 for tokens and qubits.
            tag: what the owner needs to recognise the claim.
        """
        claim = Claim(
            claimant, id=self._next_id, kind=kind, node=node, link=link, time_s=now_s, owner=owner, tag=tag
        )
        self._next_id += 1
        # A grant may come at once, when the claim reaches its resource: it must be in the book by then.
        self.open[claim.id] = claim
        return claim

    def end(self, claim: Claim, outcome: ClaimOutcome, now_s: float) -> None:
        """Close a claim, which is "granted", "withdrawn" or "refused"; a closed claim stays as it is."""
        # Release and grant may meet at one time: whichever comes first has ended the claim.
        if claim.open:
            claim.open = False
            del self.open[claim.id]
            self._write(claim, outcome, now_s)

    def close(self, now_s: float) -> None:
        """Write the claims that are still open at the end of the run."""
        for claim in self.open.values():
            self._write(claim, ClaimOutcome.OPEN, now_s)

    def _write(self, claim: Claim, outcome: ClaimOutcome, now_s: float) -> None:
        contended = not math.isnan(claim.contended_from_s)
        self._append(
            _row(
                claim=claim.id,
                allocation=claim.allocation,
                kind=claim.kind.code,
                purpose=claim.purpose.code,
                source=claim.source,
                node=claim.node,
                link=claim.link,
                time_s=claim.time_s,
                end_s=now_s,
                outcome=outcome.code,
                contended=int(contended),
                contended_s=now_s - claim.contended_from_s if contended else 0.0,
                rival=claim.rival,
            )
        )
