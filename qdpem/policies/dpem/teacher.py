"""The rule that a clone imitates: expected-delay routing with planned stock, option by option."""

from __future__ import annotations

from dataclasses import dataclass

from qdpem.policies.dpem.serving import COMBINED, FIRST_ROUTE, SEPARATE, STOCK, WAIT, Offer, Situation
from qdpem.policies.routing.planner import CostedRoute


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The parameters of the imitated rule, which are those of `local-planned-stock`.

    `link_level`: pairs kept for each link. `separate_paths`: the pairs of a request over links take separate
    paths. With a `stocking_probability` above 1 no end-to-end pair is kept.
    """

    max_unloaded_delay: float = 3.349
    max_loaded_delay: float = 2.11
    stocking_probability: float = 0.3
    link_level: int = 0
    separate_paths: bool = False

    def serve(self, offer: Offer, situation: Situation, *, held: int) -> int:
        """The option that the rule takes for a request; `held` pairs are in stock between its ends."""
        request = situation.request
        if offer.mask[STOCK] and held - request.pairs >= situation.reserved:
            return STOCK
        if self.separate_paths and offer.separate and held - offer.stocked >= situation.reserved:
            slowest_s = max(route.expected_delay_s for route, _ in offer.separate)
            return SEPARATE if slowest_s <= self.max_loaded_delay * situation.slack_s else WAIT
        if offer.stocked and held - offer.stocked >= situation.reserved:
            admitted = offer.combined is not None and self._admits(offer.combined, situation.slack_s)
            return COMBINED if admitted else WAIT
        for number, route in enumerate(offer.routes):
            if self._admits(route, situation.slack_s):
                return FIRST_ROUTE + number
        return WAIT

    def _admits(self, costed: CostedRoute, slack_s: float) -> bool:
        return (
            costed.unloaded_delay_s <= self.max_unloaded_delay * slack_s
            and costed.route.expected_delay_s <= self.max_loaded_delay * slack_s
        )
