"""The words that a study's tables use, with their definitions, for readers who have only the report.

The glossary of the documentation defines all words of the project; these are the few that a report needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TERMS: Mapping[str, str] = MappingProxyType(
    {
        "arm": "a contender of a study: a policy with its control, pregeneration, forecaster and parameters",
        "control": "local: every node decides for its own requests; central: one controller decides for all",
        "pregeneration": "the pairs a policy may make ahead of demand and keep in stock: none; link pairs"
        " between neighbours; end-to-end pairs between remote nodes; virtual-link, end-to-end pairs that"
        " also serve as hops of longer paths",
        "stock": "entangled pairs kept for later by the node that owns them",
        "forecaster": "what predicts demand for the policy; none and constant predict no change",
        "policy": "the rule that turns what a node or the controller knows into allocations",
        "claim": "a reservation's wish for one resource at one place: an emission, a swap, a memory qubit",
        "contention": "a claim is contended if the resource it waits for goes to another claim meanwhile",
        "admission delay": "the time from a request's arrival to its first allocation; contention does not"
        " count it, as no claim exists yet",
        "reference": "the arm that all others are compared with, marked *",
        "flow bound": "an upper bound on deliveries by the rates of sources and swaps; no arm exceeds it",
        "time bound": "the same, with the deadlines of the requests in time bins",
        "interval": "a 95 % bootstrap interval over seeds, bias-corrected and accelerated (BCa)",
        "Holm p": "the p-value of a paired t test, corrected for the number of rows of its table (Holm 1979)",
        "seed": "the number from which every random draw of a run is derived; all arms run on the same seeds",
    }
)
"""Term -> definition, in the order in which a reader meets them."""
