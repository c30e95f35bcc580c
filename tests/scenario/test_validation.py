"""Every mistake in a scenario is a sentence at its place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from physics.hardware import DirectLink
from qdpem.errors import ScenarioError
from qdpem.scenario.faults.messages import described, shown
from qdpem.scenario.load import load_scenario, parse_scenario, scenario_from_text, scenario_text
from tests.helpers.small_scenario import SMALL, faults_of

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.toml"

ONE_CLASS = "classes=[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0}]"


def process(keys: str, *, name: str = "jobs", each: str = "application='computing',fraction=1.0") -> str:
    """An override that gives demand a process with these keys and one class."""
    classes = f"classes=[{{{each},target_fidelity=0.6,patience_s=1.0}}]"
    return f"demand.processes.{name}={{{keys},{classes}}}"


def test_five_mistakes_give_five_faults_with_their_paths() -> None:
    found = faults_of(
        SMALL,
        "nodes.memories=0",
        "nodes.source_rate_hz=fast",
        "links.hardware.fresh_fidelity=1.2",
        "nodes.hardware.memory.kind=depolarizing",
        "demand.wieghts=uniform",
    )
    assert found == {
        "nodes.memories": "0 is not allowed; should be greater than or equal to 1",
        "nodes.source_rate_hz": "'fast' is not allowed; should be a number or a table with low, high",
        "links.hardware.fresh_fidelity": "1.2 is not allowed; should be in [1/4, 1]",
        "nodes.hardware.memory.kind": "'depolarizing' is not allowed; should be 'depolarising' or 'relaxing'"
        " (did you mean 'depolarising'?)",
        "demand.wieghts": "is not a known key; did you mean 'weights'?"
        " known: classes, processes, rate_hz, load_factor, served_fraction, arrivals, weights, neighbourhood,"
        " bursts",
    }


def test_a_key_of_the_file_below_a_table_is_told_its_place() -> None:
    """In TOML it then belongs to that table, which is easily overlooked."""
    found = faults_of(
        SMALL, 'nodes.physics={ model = "werner" }', "demand.topology_seed=1", "nodes.window_s=1"
    )
    assert found.keys() == {"nodes.physics", "demand.topology_seed", "nodes.window_s"}
    assert "[physics]" in found["nodes.physics"]
    assert "above its first table" in found["demand.topology_seed"]
    assert "[topology_seed]" not in found["demand.topology_seed"]
    assert "known: " in found["nodes.window_s"]


def test_a_key_of_a_table_below_is_told_its_place() -> None:
    found = faults_of(SMALL, "nodes.gate_fidelity=0.9", "demand.duration_s=1.0")
    assert found.keys() == {"nodes.gate_fidelity", "demand.duration_s"}
    assert "'nodes.hardware.gate_fidelity'" in found["nodes.gate_fidelity"]
    assert "'demand.bursts.duration_s'" in found["demand.duration_s"]


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("nodes.memories=4.0", "nodes.memories", "4.0 is not allowed; should be a whole number"),
        ("nodes.memories=true", "nodes.memories", "true is not allowed; should be a whole number"),
        ('nodes.memories="4"', "nodes.memories", "'4' is not allowed; should be a whole number"),
        ("window.measured_s=inf", "window.measured_s", "inf is not allowed; should be finite"),
        (
            "nodes.source_rate_hz=-1",
            "nodes.source_rate_hz",
            "-1 is not allowed; should be greater than or equal to 0; or a table with low, high",
        ),
        (
            "nodes.source_rate_hz={low=-1,high=2}",
            "nodes.source_rate_hz.low",
            "-1 is not allowed; should be greater than or equal to 0",
        ),
        ("nodes.source_rate_hz={low=1}", "nodes.source_rate_hz.high", "is missing; should be a number"),
        (
            "nodes.source_rate_hz={low=3,high=2}",
            "nodes.source_rate_hz.low",
            "low = 3 must not be above high = 2",
        ),
        (
            "nodes.hardware.memory=60",
            "nodes.hardware.memory",
            "60 is not allowed; should be a table with depolarising_s"
            " or a table with relaxation_s, dephasing_s",
        ),
        (
            "nodes.hardware.memory={relaxation_s=1.0}",
            "nodes.hardware.memory.dephasing_s",
            "is missing; should be a number",
        ),
        (
            "nodes.hardware.memory={relaxation_s=1.0,dephasing_s=3.0}",
            "nodes.hardware.memory.dephasing_s",
            "3.0 is not allowed; should be at most 2 relaxation_s = 2",
        ),
        (
            "demand.bursts={period_s=8.0,duration_s=4.0,peak=3.0}",
            "demand.bursts.peak",
            "peak = 3 leaves no demand outside bursts; it must be at most period_s / duration_s = 2",
        ),
        (
            "demand.weights=matrx",
            "demand.weights",
            "'matrx' is not allowed; should be 'matrix' or 'uniform' or 'neighbourhood' or 'endpoints'"
            " (did you mean 'matrix'?)",
        ),
        (
            "demand.load_factor=0.9",
            "demand.load_factor",
            "load_factor = 0.9 excludes rate_hz = 5",
        ),
        (
            "demand.neighbourhood={peers=3}",
            "demand.neighbourhood",
            "neighbourhood means nothing while weights is 'uniform'; set weights to 'neighbourhood'",
        ),
        (
            "demand.neighbourhood={min_hops=3,max_hops=2}",
            "demand.neighbourhood.min_hops",
            "min_hops = 3 must not be above max_hops = 2",
        ),
        (
            "demand.served_fraction=1.5",
            "demand.served_fraction",
            "1.5 is not allowed; should be less than or equal to 1",
        ),
        (
            "demand={classes=[{application='computing',fraction=1.0,target_fidelity=0.6,patience_s=1.0}]}",
            "demand",
            "it has neither rate_hz nor load_factor; should have one of them",
        ),
        (
            "links.hardware.kind=dierct",
            "links.hardware.kind",
            "'dierct' is not allowed; should be 'source' or 'midpoint-source' or 'double-click'"
            " or 'single-click' or 'direct' (did you mean 'direct'?)",
        ),
        (
            "links.hardware={kind='double-click',eficiency=0.5}",
            "links.hardware.eficiency",
            "is not a known key; did you mean 'emission_efficiency'? known: fibre, detector, rounds,",
        ),
        (
            "links.hardware={kind='single-click'}",
            "links.hardware.bright_population",
            "is missing; should be a number",
        ),
        (
            "links.hardware={kind='single-click',bright_population=0.1,detector={efficiency=2}}",
            "links.hardware.detector.efficiency",
            "2.0 is not allowed; should be between 0 and 1",
        ),
        (
            "links.hardware={kind='direct',success_probability=1,attempt_period_s=1,fresh_weights=[0.9]}",
            "links.hardware.fresh_weights",
            "[0.9] is not allowed; should have 4 items",
        ),
        (
            "links.hardware={kind='direct',success_probability=1,attempt_period_s=1,fresh_weights=[1,0,0,0,0]}",
            "links.hardware.fresh_weights",
            "[1, 0, 0, 0, 0] is not allowed; should have at most 4 items",
        ),
        (
            "links.hardware={kind='direct',success_probability=1,attempt_period_s=1,fresh_weights=[0,1,0,0]}",
            "links.hardware.fresh_weights",
            "0.0 is not allowed; should be a fidelity in [1/4, 1]",
        ),
        (
            "demand.classes=[]",
            "demand",
            "it has no classes; should have [[demand.classes]], the classes of its requests",
        ),
        (process("kind='timetable',fraction=1.0"), "demand", "the fractions of processes sum to 1 (jobs 1)"),
        (process("kind='timetable',fraction=1.5"), "demand.processes.jobs.fraction", "1.5 is not allowed"),
        (
            process("kind='timetabel',fraction=0.5"),
            "demand.processes.jobs.kind",
            "'timetabel' is not allowed; should be 'timetable' or 'session' or 'trace' (did you mean",
        ),
        (
            process("kind='timetable',fraction=0.5,jiter_s=1"),
            "demand.processes.jobs.jiter_s",
            "is not a known key; did you mean 'jitter_s'?",
        ),
        (
            process("kind='session',fraction=0.5,jitter_s=1"),
            "demand.processes.jobs.jitter_s",
            "is not a known key; known: fraction, classes, kind, on_s, off_s",
        ),
        (
            process("kind='timetable',fraction=0.5,period_spread=1"),
            "demand.processes.jobs.period_spread",
            "1 is not allowed; should be less than 1",
        ),
        (
            process("kind='timetable',fraction=0.5,jitter_s=-1"),
            "demand.processes.jobs.jitter_s",
            "-1 is not allowed; should be greater than or equal to 0",
        ),
        (
            process("kind='timetable',fraction=0.5,skipped_fraction=1.0"),
            "demand.processes.jobs.skipped_fraction",
            "1.0 is not allowed; should be less than 1",
        ),
        (
            process("kind='session',fraction=0.5,on_s=0"),
            "demand.processes.jobs.on_s",
            "0 is not allowed; should be greater than 0",
        ),
        (
            process("kind='session',fraction=0.5", name="poisson"),
            "demand.processes",
            "processes has 'poisson', the name of the stream of classes; choose another name",
        ),
        (
            process("kind='session',fraction=0.5", name="jobs/a"),
            "demand.processes",
            "processes has 'jobs/a'; a name should be of letters",
        ),
        (
            "demand.processes.jobs={kind='session',fraction=0.5}",
            "demand.processes.jobs.classes",
            "is missing; should be a list",
        ),
        (
            "demand.processes.jobs={kind='session',fraction=0.5,classes=[]}",
            "demand.processes.jobs.classes",
            "[] is not allowed; should have at least 1 item",
        ),
        (
            process("kind='session',fraction=0.5", each="application='computing',fraction=0.4"),
            "demand.processes.jobs.classes",
            "the fractions sum to 0.4; should sum to 1",
        ),
        (
            process("kind='session',fraction=0.5", each="application='qkd',fraction=1.0"),
            "demand.processes.jobs.classes.0.target_fidelity",
            "0.6 is not allowed for qkd; should be above 0.835",
        ),
        (
            f"demand={{rate_hz=1,processes={{jobs={{kind='session',fraction=0.5,{ONE_CLASS}}}}}}}",
            "demand",
            "the fractions of processes sum to 0.5 (jobs 0.5); should sum to 1, or leave the rest",
        ),
        (
            f"demand={{rate_hz=1,bursts={{}},processes={{jobs={{kind='session',fraction=1.0,{ONE_CLASS}}}}}}}",
            "demand.bursts",
            "bursts means nothing without classes, the Poisson stream that bursts; leave it out",
        ),
        (
            f"demand={{arrivals='batch',{ONE_CLASS},"
            f"processes={{jobs={{kind='session',fraction=0.5,{ONE_CLASS}}}}}}}",
            "demand.processes",
            "processes means nothing while arrivals is 'batch'; leave it out",
        ),
        ("demand.processes.jobs=3", "demand.processes.jobs", "3 is not allowed; should be a table with"),
        ("nodes=3", "nodes", "3 is not allowed; should be a table with"),
        ("demand.classes.0.fraction=0.5", "demand.classes", "the fractions sum to 0.5; should sum to 1"),
        (
            "topology.parameters.nods=4",
            "topology.parameters.nods",
            "is not a known key; did you mean 'nodes'?",
        ),
        (
            "topology.parameters.hop_km=0",
            "topology.parameters.hop_km",
            "0 is not allowed; should be greater than 0",
        ),
        ("topology.kind=lin", "topology.kind", "no topology is called 'lin'; did you mean 'line'?"),
        ("physics.model=pauly", "physics.model", "no physics model is called 'pauly'; did you mean 'pauli'?"),
    ],
)
def test_one_wrong_value_gives_one_sentence(override: str, path: str, message: str) -> None:
    found = faults_of(SMALL, override)
    assert list(found) == [path]
    assert found[path].startswith(message)


def test_what_a_dataclass_checks_itself_is_reported_beside_other_faults() -> None:
    found = faults_of(
        SMALL,
        "nodes.hardware.gate_fidelity=1.5",
        "nodes.hardware.readout_fidelity=-2",
        "nodes.hardware.memory.depolarising_s=long",
    )
    assert found["nodes.hardware.gate_fidelity"] == "1.5 is not allowed; should be between 0 and 1"
    assert found["nodes.hardware.readout_fidelity"] == "-2 is not allowed; should be between 0 and 1"
    assert found["nodes.hardware.memory.depolarising_s"] == "'long' is not allowed; should be a number"
    assert len(found) == 3


def test_missing_tables_are_all_named() -> None:
    assert set(faults_of("")) == {"name", "topology", "nodes", "demand"}


def test_bad_toml_names_the_line() -> None:
    found = faults_of('name = "a"\nnodes = = 3\n')
    assert "line 2" in found[""]


def test_missing_folder_and_binary_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="not UTF-8 text"):
        load_scenario(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("nodes.memories", "", "'nodes.memories' is not an override"),
        ("nodes..memories=3", "", "'nodes..memories=3' is not an override"),
        ("demand.classes.1.fraction=1", "demand.classes", "has 1 items; '1' is not one of 0 to 0"),
        ("demand.rate_hz.low=1", "demand.rate_hz", "is 5.0, which has no 'low'"),
    ],
)
def test_overrides_that_cannot_be_set(override: str, path: str, message: str) -> None:
    assert faults_of(SMALL, override)[path].startswith(message)


def study(**changes: str) -> str:
    keys = {"seeds": "[1000, 1001]", "arms": '[{ name = "dpem" }]', "reference": '"dpem"'} | changes
    return SMALL + "[study]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"arms": '[{ name = "depm" }]', "reference": '"depm"'},
            "study.arms.0.name",
            "no policy is called 'depm'; did you mean 'dpem'?",
        ),
        (
            {"arms": '[{ name = "dpem", policy = "local-minhops" }]'},
            "study.arms.0.policy",
            "no policy is called 'local-minhops'; did you mean 'local-minhop'?",
        ),
        (
            {"arms": '[{ name = "dpem", forecaster = "clairvoyance" }]'},
            "study.arms.0.forecaster",
            "no forecaster is called 'clairvoyance'; did you mean 'clairvoyant'?",
        ),
        (
            {"arms": '[{ name = "dpem" }, { name = "dpem" }]'},
            "study.arms.1.name",
            "'dpem' is the name of an arm above",
        ),
        ({"reference": '"dpm"'}, "study.reference", "no arm is called 'dpm'; did you mean 'dpem'?"),
        (
            {"claim": '{ arm = "dpm", delivery_gain = 0.25, contention_relief = 0.17 }'},
            "study.claim.arm",
            "no arm is called 'dpm'; did you mean 'dpem'?",
        ),
        (
            {"claim": '{ arm = "dpem", delivery_gain = 0.25, contention_relief = 0.17, against = "x" }'},
            "study.claim.against",
            "no arm is called 'x'",
        ),
        (
            {"claim": '{ arm = "dpem", delivery_gain = -0.25, contention_relief = 0.17 }'},
            "study.claim.delivery_gain",
            "-0.25 is not allowed",
        ),
        ({"seeds": "[1000, 1000]"}, "study.seeds", "1000 is given more than once"),
        ({"seeds": "[3, 1000]"}, "study.seeds", "tuning and test seeds are mixed"),
        ({"seeds": "[1000, 10000]"}, "study.seeds", "test and training seeds are mixed"),
        ({"arms": '[{ name = "A b" }]'}, "study.arms.0.name", "'A b' is not allowed; should be lower-case"),
    ],
)
def test_study_faults(changes: dict[str, str], path: str, message: str) -> None:
    found = faults_of(study(**changes))
    assert list(found) == [path]
    assert found[path].startswith(message)


def test_all_that_makes_no_sense_is_reported_at_once() -> None:
    text = study(arms='[{ name = "depm" }]', seeds="[1, 1001]")
    found = faults_of(
        text,
        "physics.model=quantum",
        "topology.kind=ring",
        "demand.classes.0.application=qkd",
        "demand.classes.0.fraction=0.9",
    )
    assert set(found) == {
        "physics.model",
        "topology.kind",
        "demand.classes.0.target_fidelity",
        "demand.classes",
        "study.arms.0.name",
        "study.reference",
        "study.seeds",
    }


def test_seeds_beside_the_named_ranges_are_free() -> None:
    assert parse_scenario(study(seeds="[1000, 5000]")).study is not None


def places_of(values: Any, path: str = "") -> list[str]:
    """Every dotted path in `values`, tables and lists included."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    found = []
    for key, value in items:
        found.append(f"{path}{key}")
        if isinstance(value, dict | list):
            found.extend(places_of(value, f"{path}{key}."))
    return found


