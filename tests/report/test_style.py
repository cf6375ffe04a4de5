"""The looks of charts: colours that everyone tells apart, a second channel beside colour, and pictures of their sizes."""

import re
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

import altair as alt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shattering import InputError
from shattering.report.charts import beside, dash, reference, save, save_all, series, some_of, spread, to_spec, whiskers
from shattering.report.style import BLUE, COLORS, DARK, DASHES, MARKERS, NOTE, PAGE, RULE, SCREEN, looks_of
from tests.report.channels import untold

DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]  # Machado et al. 2009
LEAST_DIFFERENCE = 10  # CIEDE2000, of two series in one figure
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def linear(color):
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(light):
    x = np.array(TO_XYZ) @ np.clip(light, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def difference(one, other):
    """CIEDE2000, with its names."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    c = (hypot(a1, b1) + hypot(a2, b2)) / 2
    g = (1 - sqrt(c**7 / (c**7 + 25**7))) / 2
    c1, c2 = hypot((1 + g) * a1, b1), hypot((1 + g) * a2, b2)
    h1, h2 = degrees(atan2(b1, (1 + g) * a1)) % 360, degrees(atan2(b2, (1 + g) * a2)) % 360
    dh = (h2 - h1 + 180) % 360 - 180
    h = (h1 + dh / 2) % 360
    c, light = (c1 + c2) / 2, (l1 + l2) / 2
    t = 1 - 0.17 * cos(radians(h - 30)) + 0.24 * cos(radians(2 * h)) + 0.32 * cos(radians(3 * h + 6)) - 0.2 * cos(radians(4 * h - 63))
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * c)
    dhue = 2 * sqrt(c1 * c2) * sin(radians(dh / 2)) / (1 + 0.015 * c * t)
    turn = -2 * sqrt(c**7 / (c**7 + 25**7)) * sin(radians(60 * exp(-(((h - 275) / 25) ** 2))))
    return sqrt(dl**2 + dc**2 + dhue**2 + turn * dc * dhue)


def worst_difference(colors, see):
    """The least difference of two of these colours. see: what the eye makes of linear light."""
    return min(difference(lab(see @ linear(a)), lab(see @ linear(b))) for a, b in combinations(colors, 2))


def contrast(one, other):
    dark, light = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(color)) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_the_colour_difference_is_that_of_the_published_pairs():
    pairs = [((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644)]
    assert [round(difference(one, other), 4) for one, other, _ in pairs] == [known for *_, known in pairs]  # Sharma et al. 2005


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_two_colours_of_series_differ_also_under_deuteranopia(scheme):
    colors = COLORS if scheme == "light" else [DARK[color] for color in COLORS]
    for see in (np.eye(3), np.array(DEUTERANOPIA)):
        assert worst_difference(colors, see) >= LEAST_DIFFERENCE
    page = PAGE if scheme == "light" else DARK[PAGE]
    assert min(contrast(color, page) for color in colors) >= 3


def test_texts_are_legible_on_their_grounds():
    for i in (0, 1):
        page, wash, alarm = (SCREEN[name][i] for name in ("page", "wash", "alarm"))
        assert min(contrast(SCREEN[name][i], ground) for name in ("ink", "soft", "accent", "alert") for ground in (page, wash)) >= 4.5
        assert min(contrast(SCREEN[name][i], alarm) for name in ("ink", "alert")) >= 4.5
        assert min(contrast(SCREEN[name][i], page) for name in ("train", "test")) >= 3
    assert contrast(NOTE, PAGE) >= 4.5
    assert contrast(DARK[NOTE], DARK[PAGE]) >= 4.5
    assert contrast(RULE, PAGE) >= 3


def test_what_occurs_in_several_figures_looks_the_same_and_no_two_series_look_alike():
    two, one = looks_of(["AlexNet", "Inception", "MLP 1x512"]), looks_of(["mlp-1x512", "inception", "alexnet", "new"])
    assert [two[name] for name in ("AlexNet", "Inception", "MLP 1x512")] == [one[name] for name in ("alexnet", "inception", "mlp-1x512")]
    assert (
        looks_of(["20% corrupted labels (flipped)"])["20% corrupted labels (flipped)"] == looks_of(["corrupted labels"])["corrupted labels"]
    )
    many = looks_of(["random labels", "random labels (permuted)", *map(str, range(30))])
    assert (
        len({(look.color, look.marker) for look in many.values()}) == len({(look.color, tuple(look.dash)) for look in many.values()}) == 32
    )
    assert len(COLORS) == len(DASHES) == len(MARKERS)


@pytest.fixture(scope="module")
def chart():
    rows = pd.DataFrame([{"x": x, "y": x * k, **spread([x * k, x * k + 1.0]), "name": name} for x in (1, 2) for k, name in enumerate("ab")])
    base = alt.Chart(rows).encode(x="x:Q", y="y:Q", **series("name", ["a", "b"]))
    return alt.layer(base.mark_line(point=True), whiskers(base, "low", "high"), reference("chance", y=0.5)).properties(
        width=400, height=280
    )


def test_series_have_a_second_channel_error_bars_no_points_and_reference_lines_a_name(chart):
    spec = to_spec(chart)
    line, bars, rule = spec["layer"]
    assert line["encoding"]["shape"]["field"] == line["encoding"]["color"]["field"] == "name"
    assert "shape" not in bars["encoding"]
    assert [row["name"] for row in spec["datasets"][rule["layer"][1].get("data", rule.get("data"))["name"]]] == ["chance"]
    assert spec["config"]["mark"]["color"] == BLUE
    assert spread([2.0]) == {"low": 2.0, "high": 2.0}


def test_a_picture_for_a_paper_is_a_column_wide_with_its_fonts_and_its_words(chart, tmp_path):
    pdf, svg, png = save_all({"one": beside(chart, chart), "none": None}, tmp_path, "paper")
    assert sorted(tmp_path.iterdir()) == sorted([pdf, svg, png])
    assert re.search(rb"/MediaBox \[0 0 23[34](\.\d+)? ", pdf.read_bytes())
    assert b"/FontFile" in pdf.read_bytes()
    text = svg.read_text()
    assert 233 < float(re.search(r' width="([\d.]+)pt"', text)[1]) <= 234.5
    assert 'role="img" aria-label="y over x, 1 to 2: a from 0 to 0; b from 1 to 2.' in text
    assert set(re.findall(r'font-size="([\d.]+)px"', text)) == {"8"}
    with Image.open(png) as picture:
        assert abs(picture.width - 3.25 * 300) <= 3
        assert round(picture.info["dpi"][0]) == 300


def test_a_slide_is_as_wide_as_16_to_its_9_and_a_screen_as_drawn(chart, tmp_path):
    with Image.open(save(chart, tmp_path / "slide.png", "slides")) as slide, Image.open(save(chart, tmp_path / "screen.png")) as screen:
        assert abs(slide.width - 1920) <= 4
        assert abs(slide.height - 1080) <= 4
        assert screen.width < 1000
    with pytest.raises(InputError, match="unknown style 'papper'; did you mean 'paper'"):
        save(chart, tmp_path / "no.png", "papper")
    with pytest.raises(InputError, match=r"the picture is '.*no.jpg', expected a name that ends in .pdf, .svg, .png"):
        save(chart, tmp_path / "no.jpg")
    assert save(chart, tmp_path / "loud.PNG").read_bytes().startswith(b"\x89PNG")


def test_training_data_alone_have_their_dash():
    assert dash("split", "train", "test", "validation").to_dict()["scale"]["range"] == [[7, 3], [1, 0], [3, 3]]


def test_a_chart_with_colours_alone_is_found():
    data = pd.DataFrame({"x": [0, 1], "split": ["a", "b"], "model": ["c", "d"]})
    looks = series("model", ["c", "d"])
    lines = alt.Chart(data).mark_line().encode(x="x:Q", y="x:Q", color=looks["color"], strokeDash=dash("split", "a", "b"))
    markers = alt.Chart(some_of(data, ["split"])).mark_point().encode(x="x:Q", y="x:Q", **looks)
    assert untold(to_spec(lines))[0] == ["model"]
    assert untold(to_spec(alt.layer(lines, markers)))[0] == []


def test_lines_have_at_least_one_marker():
    with pytest.raises(InputError, match="n is 0, expected a whole number of at least 1"):
        some_of(pd.DataFrame({"run": ["a"], "step": [1]}), ["run"], 0)
