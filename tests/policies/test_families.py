"""The family that each registered policy declares."""

from __future__ import annotations

from qdpem import list_names, registry
from qdpem.policies.minimum_hop import LocalMinimumHop
from qdpem.scenario.schema import Arm
from qdpem.simulation.arms import resolve_arm
from qdpem.study.analysis.contrasts import contrast_pairs


def test_policies_of_one_rule_and_only_they_share_a_family() -> None:
    families: dict[str, set[str]] = {}
    for name in list_names("policy"):
        families.setdefault(registry.load("policy", name).family, set()).add(name)
    assert families == {
        "minimum-hop": {"local-minhop", "central-fcfs"},
        "expected-delay": {"local-expected-delay", "central-expected-delay", "local-stock"},
        "planned-stock": {"local-planned-stock", "central-planned-stock"},
        "max-weight": {"local-maxweight", "central-maxweight"},
        "fidelity-routing": {"central-qleap"},
        "multicommodity-flow": {"central-multicommodity"},
        "packet-scheduling": {"central-edf"},
        "price-based": {"local-price-based"},
        "continuous-generation": {"local-continuous"},
        "dpem": {"dpem"},
    }


def test_a_policy_without_a_family_is_one_of_its_own(monkeypatch) -> None:
    serve = Arm(name="serve", policy="local-minhop")
    link = Arm(name="link", policy="local-minhop", pregeneration="link")
    monkeypatch.delattr(LocalMinimumHop, "family")
    arms = [resolve_arm(arm).arm for arm in (serve, link, Arm(name="prices", policy="local-price-based"))]
    [(lower, upper)] = contrast_pairs(arms)["pregeneration"]
    assert (lower.name, upper.name) == ("serve", "link")
