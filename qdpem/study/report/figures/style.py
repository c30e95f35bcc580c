"""The style of all figures of a study: the same bytes for the same data, legible on light and dark pages.

Text and axes use one ink, which becomes CSS `currentColor`. Data use the palette of Okabe and Ito (2008),
which colour-blind readers can distinguish, and colours of Tol's (2021) muted scheme after it; blue is a
little lighter for dark pages. Every arm also has a marker and a dash, and looks the same in all figures. The
common arms have the same colour in all studies, and only `dpem` is vermilion.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Nothing else has this colour, so that replacing it in the SVG text changes only the ink.
INK = "#010203"
DPEM_COLOUR = "#D55E00"
COLOURS = (
    "#1C86CC", "#E69F00", "#009E73", "#CC79A7", "#56B4E9",
    "#999999", "#AA4499", "#44AA99", "#999933", "#8A84E2",
)  # fmt: skip
_ARM_COLOURS: Mapping[str, str] = {
    "dpem": DPEM_COLOUR,
    "central-stock": "#1C86CC",
    "central-expected-delay": "#CC79A7",
    "central-fcfs": "#999999",
    "central-link-stock": "#56B4E9",
    "central-virtual": "#8A84E2",
    "central-multicommodity": "#AA4499",
    "local-stock": "#009E73",
    "local-continuous": "#E69F00",
    "local-minhop": "#999933",
    "local-link-stock": "#44AA99",
}
"""Colours of common arms. Those that shipped studies compare in one figure differ."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ((0, ()), (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
_SETTINGS: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    # Without a salt the ids in the file would be random.
    "svg.hashsalt": "qdpem",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class ArmStyle:
    """The colour, marker and dash of one arm in all figures."""

    colour: str
    marker: str
    dash: tuple[int, tuple[float, ...]]


def arm_styles(names: Sequence[str]) -> dict[str, ArmStyle]:
    """One style per arm: markers and dashes by its position in the study, its colour by its name if common.

    Other arms take, in the order of the study, the first colours that no common arm of the study has.
    """
    styles = zip(_colours(names), _markers(), cycle(_DASHES), strict=False)
    return {name: ArmStyle(*style) for name, style in zip(names, styles, strict=False)}


def _colours(names: Sequence[str]) -> Iterator[str]:
    taken = {_ARM_COLOURS[name] for name in names if name in _ARM_COLOURS}
    free = cycle([colour for colour in COLOURS if colour not in taken] or COLOURS)
    return (_ARM_COLOURS[name] if name in _ARM_COLOURS else next(free) for name in names)


def _markers() -> Iterator[str]:
    """Markers in an order that shifts after every cycle of colours: 70 styles before one repeats."""
    for number in count():
        yield _MARKERS[(number + number // len(COLOURS)) % len(_MARKERS)]


@contextmanager
def new_figure(
    *, width: float, height: float, columns: int = 1, rows: int = 1
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure with its axes in the style of studies; opens no window and leaves pyplot's state alone."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_SETTINGS)):
        figure = Figure(figsize=(width, height), layout="constrained")
        # The canvas attaches itself to the figure.
        FigureCanvasSVG(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def svg(figure: Figure, prefix: str) -> str:
    """The figure as one <svg> element; ids start with `prefix`, so that one page can hold several figures."""
    buffer = io.StringIO()
    # A date would make equal figures differ.
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for pattern in (r'(\bid=")', r'(href="#)', r"(url\(#)"):
        text = re.sub(pattern, rf"\g<1>{prefix}-", text)
    return text


def image(figure: Figure, prefix: str, *, kind: str) -> bytes:
    """The figure as "svg", as `svg` gives it, or as "png" on white."""
    if kind == "svg":
        return svg(figure, prefix).encode()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
