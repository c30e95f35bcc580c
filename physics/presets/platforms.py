"""Published values of each platform with their sources, and one design that nobody has demonstrated.

The values of one platform often come from different experiments: a preset is a starting point, not a device.
A published gate or pair fidelity F of a depolarised state is converted to the weight that is not
depolarised, g = (4F-1)/3, and a pair fidelity of two-photon interference to a visibility, V = 2F-1.
"""

from __future__ import annotations

import math
from typing import Final

from physics.figures_of_merit.werner_figures import werner_weight
from physics.presets.sourced import Preset, SourcedValue, Standing

_IDEAL: Final = "ideal"
_DEPHASING: Final = "dephasing taken to be all there is"
_FIT: Final = "fit to 26 spans of deployed telecom fibre (SURFnet, Cambridge, SECOQC, Tokyo, MadQCI)"
_HUMPHREYS: Final = "Humphreys et al. 2018, Nature 558, 268"
_REISERER: Final = "Reiserer et al. 2016, Phys. Rev. X 6, 021040"
_HENSEN: Final = "Hensen et al. 2015, Nature 526, 682"
_AVIS: Final = "Avis et al. 2023, npj Quantum Inf. 9, 100, appendix A.5"
_RESTATED: Final = "restated in the NetSquid parameter set of Delft's NV centres, 2019"
_CONFIGURED: Final = "restated in SquidASM's colour-centre configuration"
_STEPHENSON: Final = "Stephenson et al. 2020, Phys. Rev. Lett. 124, 110501"
_DRMOTA: Final = "Drmota et al. 2023, Phys. Rev. Lett. 130, 090803"
_NADLINGER: Final = "Nadlinger et al. 2022, Nature 607, 682"
_KRUTYANSKIY: Final = "Krutyanskiy et al. 2023, Phys. Rev. Lett. 130, 050803"
_VAN_LEENT: Final = "van Leent et al. 2022, Nature 607, 69"
_ZHANG: Final = "Zhang et al. 2022, Nature 607, 687"
_SAHA: Final = "quoted in Saha et al. 2025, doi 10.1038/s41467-025-57557-4"
_LAGO_RIVERA: Final = "Lago-Rivera et al. 2021, Nature 594, 37"
_ROUTING: Final = "upper end of what routing studies take; not demonstrated"


def _ideal(*named: tuple[str, float | bool]) -> tuple[SourcedValue, ...]:
    return tuple(SourcedValue(name, value, _IDEAL, "assumed") for name, value in named)


def _telecom_fibre(note: str = "") -> tuple[SourcedValue, ...]:
    return (
        SourcedValue("fibre.fixed_loss_db", 2.6, _FIT, "reported", note),
        SourcedValue("fibre.loss_db_per_km", 0.24, _FIT, "reported", note),
    )


def _local_swap(source: str, standing: Standing = "remembered") -> tuple[SourcedValue, ...]:
    """A Bell measurement by a gate and two readouts, which never fails."""
    return (
        SourcedValue("bell_measurement", "complete", source, standing, "a gate and two readouts"),
        *_ideal(("swap_success_probability", 1.0)),
    )


def _station() -> tuple[SourcedValue, ...]:
    return (
        SourcedValue("station_position", 0.5, "half-way", "assumed"),
        SourcedValue("detector.number_resolving", False, "detectors that only click", "assumed"),
        SourcedValue("modes", 1, "one emitter at a time", "assumed"),
    )