@pytest.mark.mostly_slow(4)
@pytest.mark.parametrize("junk", ["junk", "-7", "[]", "[1, 'a']", "{}", "{ kind = 3 }", "1979-05-27", "nan"])
def test_junk_anywhere_is_one_fault_at_or_below_its_place(junk: str) -> None:
    places = places_of(tomllib.loads(QUICKSTART.read_text(encoding="utf-8")))
    # Any text will do for these here; whether topohub has the key is found when the network is built.
    # So it will for the name of an arm that names its policy.
    text = {"name", "description", "topology.parameters.key", "study.arms.2.name"}
    survived = set()
    for place in places:
        try:
            load_scenario(QUICKSTART, [f"{place}={junk}"])
        except ScenarioError as error:
            for fault in error.faults:
                # An arm renamed is also an arm that `reference` and the claim no longer find.
                named = ("study.reference", "study.claim.arm")
                aside = fault.path in named and place.startswith("study.arms")
                assert aside or fault.path.startswith(place) or place.startswith(fault.path)
                assert "Input" not in fault.message
                assert "function-" not in str(fault)
        else:
            survived.add(place)
    optional = {"forecasting", "control", "window", "record", "training", "demand.bursts"}
    optional |= {"links", "links.hardware", "links.hardware.fibre"}
    assert survived <= text | (optional if junk == "{}" else set())


def test_values_and_types_are_shown_as_people_write_them() -> None:
    assert shown([1, "a"]) == '[1, "a"]'
    assert len(shown(list(range(100)))) == 60
    assert described(int | None) == "a whole number"


def test_a_source_rate_is_missed_by_source_links_alone() -> None:
    bare = SMALL.replace("source_rate_hz = 50\n", "")
    assert faults_of(bare) == {
        "nodes.source_rate_hz": "is missing; should be a number or a table with low, high,"
        " because links.hardware is of the kind 'source'"
    }
    direct = "links.hardware={kind='direct',success_probability=0.5,attempt_period_s=1e-3,modes=4}"
    scenario = parse_scenario(bare, overrides=[direct])
    assert scenario.nodes.source_rate_hz is None
    assert scenario.links.hardware == DirectLink(success_probability=0.5, attempt_period_s=1e-3, modes=4)
    assert scenario_from_text(scenario_text(scenario)) == scenario
