"""Bring a chart to the size of a picture: plots grow and shrink, type does not."""

import re
from collections.abc import Callable
from typing import Any

from shattering.report.style import STYLES, Style

_LEAST, _MOST = 0.15, 6.0  # factors of the size of a plot as it was drawn
_STEPS = 8  # drawings at most
_NEAR = 0.5  # pixels


def sized(spec: dict, style: Style, drawer: Any) -> dict:
    """Bring a chart to the width of a style, and to its height if it has one.

    Without a height, panels come to stand below each other, and plots keep their proportions. A legend that is wider than the picture
    gets fewer columns. A chart that cannot become as narrow as it should stays wider.

    Args:
        spec: Vega-Lite JSON with its data and configuration.
        style: with a width.
        drawer: the module that draws pictures; see `load_drawer`.

    Returns:
        Vega-Lite JSON.
    """
    assert style.width is not None
    whole = spec if style.height else _stacked(spec)
    row = style.label / STYLES["screen"].label
    for columns in (None, 2, 1):
        wide = _solve(lambda f, c=columns: _measure(_scaled(whole, f, f, row, c), drawer)[0], style.width)
        if wide is not None:
            break
    wide, high = wide or _LEAST, wide or _LEAST
    if style.height is not None:
        high = _solve(lambda f: _measure(_scaled(whole, wide, f, f, columns), drawer)[1], style.height) or _LEAST
        row = high
    return _scaled(whole, wide, high, row, columns)


def _solve(measure: Callable[[float], float], goal: float) -> float | None:
    """Return the factor at which a picture has its size, which grows with the factor; None if there is none.

    The secant of the two ends of a bracket is followed, and the bracket is halved where that leads to one of its ends.
    """
    low, high = _LEAST, _MOST
    small, large = measure(low), measure(high)
    if not small <= goal <= large:
        return None
    for _ in range(_STEPS):
        factor = low + (high - low) * (goal - small) / (large - small)
        if min(factor - low, high - factor) < 0.02 * (high - low):
            factor = (low + high) / 2
        now = measure(factor)
        if abs(now - goal) < _NEAR:
            if measure(1.03 * factor) > goal + _NEAR:
                return factor
            low, small = 1.03 * factor, goal  # the plot can grow beside a legend that is as wide as the picture
        elif now < goal:
            low, small = factor, now
        else:
            high, large = factor, now
    return low  # as wide as it can be without being wider than it should


def _measure(spec: dict, drawer: Any) -> tuple[float, float]:
    """Return width and height of a drawn chart in pixels."""
    head = drawer.vegalite_to_svg(spec).partition(">")[0]
    width, height = (float(value) for value in re.findall(r' (?:width|height)="([\d.]+)"', head)[:2])
    return width, height


def _scaled(node: Any, wide: float, high: float, row: float, columns: int | None) -> Any:
    """Scale every plot of a chart. row: the factor of the heights of plots with a name per row. columns: of legends."""
    if isinstance(node, list):
        return [_scaled(part, wide, high, row, columns) for part in node]
    if not isinstance(node, dict):
        return node
    out = {key: value if key in ("datasets", "config") else _scaled(value, wide, high, row, columns) for key, value in node.items()}
    if isinstance(node.get("width"), (int, float)):
        out["width"] = node["width"] * wide
    if isinstance(node.get("height"), (int, float)):
        out["height"] = node["height"] * (row if _has_rows(node) else high)
    if columns is not None and isinstance(node.get("legend"), dict):
        out["legend"] = {**node["legend"], "columns": columns}
    return out


def _has_rows(view: dict) -> bool:
    encoded = view.get("encoding") or next((layer["encoding"] for layer in view.get("layer", ()) if "encoding" in layer), {})
    return encoded.get("y", {}).get("type") == "nominal"


def _stacked(node: Any) -> Any:
    """Place panels below each other."""
    if isinstance(node, list):
        return [_stacked(part) for part in node]
    if not isinstance(node, dict):
        return node
    out = {key: value if key in ("datasets", "config", "encoding") else _stacked(value) for key, value in node.items()}
    if "hconcat" in out:
        out["vconcat"] = out.pop("hconcat")
    if "facet" in out and "columns" in out:
        out["columns"] = 1
    return out
