"""The file of a demand profile: a picture, or a page that holds the picture and all tables."""

from __future__ import annotations

from pathlib import Path

from qdpem.errors import StudyError
from qdpem.extras import require_packages
from qdpem.scenario.schema import Scenario
from qdpem.study.analysis.demand.profile import DemandProfile
from qdpem.study.report.csv import write_file
from qdpem.study.report.demand_tables import demand_heading, demand_tables
from qdpem.study.report.demand_words import mixture_words
from qdpem.study.report.figures.demand_figure import demand_figure
from qdpem.study.report.templates import page_template

PICTURES = (".html", ".png", ".svg")


def check_picture(path: Path, scenario: Scenario) -> None:
    """Raise StudyError for a file that is no picture, or a demand that has none, before anything is drawn.

    Raises MissingPackagesError for a picture whose packages are not installed.
    """
    if path.suffix.lower() not in PICTURES:
        raise StudyError(f"{path} is no name of a picture; should end in {', '.join(PICTURES)}")
    if scenario.demand.arrivals == "batch":
        raise StudyError(
            f"{path} would be empty: all requests of {scenario.name!r} come at t = 0, and the picture shows"
            " demand over time; leave out --out"
        )
    packages = ("matplotlib", "jinja2") if path.suffix.lower() == ".html" else ("matplotlib",)
    require_packages(packages, extra="report", user="a picture of demand")


def write_demand_picture(profile: DemandProfile, *, path: Path, command: str) -> None:
    """Write the picture of the kind that the name of `path` ends in, whole or not at all.

    Raises StudyError as `check_picture` does.
    """
    check_picture(path, profile.scenario)
    kind = path.suffix.lower()
    if kind == ".html":
        write_file(path, render_demand(profile, command=command).encode())
        return
    data = demand_figure(profile, kind=kind.removeprefix("."))
    # Ink that follows the colour of a page has no page to follow in a file of its own.
    write_file(path, data.replace(b"currentColor", b"#1c2430") if kind == ".svg" else data)


def render_demand(profile: DemandProfile, *, command: str) -> str:
    """The page as HTML text. It loads nothing: style and picture are inside it."""
    demand = profile.scenario.demand
    return page_template("demand.html.jinja").render(
        title=f"The demand of {profile.scenario.name}",
        heading=demand_heading(profile),
        mixture=f"Requests: {mixture_words(demand)}." if demand.processes else "",
        picture=demand_figure(profile, kind="svg").decode(),
        tables=list(demand_tables(profile)),
        command=command,
    )
