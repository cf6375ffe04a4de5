"""The looks of every chart: colours, dashes, markers, type and sizes. No other module sets them.

The colours are those of Okabe and Ito (2008), whose hues readers with a colour vision deficiency tell apart. On a dark screen they are
theirs, but for black and a lighter blue; on white they are darker, so that each has a contrast of at least 3 with the page. Every series
also has a dash or a marker of its own, and what occurs in several figures looks the same in all of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shattering.parameters import check

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = "#00598d", "#ac4b01", "#0d8d67", "#c58700", "#bd6898", "#339acd", "#222222"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
DASHES = ([1, 0], [7, 3], [3, 3], [10, 3, 3, 3], [5, 2], [10, 3, 2, 3, 2, 3], [2, 3])  # lengths of lines and gaps, in pixels
MARKERS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
MARK, RULE, NOTE, GRID, PAGE = "#222", "#666", "#555", "#e8e8e8", "#ffffff"  # intervals over bars, reference lines, texts beside them
PALE = "#eef3f8"  # the low end of a scale of shades; its high end is BLUE
REFERENCE_DASH = [5, 4]
DARK = {  # each colour of a chart → the one that a page shows on a dark screen
    PAGE: "#14181d",
    "#000": "#e8edf2",
    MARK: "#fff",
    NOTE: "#a9b4c0",
    RULE: "#9aa5b1",
    "#888": "#8b96a2",
    GRID: "#333b44",
    BLUE: "#2e84c5",
    VERMILION: "#d55e00",
    GREEN: "#009e73",
    ORANGE: "#e69f00",
    PURPLE: "#cc79a7",
    SKY: "#56b4e9",
    BLACK: "#e8edf2",
}

SCREEN = {  # colours of a page's texts and surfaces, by the names that its style sheet has for them: in light, and on a dark screen
    "page": (PAGE, DARK[PAGE]),
    "ink": ("#1b1f24", DARK["#000"]),
    "soft": ("#57606a", DARK[NOTE]),
    "line": ("#d8dee4", "#3a424c"),
    "wash": ("#f6f8fa", "#1e242b"),
    "accent": (BLUE, DARK[SKY]),
    "alert": ("#a34400", "#ff9d66"),
    "alarm": ("#fdf0e7", "#3a2216"),
    "train": (ORANGE, DARK[ORANGE]),
    "test": (BLUE, DARK[BLUE]),
}


class Look(NamedTuple):
    """The look of one series of a chart: its colour, the lengths of its dashes and gaps, and the shape of its points."""

    color: str
    dash: list[int]
    marker: str


def _look(i: int) -> Look:
    """Return the i-th look; after the last colour they begin again with other dashes and markers."""
    n = len(COLORS)
    return Look(COLORS[i % n], DASHES[(i + i // n) % n], MARKERS[(i + i // n) % n])


_NAMES = (  # names of one look, in the order of the colours; those that occur in one figure stand in different rows
    (
        "original",
        "original data",
        "original labels",
        "clean label",
        "inception",
        "with batchnorm",
        "without ridge",
        "mlp 1x4",
        "test",
        "test error",
    ),
    ("random", "random labels", "corrupted label, memorized", "alexnet", "with ridge", "mlp 1x8"),
    ("shuffled pixels", "destroyed pixels", "corrupted label, predicted as the true class", "mlp 1x512", "mlp 1x16"),
    (
        "corrupted labels",
        "part of the labels random",
        "random, few images",
        "w/o batchnorm",
        "inception w/o batchnorm",
        "mlp 1x32",
        "train",
        "train error",
    ),
    ("random pixels", "random labels, fewer examples", "mlp 3x512", "mlp 1x64"),
    ("gaussian pixels", "original labels, equal steps", "random forest"),
    ("pixels permuted within class", "random labels, shatter point"),
)
_LOOKS = {name: _look(i) for i, names in enumerate(_NAMES) for name in names}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Give every series of a figure a look of its own; one that occurs in other figures gets the look that it has there.

    Args:
        names: of the series, in the order of the legend. What stands in parentheses, and the case, are not looked at.

    Returns:
        name → look.

    Example:
        >>> looks = looks_of(["mlp-1x512", "AlexNet", "new"])
        >>> looks["AlexNet"].color, looks["new"].marker
        ('#ac4b01', 'circle')
    """
    names = list(dict.fromkeys(names))
    found: dict[str, Look] = {}
    for name in names:
        look = _LOOKS.get(_key(name))
        if look and look not in found.values():
            found[name] = look
    free = (look for look in map(_look, range(len(names) + len(COLORS))) if look not in found.values())
    return {name: found.get(name) or next(free) for name in names}


