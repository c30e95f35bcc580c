"""What a run of a rule must not import: packages that take longer to load than the run takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.small_scenario import SMALL

HEAVY = ("IPython", "jinja2", "joblib", "matplotlib", "pandas", "qutip", "statsmodels", "torch", "xarray")
RUN = """
import sys
from qdpem.cli.app import app
app({arguments!r}, standalone_mode=False)
print("loaded:", *sorted({heavy!r} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("arm", "further"),
    # Local control measures no distances of all nodes, so it needs no SciPy either.
    [("local-minhop", ("scipy", "networkx")), ("central-fcfs", ())],
)
def test_a_run_of_a_rule_imports_no_heavy_package(arm, further, tmp_path) -> None:
    scenario = tmp_path / "small.toml"
    scenario.write_text(SMALL + "[window]\nwarm_up_s = 0.0\nmeasured_s = 1.0\n")
    arguments = ["run", str(scenario), "--arm", arm, "--out", str(tmp_path / "small.h5")]
    script = RUN.format(arguments=arguments, heavy={*HEAVY, *further})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_the_task_of_a_worker_imports_no_report() -> None:
    script = (
        "import sys; import qdpem.study.tasks; print([m for m in sys.modules if 'study.report' in m or m in"
        f" {(*HEAVY, 'scipy', 'networkx')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