_NV_CENTRE: Final = Preset(
    name="nv-centre",
    description="NV centre in diamond, carbon-13 memory; light at 637 nm as emitted: laboratory distances",
    node_values=(
        SourcedValue("memory.kind", "relaxing", _AVIS, "checked", _CONFIGURED),
        SourcedValue("memory.relaxation_s", 36000.0, _AVIS, "checked", _CONFIGURED),
        SourcedValue("memory.dephasing_s", 1.0, _AVIS, "checked", _CONFIGURED),
        SourcedValue(
            "memory.coherence_attempts", 1000.0, _REISERER, "checked", "two spins kept it for over 1000"
        ),
        SourcedValue("gate_fidelity", 1.0 - 0.06, _AVIS, "checked", f"depolarises with 0.06, {_CONFIGURED}"),
        SourcedValue(
            "readout_fidelity", (0.95 + 0.995) / 2.0, _HUMPHREYS, "checked", f"mean of both, {_RESTATED}"
        ),
        *_local_swap("Pfaff et al. 2014, Science 345, 532"),
    ),
    link_values=(
        SourcedValue("kind", "single-click", _HUMPHREYS, "checked"),
        SourcedValue("bright_population", 0.05, _HUMPHREYS, "remembered", "the paper sweeps it"),
        SourcedValue(
            "emission_efficiency",
            (2.8e-4 + 4.2e-4) / 2.0 / 0.80,
            _HUMPHREYS,
            "checked",
            f"mean detected share of both nodes over the detectors' efficiency, {_RESTATED}",
        ),
        SourcedValue("visibility", 0.9, _HUMPHREYS, "checked", _RESTATED),
        SourcedValue(
            "phase_deviation_rad", math.radians(15.0), _HUMPHREYS, "checked", f"15 degrees, {_RESTATED}"
        ),
        SourcedValue("reset_time_s", 5.5e-6, _HUMPHREYS, "checked", _RESTATED),
        SourcedValue("detector.efficiency", 0.80, _HENSEN, "checked", _RESTATED),
        SourcedValue("detector.dark_count_rate_hz", 20.0, _HUMPHREYS, "checked", _RESTATED),
        SourcedValue("detector.window_s", 25e-9, _HUMPHREYS, "checked", _RESTATED),
        SourcedValue("fibre.fixed_loss_db", 0.0, "in emission_efficiency", "assumed"),
        SourcedValue(
            "fibre.loss_db_per_km",
            5.0,
            "NetSquid parameter set of Delft's NV centres, 2019",
            "checked",
            "637 nm",
        ),
        *_station(),
    ),
    results=(
        SourcedValue("pair_rate_hz", 39.0, _HUMPHREYS, "checked", "highest, over 2 m"),
        SourcedValue("pair_rate_hz", 6.0, _HUMPHREYS, "remembered", "at pair fidelity 0.81(2)"),
        SourcedValue("pair_fidelity", 0.92, _HENSEN, "checked", "(3), 1.3 km"),
        SourcedValue(
            "pair_fidelity",
            0.534,
            "Stolk et al. 2024, Sci. Adv. 10, eadp6442",
            "remembered",
            "25 km of fibre",
        ),
    ),
)