def _key(name: str) -> str:
    """Return the name that the looks are known by: "20% corrupted labels (flipped)" is one of corrupted labels."""
    key = name.lower().partition(" (")[0].replace("-no-bn", " w/o batchnorm").replace("-", " ")
    return re.sub(r"^0% corrupted labels$", "original", re.sub(r"^[1-9]\d*% ", "", key))


StyleName = Literal["screen", "paper", "slides"]


@dataclass(frozen=True)
class Style:
    """Sizes of a picture in a file. A pixel of a chart is 1/72 inch: sizes of type are points.

    Args:
        width: of the whole picture, in pixels; None: as the chart was drawn.
        height: of the whole picture, in pixels; None: as the chart was drawn, in proportion.
        label: size of the type.
        title: size of the type of titles.
        line: width of lines.
        point: area of markers.
        ppi: pixels of a PNG per inch.
        font: family of the type.
    """

    width: float | None
    height: float | None
    label: float
    title: float
    line: float
    point: float
    ppi: int
    font: str


_FONTS = "Liberation Sans, Arial, Helvetica, sans-serif"  # of equal widths
STYLES: dict[StyleName, Style] = {
    "screen": Style(None, None, 12, 13, 2, 60, 144, "system-ui, sans-serif"),
    "paper": Style(3.25 * 72, None, 8, 8, 1.1, 18, 300, _FONTS),  # a column of a two-column page
    "slides": Style(960, 540, 22, 24, 3.5, 170, 144, _FONTS),  # 16 : 9
}


def find_style(name: StyleName) -> Style:
    """Return a style by its name. Raises InputError for an unknown one.

    Example:
        >>> find_style("paper").width / 72, find_style("paper").label
        (3.25, 8)
    """
    check("style", name, StyleName)
    return STYLES[name]


def config(style: Style) -> dict:
    """Return the Vega-Lite configuration of a style: type, lines, markers and axes of every chart."""
    text = {"labelFontSize": style.label, "titleFontSize": style.title, "titleFontWeight": "normal"}
    return {
        "font": style.font,
        "background": PAGE,
        "view": {"stroke": None},
        "axis": {**text, "gridColor": GRID, "labelFlush": False, "labelOverlap": "parity", "labelSeparation": style.label / 3},
        "legend": {
            **text,
            "orient": "bottom",
            "labelLimit": 0,
            "symbolSize": 2 * style.point,
            "symbolOpacity": 1,
            "symbolStrokeWidth": style.line,
            "columnPadding": style.label,
            "layout": {"bottom": {"direction": "vertical" if style.width and not style.height else "horizontal"}},
        },
        "mark": {"color": BLUE},
        "header": {"labelFontSize": style.title, "labelFontWeight": "bold", "title": None},
        "title": {"fontSize": style.title},
        "line": {"strokeWidth": style.line},
        "rule": {"strokeWidth": 0.75 * style.line},
        "point": {"size": style.point, "filled": True, "opacity": 1, "strokeWidth": 0.8 * style.line},
        "text": {"fontSize": style.label, "color": NOTE},
        "tick": {"thickness": style.line},
    }
