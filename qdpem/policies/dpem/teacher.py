"""The rule that a clone imitates: expected-delay routing with planned stock, option by option."""

from __future__ import annotations

from dataclasses import dataclass

from qdpem.policies.dpem.serving import COMBINED, FIRST_ROUTE, SEPARATE, STOCK, WAIT, Offer, Situation
from qdpem.policies.routing.planner import CostedRoute

_CHEAP_CONTENTION = 0.05
"""Up to this contention weight nothing is gained by serving fewer requests."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The parameters of the imitated rule, which are those of `local-planned-stock`.

    `link_level`: pairs kept for each link. `separate_paths`: the pairs of a request over links take separate
    paths. End-to-end pairs are kept for requests of at least `stocking_probability` within the look-ahead, as
    the rule does, or of at least `life_probability` within the life of a pair, as base stock would; above 1 a
    probability has no effect. The dearer a contended claim is, the less delay is admitted: where its weight w
    exceeds u = .05, both largest delays are multiplied by (u / w)^.6. On `jobs` that follows the frontier of
    the rule, whose other parameters bought less.
    """

    max_unloaded_delay: float = 1.8
    max_loaded_delay: float = 1.7
    stocking_probability: float = 0.3
    life_probability: float = 0.3
    link_level: int = 0
    separate_paths: bool = False

    def serve(self, offer: Offer, situation: Situation, *, held: int, contention_weight: float = 0.0) -> int:
        """The option that the rule takes for a request; `held` pairs are in stock between its ends."""
        request = situation.request
        # Time in which a request would have to be served if contention were worth avoiding at this price.
        slack_s = situation.slack_s * _patience(contention_weight)
        if offer.mask[STOCK] and held - request.pairs >= situation.reserved:
            return STOCK
        if self.separate_paths and offer.separate and held - offer.stocked >= situation.reserved:
            slowest_s = max(route.expected_delay_s for route, _ in offer.separate)
            return SEPARATE if slowest_s <= self.max_loaded_delay * slack_s else WAIT
        if offer.stocked and held - offer.stocked >= situation.reserved:
            admitted = offer.combined is not None and self._admits(offer.combined, slack_s)
            return COMBINED if admitted else WAIT
        for number, route in enumerate(offer.routes):
            if self._admits(route, slack_s):
                return FIRST_ROUTE + number
        return WAIT

    def _admits(self, costed: CostedRoute, slack_s: float) -> bool:
        return (
            costed.unloaded_delay_s <= self.max_unloaded_delay * slack_s
            and costed.route.expected_delay_s <= self.max_loaded_delay * slack_s
        )


def _patience(contention_weight: float) -> float:
    """The share of the admissible delay that is left at this price of a contended claim, at most 1."""
    return min(1.0, (_CHEAP_CONTENTION / contention_weight) ** 0.6) if contention_weight else 1.0
