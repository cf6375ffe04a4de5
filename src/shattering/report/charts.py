"""The conventions of every chart: colours, axes, legends, reference lines and size; and how a chart is stored.

Train and test, original and randomized data have the same colours in all charts.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from shattering.errors import not_installed
from shattering.system.files import write_aside

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart

# dark enough for lines and text on white
BLUE, RED, GREEN, PURPLE = "#1769aa", "#c62828", "#2e7d32", "#ad1aa6"
OCHRE, TEAL, BROWN = "#8a6d00", "#00838f", "#6d4c41"
SERIES = (BLUE, RED, GREEN, PURPLE, OCHRE, TEAL)  # of series that have no colour of their own, in this order
TRAIN, TEST = OCHRE, BLUE
ORIGINAL, RANDOM = BLUE, RED  # labels, and what is fitted to them
MARK, RULE, NOTE = "#222", "#666", "#555"  # intervals over bars, reference lines, and the texts beside these
_GRID = "#e8e8e8"
DARK = {  # each colour of a chart → the one that a page shows on a dark screen
    "white": "#14181d",
    "#000": "#e8edf2",
    MARK: "#fff",
    NOTE: "#a9b4c0",
    RULE: "#9aa5b1",
    "#888": "#8b96a2",
    _GRID: "#333b44",
    BLUE: "#6cb6f5",
    RED: "#ff8a80",
    GREEN: "#7fd184",
    PURPLE: "#f08ee8",
    OCHRE: "#dcb63c",
    TEAL: "#4fd0dc",
    BROWN: "#cfa898",
}
SIZE = {"width": 400, "height": 280}
POINTS = {"size": 60, "filled": True}  # of a line through few points


def color(
    field: str, domain: Sequence[str] | None = None, colors: Sequence[str] = SERIES, columns: int | None = None, **options: Any
) -> alt.Color:
    """Colour the series of a chart, with a legend below it.

    Args:
        field: the column with the names of the series.
        domain: the names, in the order of the legend. None: as altair sorts them.
        colors: one per name.
        columns: of the legend. None: as many as fit.
        options: of `alt.Color`, such as title or sort, and of its legend: those whose name starts with "symbol".
    """
    symbols = {name: options.pop(name) for name in list(options) if name.startswith("symbol")}
    legend: dict[str, Any] = {"orient": "bottom", "labelLimit": 0, "symbolStrokeWidth": 3, **symbols}
    scale: dict[str, Any] = {"range": list(colors)}
    if columns is not None:
        legend["columns"] = columns
    if domain is not None:
        scale = {"domain": list(domain), "range": list(colors)[: len(domain)]}
    return alt.Color(f"{field}:N", **{"title": None, "scale": alt.Scale(**scale), "legend": alt.Legend(**legend), **options})


def log_axis(title: str, field: str, form: str) -> dict:
    """Return arguments of alt.X or alt.Y for a logarithmic axis whose labels do not overlap."""
    axis = alt.Axis(format=form, labelOverlap="greedy", labelSeparation=6)
    return {"shorthand": f"{field}:Q", "title": title, "scale": alt.Scale(type="log"), "axis": axis}


def share_axis(title: str, field: str) -> dict:
    """Return arguments of alt.X or alt.Y for an axis of fractions, 0 to 100 %."""
    return {"shorthand": f"{field}:Q", "title": title, "axis": alt.Axis(format="%"), "scale": alt.Scale(domain=[0, 1])}


def reference(**at: float | None) -> alt.Chart:
    """Return a dashed line at a value, such as reference(y=0.5) or reference(x=100)."""
    ((channel, value),) = at.items()
    return alt.Chart(pd.DataFrame({channel: [value]})).mark_rule(strokeDash=[5, 4], color=RULE).encode(**{channel: f"{channel}:Q"})


def to_spec(chart: Chart) -> dict:
    """Return a chart as Vega-Lite JSON with its data inline."""
    themed = chart.configure(font="system-ui, sans-serif", background="white").configure_axis(
        labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor=_GRID
    )
    themed = themed.configure_legend(labelFontSize=12).configure_view(stroke=None)
    with alt.data_transformers.enable("default", max_rows=None):
        return themed.to_dict()


def can_draw() -> bool:
    """Return whether the package is installed that draws pictures: PDF, SVG and PNG."""
    return find_spec("vl_convert") is not None


def load_drawer(what: str = "a picture (PDF, SVG, PNG)") -> Any:
    """Return the module that draws pictures, vl-convert. what: needs it. Raises InputError if it is not installed."""
    try:
        import vl_convert
    except ImportError:
        raise not_installed(what, "vl-convert-python", "figures") from None
    return vl_convert


def save(chart: Chart, path: Path) -> Path:
    """Write a chart as the .pdf, .svg or .png (at twice the size) that the path names.

    No browser is needed, but the extra figures is. Raises InputError without it.
    """
    drawer, spec, kind = load_drawer(f"picture {path}"), to_spec(chart), path.suffix[1:]
    if kind == "svg":
        content = drawer.vegalite_to_svg(spec).encode()
    else:
        content = drawer.vegalite_to_png(spec, scale=2) if kind == "png" else drawer.vegalite_to_pdf(spec)
    write_aside(path, lambda aside: aside.write_bytes(content))
    return path
