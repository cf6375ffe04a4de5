"""Describe charts in words, for readers who cannot see them."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

_ROWS = 6  # of a grid of cells that are described


def describe(spec: dict) -> str:
    """Describe a Vega-Lite chart with its data inline: its axes, and where each series starts and ends; or the mean per name.

    Of a grid of coloured cells it says where the first rows are largest.

    Only the first layer is described. A series of several runs is described by the means of their starts and ends.
    """
    return " ".join(_panel(view, rows) for view, rows in _views(spec, spec["datasets"], spec.get("data")))


def _views(view: dict, datasets: dict, data: dict | None) -> Iterator[tuple[dict, pd.DataFrame]]:
    """Yield the single plots of a chart, each with its rows; a panel of facets has its title."""
    data = view.get("data", data)
    if "facet" in view:
        assert data is not None
        for name, rows in pd.DataFrame(datasets[data["name"]]).groupby(view["facet"]["field"], sort=False):
            yield {**_first_layer(view["spec"]), "title": name}, rows
    elif parts := view.get("hconcat") or view.get("vconcat"):
        for part in parts:
            yield from _views(part, datasets, data)
    else:
        layer = _first_layer(view)
        yield layer, pd.DataFrame(datasets[layer.get("data", data)["name"]])


def _first_layer(view: dict) -> dict:
    """Return a plot, or its first layer with the properties that all layers share."""
    if "layer" not in view:
        return view
    shared = {key: value for key, value in view.items() if key in ("data", "title")}
    return {**shared, **_first_layer(view["layer"][0])}


def _panel(view: dict, rows: pd.DataFrame) -> str:
    x, y, color = (view["encoding"].get(name) for name in ("x", "y", "color"))
    title = f"{view['title']}: " if view.get("title") else ""
    if view["mark"]["type"] == "rect" and color and is_numeric_dtype(rows[x["field"]]):
        return f"{title}{_cells(rows, x, y, color)}"
    if x["type"] == "nominal":  # bars or strips that stand: described as those that lie
        x, y = y, x
    if y["type"] == "nominal":
        names = [channel["field"] for channel in (y, color) if channel]
        groups = rows.groupby(list(dict.fromkeys(names)), sort=False, as_index=False)
        means = groups.agg({x["field"]: "mean"}).to_dict("records")  # type: ignore[call-overload]  # pandas' stub lacks this form
        values = [f"{_name(row, y, color)} {_form(row[x['field']], x)}" for row in means]
        return f"{title}{_title(x)}: {'; '.join(values)}."
    fields = _series_fields(view)
    series = {_together(name): own for name, own in rows.groupby(fields, sort=False)} if fields else {"": rows}
    courses = "; ".join(f"{name} {_course(group, x['field'], y, _detail(view))}".strip() for name, group in series.items())
    start, end = (_form(value, x) for value in rows[x["field"]].agg(["min", "max"]))
    return f"{title}{_title(y)} over {_title(x)}, {start} to {end}: {courses}."


def _cells(rows: pd.DataFrame, x: dict, y: dict, color: dict) -> str:
    """Say of a grid of cells where its first rows are largest."""
    largest = rows.loc[rows.groupby(y["field"], sort=False)[color["field"]].idxmax()]
    start, end = (f"{value:,}" for value in rows[x["field"]].agg(["min", "max"]))
    shown = [f"{name} at {where:,}" for name, where in zip(largest[y["field"]], largest[x["field"]], strict=True)][:_ROWS]
    more = f"; and {len(largest) - _ROWS} more rows" if len(largest) > _ROWS else ""
    return f"{_title(color)} over {_title(x)}, {start} to {end}, largest of {'; '.join(shown)}{more}."


def _course(rows: pd.DataFrame, x: str, y: dict, detail: list[str]) -> str:
    """Say where a series starts and ends."""
    rows = rows.dropna(subset=[x, y["field"]]).sort_values(x, kind="stable")
    if rows.empty:
        return "without values"
    ends = [(run[y["field"]].iloc[0], run[y["field"]].iloc[-1]) for _, run in (rows.groupby(detail) if detail else [("", rows)])]
    first, last = (_form(sum(values) / len(ends), y) for values in zip(*ends, strict=True))
    return f"from {first} to {last}" if len(rows) > len(ends) else first


def _together(names: Any) -> str:
    return ", ".join(map(str, names))


def _series_fields(view: dict) -> list[str]:
    """Return the columns that tell the series apart: by colour, dash and marker."""
    channels = [view["encoding"].get(name) for name in ("color", "strokeDash", "shape")]
    return list(dict.fromkeys(channel["field"] for channel in channels if channel and channel.get("type") == "nominal"))


def _detail(view: dict) -> list[str]:
    detail = view["encoding"].get("detail", [])
    return [channel["field"] for channel in (detail if isinstance(detail, list) else [detail])]


def _name(row: dict, *channels: dict | None) -> str:
    return ", ".join(str(row[field]) for field in dict.fromkeys(channel["field"] for channel in channels if channel))


def _title(channel: dict) -> str:
    return channel.get("title") or channel["field"].replace("_", " ")


def _form(value: float, channel: dict) -> str:
    percent = (channel.get("axis") or {}).get("format", "").endswith("%")
    return f"{100 * value:.1f} %" if percent else f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"