_TRAPPED_ION: Final = Preset(
    name="trapped-ion",
    description="strontium-88 ion for the link, calcium-43 ion as memory, in one trap",
    node_values=(
        SourcedValue("memory.kind", "relaxing", _DEPHASING, "assumed"),
        *_ideal(("memory.relaxation_s", math.inf)),
        SourcedValue(
            "memory.dephasing_s", 10.0, _DRMOTA, "checked", "or longer: 0.81(4) with a photon after 10 s"
        ),
        SourcedValue("memory.coherence_attempts", math.inf, _DRMOTA, "checked", "not affected by attempts"),
        SourcedValue(
            "gate_fidelity", werner_weight(0.977), _DRMOTA, "checked", "from 0.977(7), between the ions"
        ),
        SourcedValue(
            "readout_fidelity", 0.9977, "Myerson et al. 2008, Phys. Rev. Lett. 100, 200502", "checked"
        ),
        *_local_swap("Riebe et al. 2008, Nature Phys. 4, 839"),
    ),
    link_values=(
        SourcedValue("kind", "double-click", _STEPHENSON, "remembered"),
        SourcedValue("rounds", 1, _STEPHENSON, "remembered", "polarisation: both modes at once"),
        SourcedValue(
            "emission_efficiency",
            math.sqrt(2.0 * 2.18e-4),
            _STEPHENSON,
            "remembered",
            "from success probability 2.18e-4; detectors included",
        ),
        SourcedValue(
            "visibility", 2.0 * 0.960 - 1.0, _NADLINGER, "checked", f"from fidelity 0.960(1), {_SAHA}"
        ),
        SourcedValue("reset_time_s", 1.2e-6, _STEPHENSON, "remembered", "833 000 attempts per second"),
        SourcedValue("detector.efficiency", 1.0, "in emission_efficiency", "assumed"),
        *_ideal(("detector.dark_count_rate_hz", 0.0)),
        SourcedValue("detector.window_s", 1e-6, "of no effect without dark counts", "assumed"),
        SourcedValue("fibre.fixed_loss_db", 0.0, "in emission_efficiency", "assumed"),
        SourcedValue(
            "fibre.loss_db_per_km", 0.24, _FIT, "reported", "422 nm light would have to be converted"
        ),
        *_station(),
    ),
    results=(
        SourcedValue("pair_fidelity", 0.960, _NADLINGER, "checked", f"(1), some metres, {_SAHA}"),
        SourcedValue("pair_rate_hz", 182.0, _STEPHENSON, "remembered", "at pair fidelity 0.940(5), 2 m"),
        SourcedValue(
            "pair_rate_hz", 250.0, "O'Reilly et al. 2024, Phys. Rev. Lett. 133, 090802", "checked", _SAHA
        ),
        SourcedValue("pair_fidelity", 0.882, _KRUTYANSKIY, "checked", "best, 520 m of fibre"),
    ),
)

_NEUTRAL_ATOM: Final = Preset(
    name="neutral-atom",
    description="single rubidium-87 atom, light converted from 780 nm to the telecom S band",
    node_values=(
        SourcedValue("memory.kind", "relaxing", _DEPHASING, "assumed"),
        *_ideal(("memory.relaxation_s", math.inf)),
        SourcedValue("memory.dephasing_s", 7e-3, "Zhou et al. 2024, PRX Quantum 5, 020307", "checked"),
        *_ideal(("memory.coherence_attempts", math.inf)),
        SourcedValue(
            "gate_fidelity",
            werner_weight(0.995),
            "Evered et al. 2023, Nature 622, 268",
            "checked",
            "from 0.995, no link",
        ),
        SourcedValue("readout_fidelity", 0.9991, "Chow et al. 2022, arXiv:2206.00144", "checked", "caesium"),
        *_local_swap("as for the other emitters", "assumed"),
    ),
    link_values=(
        SourcedValue("kind", "double-click", _VAN_LEENT, "checked"),
        SourcedValue("rounds", 1, _VAN_LEENT, "remembered", "polarisation: both modes at once"),
        SourcedValue(
            "emission_efficiency",
            0.09 * 0.57,
            "Safari et al. 2026, arXiv:2601.13420; van Leent et al. 2020, Phys. Rev. Lett. 124, 010510",
            "reported",
            "0.09 of the photons collected (read in a summary only), 0.57 of them converted (checked)",
        ),
        SourcedValue(
            "visibility", 2.0 * 0.892 - 1.0, _ZHANG, "checked", "from pair fidelity 0.892(23) over 400 m"
        ),
        *_ideal(("reset_time_s", 0.0), ("detector.efficiency", 1.0), ("detector.dark_count_rate_hz", 0.0)),
        SourcedValue("detector.window_s", 1e-6, "of no effect without dark counts", "assumed"),
        *_telecom_fibre(),
        *_station(),
    ),
    results=(
        SourcedValue("pair_fidelity", 0.892, _ZHANG, "checked", "(23), atoms 400 m apart"),
        SourcedValue("pair_fidelity", 0.622, _VAN_LEENT, "checked", f"(15), 33 km of fibre, {_SAHA}"),
        SourcedValue("pair_rate_hz", 0.01, _VAN_LEENT, "checked", f"33 km of fibre, {_SAHA}"),
    ),
)

