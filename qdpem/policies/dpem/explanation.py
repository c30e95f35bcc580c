"""What the networks saw and weighed at the last call of `act`, as arrays with one row for each site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qdpem.arrays import Ints
from qdpem.policies.dpem import link_levels, peer_levels, serving
from qdpem.policies.dpem.chooser import Chosen
from qdpem.policies.dpem.networks import FEATURES, Kind

OPTIONS = {Kind.SERVE: serving.OPTIONS, Kind.PEER: peer_levels.OPTIONS, Kind.LINK: link_levels.OPTIONS}
"""Number of options of a decision of each kind."""

LABELS = {f"{kind}_features": names for kind, names in FEATURES.items()}
"""What each place on the last axis of the features means."""


def explanation(
    made: Sequence[Chosen], sites: Ints, *, places: dict[Kind, int]
) -> dict[str, NDArray[np.float32]]:
    """Decisions of every site, padded to `places` of each kind; more than that are left out.

    For each kind, with S sites, D places, O options and F features: `subject` [S, D, 3] (`Choices`),
    `features` [S, D, O, F], `probability` [S, D, O] of every option, and `option` [S, D], the one taken.
    Padding is NaN.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    row_of = {site: row for row, site in enumerate(sites.tolist())}
    for kind in Kind:
        shape = len(sites), places[kind]
        subject = np.full((*shape, 3), np.nan, dtype=np.float32)
        features = np.full((*shape, OPTIONS[kind], len(FEATURES[kind])), np.nan, dtype=np.float32)
        probability = np.full((*shape, OPTIONS[kind]), np.nan, dtype=np.float32)
        option = np.full(shape, np.nan, dtype=np.float32)
        used = dict.fromkeys(row_of.values(), 0)
        for chosen in (item for item in made if item.choices.kind == kind):
            for number, site in enumerate(chosen.choices.site.tolist()):
                row, place = row_of[site], used[row_of[site]]
                if place < places[kind]:
                    subject[row, place] = chosen.choices.subject[number]
                    features[row, place] = chosen.choices.features[number]
                    probability[row, place] = chosen.probability[number]
                    option[row, place] = chosen.option[number]
                used[row] = place + 1
        arrays |= {
            f"{kind}_subject": subject,
            f"{kind}_features": features,
            f"{kind}_probability": probability,
            f"{kind}_option": option,
        }
    return arrays
