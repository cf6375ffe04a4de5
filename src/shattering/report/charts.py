"""Build charts by one convention (axes, legends, reference lines), and write them as pictures. Their looks are in `style`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import altair as alt
import pandas as pd

from shattering.errors import InputError, not_installed, printable
from shattering.parameters import Count, check_arguments
from shattering.report.describe import describe
from shattering.report.sizing import sized
from shattering.report.style import DASHES, PAGE, REFERENCE_DASH, RULE, Style, StyleName, config, find_style, looks_of
from shattering.system.files import write_aside

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart

SIZE = {"width": 400, "height": 280}
PICTURES = ("pdf", "svg", "png")
_STROKE = 500  # of a line in a legend: its length squared


def series(
    field: str,
    names: Sequence[str],
    by: Sequence[str] = ("shape",),
    columns: int | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Tell the series of a chart apart by colour and by a second channel, with a legend below the plot.

    Args:
        field: the column with the names of the series.
        names: of the series, in the order of the legend.
        by: the channels beside colour: "shape" for points and lines with points, "strokeDash" for lines without, "fill" for two kinds of
            bars (`mark_bar(filled=False)`), of which the second are hollow.
        columns: of the legend. None: as many as fit.
        title: of the legend.

    Returns:
        Arguments of a chart's `encode`.

    Example:
        >>> sorted(series("labels", ["original", "random"], ["strokeDash"]))
        ['color', 'strokeDash']
    """
    found = looks_of(names)
    options: dict[str, Any] = {"orient": "bottom"} if columns is None else {"orient": "bottom", "columns": columns}
    if "fill" in by:
        options |= {"symbolType": "square"}
    elif "shape" not in by and by:
        options |= {"symbolType": "stroke", "symbolSize": _STROKE}
    colors = [found[name].color for name in names]
    ranges = {"color": colors, "shape": [found[name].marker for name in names], "strokeDash": [found[name].dash for name in names]}
    ranges |= {"fill": [*colors[:1], *([PAGE] * (len(names) - 1))]}
    channels = {"color": alt.Color, "shape": alt.Shape, "strokeDash": alt.StrokeDash, "fill": alt.Fill}
    return {
        channel: channels[channel](
            f"{field}:N", title=title, sort=list(names), legend=alt.Legend(**options), scale=alt.Scale(domain=list(names), range=values)
        )
        for channel, values in ranges.items()
        if channel in ("color", *by)
    }