_RARE_EARTH: Final = Preset(
    name="rare-earth",
    description="rare-earth ions in crystals that absorb one photon of each pair: the best of several",
    node_values=(
        SourcedValue("memory.kind", "relaxing", _DEPHASING, "assumed"),
        *_ideal(("memory.relaxation_s", math.inf)),
        SourcedValue(
            "memory.dephasing_s",
            20e-3,
            "Ortu et al. 2022, npj Quantum Inf. 8, 29",
            "checked",
            "lower bound: weak pulses in europium, fidelity 0.85(2) after 20 ms",
        ),
        *_ideal(("memory.coherence_attempts", math.inf), ("gate_fidelity", 1.0), ("readout_fidelity", 1.0)),
        SourcedValue(
            "bell_measurement",
            "linear-optics",
            "Sangouard et al. 2011, Rev. Mod. Phys. 83, 33",
            "remembered",
            "of photons read from the memories",
        ),
        SourcedValue(
            "swap_success_probability", 1.0, _IDEAL, "assumed", "reading is in absorption_efficiency"
        ),
    ),
    link_values=(
        SourcedValue(
            "kind", "midpoint-source", "Sangouard et al. 2011, Rev. Mod. Phys. 83, 33", "remembered"
        ),
        SourcedValue("pair_probability", 1.0, _IDEAL, "assumed", "never fails: rates are upper limits"),
        SourcedValue(
            "absorption_efficiency",
            0.62,
            "Duranti et al. 2023, arXiv:2307.03509",
            "checked",
            "storage and reading together, weak pulses, 2 us",
        ),
        SourcedValue(
            "fresh_fidelity", 0.804, "Liu et al. 2021, Nature 594, 41", "checked", "(22), over 3.5 m"
        ),
        *_ideal(("reset_time_s", 0.0)),
        SourcedValue("modes", 62, _LAGO_RIVERA, "checked", "in time, kept for up to 25 us"),
        *_telecom_fibre("light would have to be converted; that loss is not included"),
    ),
    results=(
        SourcedValue(
            "herald_rate_hz", 1400.0, _LAGO_RIVERA, "checked", "of one excitation shared by two crystals"
        ),
        SourcedValue(
            "pair_rate_hz",
            22.0,
            "Haenni et al. 2025, heralded entanglement of spin waves",
            "checked",
            "15 modes, per detector",
        ),
        SourcedValue(
            "storage_s",
            47.7e-6,
            "Rakonjac et al. 2021, Phys. Rev. Lett. 127, 210502",
            "checked",
            "entangled with a telecom photon, in a spin wave",
        ),
    ),
)

_PROJECTED: Final = Preset(
    name="projected",
    description="an optimistic design point, NOT demonstrated by any platform",
    node_values=(
        SourcedValue("memory.kind", "depolarising", _ROUTING, "assumed"),
        SourcedValue("memory.depolarising_s", 10.0, _ROUTING, "assumed", "of 1 to 10 s"),
        *_ideal(("memory.coherence_attempts", math.inf)),
        SourcedValue("gate_fidelity", 0.999, _ROUTING, "assumed", "of 0.99 to 0.999"),
        SourcedValue("readout_fidelity", 0.99, _ROUTING, "assumed"),
        SourcedValue("bell_measurement", "complete", _ROUTING, "assumed"),
        *_ideal(("swap_success_probability", 1.0)),
    ),
    link_values=(
        SourcedValue("kind", "source", _ROUTING, "assumed"),
        *_ideal(("efficiency", 1.0), ("reset_time_s", 0.0), ("modes", 1)),
        SourcedValue("fresh_fidelity", 0.99, _ROUTING, "assumed", "of 0.95 to 0.99"),
        *_telecom_fibre(),
    ),
)

PLATFORMS: Final = (_NV_CENTRE, _TRAPPED_ION, _NEUTRAL_ATOM, _RARE_EARTH, _PROJECTED)