def some_of(data: pd.DataFrame, lines: Sequence[str], n: Count = 8) -> pd.DataFrame:
    """Return about n rows of each line of a chart, evenly spread: for markers along lines whose dashes tell something else.

    Args:
        data: one row per point of a line, in their order.
        lines: the columns that tell the lines apart.
        n: markers of a line.

    Example:
        >>> some_of(pd.DataFrame({"run": ["a"] * 100, "step": range(100)}), ["run"], 4)["step"].tolist()
        [12, 37, 62, 87]
    """
    check_arguments(some_of, locals(), "n")
    parts = []
    for _, line in data.groupby(list(lines), sort=False):
        step = max(1, len(line) // n)
        parts.append(line.iloc[step // 2 :: step])
    return pd.concat(parts)


def dash(field: str, *names: str) -> alt.StrokeDash:
    """Tell series apart by dashes alone, beside others that have colours. The first is drawn through; training data always are dashed.

    Example:
        >>> dash("split", "test", "train").to_dict()["scale"]["range"]
        [[1, 0], [7, 3]]
    """
    others = iter([DASHES[0], *DASHES[2:]] if "train" in names else DASHES)
    scale = alt.Scale(domain=list(names), range=[DASHES[1] if name == "train" else next(others) for name in names])
    return alt.StrokeDash(f"{field}:N", title=None, scale=scale, legend=alt.Legend(symbolType="stroke", symbolSize=_STROKE))


def names_of(values: Iterable[str]) -> list[str]:
    """List the distinct values of a column, in their order."""
    return list(dict.fromkeys(values))


def log_axis(title: str, field: str, form: str) -> dict:
    """Return arguments of alt.X or alt.Y for a logarithmic axis whose labels do not overlap."""
    axis = alt.Axis(format=form, labelOverlap="greedy", labelSeparation=6)
    return {"shorthand": f"{field}:Q", "title": title, "scale": alt.Scale(type="log"), "axis": axis}


def share_axis(title: str, field: str) -> dict:
    """Return arguments of alt.X or alt.Y for an axis of fractions, 0 to 100 %."""
    return {"shorthand": f"{field}:Q", "title": title, "axis": alt.Axis(format="%"), "scale": alt.Scale(domain=[0, 1])}


def reference(name: str, above: float | None = None, **at: float) -> Chart:
    """Return a dashed line at a value, with its name, such as `reference("chance", y=0.5)`.

    Args:
        name: what the line is.
        above: of an upright line, how far above the plot the name stands, in pixels; None: inside the plot, at its top.
        at: x or y, and the value.

    Example:
        >>> reference("chance", y=0.5).to_dict()["layer"][1]["mark"]["type"]
        'text'
    """
    ((channel, value),) = at.items()
    base = alt.Chart(pd.DataFrame({channel: [value], "name": [name]})).encode(**{channel: f"{channel}:Q"})
    if channel == "y":
        text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-2).encode(x=alt.value(0), text="name:N")
    elif above is None:
        text = base.mark_text(align="left", baseline="top", dx=4).encode(y=alt.value(3), text="name:N")
    else:
        text = base.mark_text(baseline="bottom").encode(y=alt.value(-above), text="name:N")
    return alt.layer(base.mark_rule(strokeDash=REFERENCE_DASH, color=RULE), text)


def whiskers(base: alt.Chart, low: str, high: str, channel: str = "y", color: str | None = None) -> alt.Chart:
    """Return error bars between two columns.

    Args:
        base: the chart whose points get the bars.
        low: column of their lower ends, see `spread`.
        high: column of their upper ends.
        channel: "x" or "y".
        color: None for that of the series; MARK over bars.

    Example:
        >>> data = pd.DataFrame({"n": [1, 2], **{name: [value, value] for name, value in spread([1.0, 2.0, 3.0]).items()}})
        >>> to_spec(alt.layer(whiskers(alt.Chart(data).encode(x="n:Q"), "low", "high")))["layer"][0]["mark"]["type"]
        'rule'
    """
    look: dict[str, Any] = {} if color is None else {"color": color}
    mark = base.mark_rule(**look)
    bars = mark.encode(**{channel: f"{low}:Q", f"{channel}2": f"{high}:Q"}, strokeDash=alt.value([1, 0]))
    bars.encoding["shape"] = alt.Undefined  # a rule has none
    return bars


def beside(*charts: Chart) -> alt.HConcatChart:
    """Place charts beside each other, each with its own legend.

    Example:
        >>> len(beside(test.plot(), test.plot()).hconcat)
        2
    """
    return alt.hconcat(*charts, spacing=40).resolve_scale(color="independent", shape="independent", strokeDash="independent")


def below(charts: Sequence[Chart]) -> Chart:
    """Place charts below each other, with one legend for all."""
    return alt.vconcat(*charts, spacing=30) if len(charts) > 1 else charts[0]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the ends of an error bar: the mean over seeds, less and plus one standard deviation; the mean itself for one seed.

    Example:
        >>> spread([1.0, 2.0, 3.0])
        {'low': 1.0, 'high': 3.0}
    """
    sd = stdev(values) if len(values) > 1 else 0.0
    return {"low": fmean(values) - sd, "high": fmean(values) + sd}


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


def to_spec(chart: Chart, style: StyleName = "screen") -> dict:
    """Return a chart as Vega-Lite JSON with its data inline, in a style; and with its description, for readers who cannot see it.

    Args:
        chart: an Altair chart.
        style: "screen", "paper" (3.25 inches, 8 points) or "slides" (16 : 9, large type). A page has its charts in the first.

    Raises:
        InputError: for an unknown style, and where a picture is needed and the extra figures is not installed.

    Example:
        >>> to_spec(test.plot())["description"].partition(":")[0]
        'accuracy (higher is better)'
    """
    looks = find_style(style)
    with alt.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    spec["config"] = config(looks)
    if "description" not in spec:
        spec["description"] = describe(spec)
    return spec if looks.width is None else sized(spec, looks, load_drawer())


def save(chart: Chart, path: str | Path, style: StyleName = "screen") -> Path:
    """Write a chart as the .pdf, .svg or .png that the path names. No browser is needed, but the extra figures is.

    Args:
        chart: an Altair chart.
        path: of the picture. A PDF has its fonts in it; the fonts of an SVG are those of the reader's machine.
        style: see `to_spec`. A PNG has 300 pixels per inch for "paper", and 144 for the others.

    Returns:
        The path.

    Raises:
        InputError: for an unknown style, a path that ends otherwise, and where a picture is needed and the extra figures is not installed.

    Example:
        >>> from shattering.report.figures import loss_curves
        >>> from shattering import Store
        >>> save(loss_curves(Store("runs").runs()), Path("losses.pdf"), "paper")  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix.lower()[1:] not in PICTURES:
        endings = ", ".join(f".{kind}" for kind in PICTURES)
        raise InputError(f"the picture is {printable(str(path))!r}, expected a name that ends in {endings}")
    return _write(to_spec(chart, style), path, find_style(style))


def save_all(charts: Mapping[str, Chart | None], folder: str | Path, style: StyleName = "screen") -> list[Path]:
    """Write charts as PDF, SVG and PNG.

    Args:
        charts: name of the files → chart; None for a chart without data, which is left out.
        folder: where to write; it is made if it does not exist.
        style: see `to_spec`.

    Returns:
        The paths of the files.

    Raises:
        InputError: for an unknown style, and where a picture is needed and the extra figures is not installed.

    Example:
        >>> save_all({"scores": test.plot()}, Path("figures"), "paper")  # doctest: +SKIP
    """
    looks, files = find_style(style), []
    for name, chart in charts.items():
        if chart is not None:
            spec = to_spec(chart, style)
            files += [_write(spec, Path(folder) / f"{name}.{kind}", looks) for kind in PICTURES]
    return files


def _write(spec: dict, path: Path, looks: Style) -> Path:
    drawer, kind = load_drawer(f"picture {path}"), path.suffix[1:].lower()
    if kind == "svg":
        head, end, body = drawer.vegalite_to_svg(spec).partition(">")
        head = re.sub(r' (width|height)="([\d.]+)"', r' \1="\2pt"', head)  # its pixels are points
        content = f'{head} role="img" aria-label="{escape(spec["description"])}"{end}{body}'.encode()
    elif kind == "png":
        content = drawer.vegalite_to_png(spec, ppi=looks.ppi)
    else:
        content = drawer.vegalite_to_pdf(spec)
    write_aside(path, lambda aside: aside.write_bytes(content))
    return path


class Illustrated:
    """A result that has charts."""

    @property
    def charts(self) -> Mapping[str, Chart | None]:
        """The charts by name; None for a chart without data."""
        raise NotImplementedError

    def save_figures(self, folder: str | Path, style: StyleName = "screen") -> list[Path]:
        """Write the charts as PDF, SVG and PNG.

        Args:
            folder: where to write; it is made if it does not exist.
            style: "screen", "paper" (3.25 inches, 8 points) or "slides" (16 : 9, large type).

        Returns:
            The paths of the files.

        Raises:
            InputError: for an unknown style, and if the package that draws pictures is not installed (the extra "figures").

        Example:
            >>> files = test.save_figures("figures", style="paper")  # doctest: +SKIP
        """
        return save_all(self.charts, Path(folder), style)
