"""The pages as a browser shows them: quiet, alone, drawn, within reach of the keyboard, legible in light, dark and print."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from shattering import Store, randomization_test, run, write_report
from shattering.experiments import reproduce
from shattering.report.style import DARK
from tests.experiments.conftest import TINY, quick

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here to show the pages with")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDE = {"width": 1280, "height": 900}
TEXT, MARK = 4.5, 3.0  # the least contrasts of WCAG 2.2, level AA


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here to drive a browser with")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["report", "figure1a", "test"])
def path(request, store, tmp_path_factory):
    """A page of real runs: the report, that of a figure of the paper, or that of a randomization test."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "test":
        hyperparameters = {"epochs": 12, "batch_size": 20, "learning_rate": 0.1}
        randomization_test("mlp-1x64", "digits", n_permutations=2, n_train=200, n_test=100, hyperparameters=hyperparameters).to_html(
            folder / "test.html"
        )
        return folder / "test.html"
    if request.param == "report":
        return write_report(store.runs(), folder / "report.html")
    tiny = Store(folder / "store")
    for spec in quick(reproduce.experiment_specs([request.param], TINY)):
        run(spec, tiny)
    return reproduce.write_result(reproduce.make_result(request.param, TINY, tiny), folder)[0]


def open_page(context, path):
    """The page, drawn; and what will be heard of it: messages, errors, requests for anything but itself."""
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("data:", path.as_uri())) or heard.append(request.url))
    page.goto(path.as_uri())
    for figure in page.locator(".chart").all():
        figure.locator(".save button").last.wait_for(state="attached")
    return page, heard


@pytest.fixture(scope="module")
def opened(browser, path):
    """The page, drawn once for all tests, and what was heard of it."""
    with browser.new_context(viewport=WIDE, color_scheme="light") as context:
        yield open_page(context, path)


@pytest.fixture
def page(opened):
    """The page, drawn, in light colours; a test leaves it as it was. It fails if anything was heard of the page."""
    page, heard = opened
    yield page
    page.emulate_media(color_scheme="light", media="screen")
    page.set_viewport_size(WIDE)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = false; }); document.activeElement.blur()")
    assert heard == []


def luminance(color):
    """The relative luminance of a CSS color, by WCAG."""
    parts = [int(c) / 255 for c in re.findall(r"[\d.]+", color)[:3]]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


COLOURS = """() => {
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [], marks = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    texts.push([walker.currentNode.data.trim(), element instanceof SVGElement ? style.fill : style.color, ground(element)]);
  }
  for (const mark of document.querySelectorAll(".role-mark > *, .series path, .bar i")) {
    const { stroke, fill, backgroundColor } = getComputedStyle(mark);
    const colour = mark.localName === "i" ? backgroundColor : stroke === "none" ? fill : stroke;
    if (colour !== "none") marks.push([mark.outerHTML.slice(0, 80), colour, ground(mark.parentElement)]);
  }
  return { texts, marks, page: getComputedStyle(document.body).backgroundColor };
}"""


OPEN = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"


def assert_legible(colours):
    assert len(colours["texts"]) > 50
    assert len(colours["marks"]) > 5
    assert [t for t in colours["texts"] if contrast(*t[1:]) < TEXT] == []
    assert [m for m in colours["marks"] if contrast(*m[1:]) < MARK] == []


def test_colours_are_legible_in_light_in_dark_and_in_print(page):
    page.evaluate(OPEN)
    light = page.evaluate(COLOURS)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(COLOURS)
    page.emulate_media(color_scheme="dark", media="print")
    printed = page.evaluate(COLOURS)
    for colours in (light, dark, printed):
        assert_legible(colours)
    assert luminance(light["page"]) == luminance(printed["page"]) == 1
    assert luminance(dark["page"]) < 0.02
    assert {ground for _, _, ground in light["marks"]}.isdisjoint(ground for _, _, ground in dark["marks"])
    assert [m[1] for m in light["marks"]] == [m[1] for m in printed["marks"]]
    assert {m[1] for m in light["marks"]}.isdisjoint(m[1] for m in dark["marks"]), "no colour of a chart was forgotten"


def test_every_figure_is_drawn_and_everything_has_a_name(page, path):
    page.evaluate(OPEN)
    assert path.stat().st_size < 6e6
    figures = page.locator(".chart").all()
    assert figures
    for figure in figures:
        assert figure.locator("svg :is(.mark-line, .mark-symbol) path").count() > 0
        alt = figure.locator(".drawing").get_attribute("aria-label")
        assert re.search(r"[a-z ()]+ over [a-z ]+, .+ to .+: .+ from [\d.]+ .*to [\d.]+|[a-z ()]+: (.+ [\d.]+ %; ){5}", alt)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => +h.localName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("html").get_attribute("lang") == "en"
    unnamed = "table:not([aria-label]), .scroll:not([role=region][aria-label][tabindex='0']), img:not([alt]), img[alt='']"
    assert page.locator(unnamed).count() == 0
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == 400, "only tables scroll sideways"


FOCUS = """() => {
  const e = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(e);
  return e === document.body ? null : [[...document.querySelectorAll("*")].indexOf(e), outlineStyle, parseFloat(outlineWidth)];
}"""
REACHABLE = """() => [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
  .filter((e) => e.checkVisibility()).map((e) => [...document.querySelectorAll("*")].indexOf(e))"""


def test_the_keyboard_reaches_everything_and_singles_out_series(page):
    page.evaluate(OPEN)
    reachable = page.evaluate(REACHABLE)
    reached = []
    for _ in reachable:
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUS))
    assert [index for index, _, _ in reached] == reachable
    assert all(style == "solid" and width >= 2 for _, style, width in reached)
    figure = page.locator(".chart", has=page.locator(".series button")).first
    buttons, lines = figure.locator(".series button"), figure.locator(".drawing .mark-line path")
    opacities = lambda: [float(line.get_attribute("opacity") or 1) for line in lines.all()]  # noqa: E731
    buttons.nth(1).focus()
    page.keyboard.press("Space")
    figure.locator(".drawing path[opacity='0.12']").first.wait_for(state="attached")
    assert [b.get_attribute("aria-pressed") for b in buttons.all()].index("true") == 1
    assert 0 < opacities().count(1) < len(opacities())
    page.keyboard.press("Space")
    page.locator("button[aria-pressed=true]").wait_for(state="detached")
    assert set(opacities()) == {1}


def test_printing_opens_what_is_folded_but_the_list_of_all_runs(page):
    assert page.locator("details[open]").count() == 0
    page.evaluate("addEventListener('beforeprint', () => { window.open_in_print = document.querySelectorAll('details[open]').length; })")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("window.open_in_print") == page.locator("details:not(.unprinted)").count() > 0
    assert page.locator("details[open]").count() == 0
    page.evaluate(OPEN)
    runs = page.locator("details", has=page.locator("[aria-label='All runs']")).last
    assert runs.is_visible()
    page.emulate_media(media="print")
    assert not runs.is_visible()


SIZES = """() => [...document.querySelectorAll(".wide svg")].map((svg) => {
  const names = [...svg.querySelectorAll(".role-axis-label text")].map((text) => text.getBoundingClientRect().height);
  return [+svg.getAttribute("width"), svg.getBoundingClientRect().width, Math.min(...names)];
})"""


def test_the_plot_at_the_head_is_as_wide_as_the_page_and_its_type_keeps_its_size(page, path):
    if path.stem not in ("report", "test"):  # the page of an experiment has no such head
        assert page.locator(".wide").count() == 0
        return
    heights = []
    for width, room in ((1280, 972), (390, 358)):
        page.set_viewport_size({"width": width, "height": 900})
        page.locator(f".wide[data-drawn='{room}']").wait_for()
        ((drawn, shown, height),) = page.evaluate(SIZES)
        assert drawn == pytest.approx(shown, abs=1), "it is not scaled"
        assert drawn == pytest.approx(room, abs=1)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        heights.append(height)
    assert heights[0] == pytest.approx(heights[1], rel=0.01)
    before = "node.compareDocumentPosition(document.querySelector('%s')) & Node.DOCUMENT_POSITION_FOLLOWING"
    order = [".cards", ".wide", ".conclusion", "details"]
    for one, then in pairwise(order):
        assert page.locator(one).first.evaluate(f"(node) => {before % then}")


def test_saved_is_the_light_chart_with_its_legend(page):
    page.emulate_media(color_scheme="dark")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save SVG").first.press("Enter")
    svg = download.value.path().read_text()
    assert download.value.suggested_filename.endswith(".svg")
    assert "role-legend" in svg
    assert "random labels" in svg
    assert not any(f'"{colour}"' in svg for colour in DARK.values())


def test_the_policy_forbids_requests_and_foreign_scripts(opened, path):
    """The last test of a page, for which it is heard of."""
    page, heard = opened
    page.evaluate("document.addEventListener('securitypolicyviolation', (e) => (window.blocked ??= []).push(e.effectiveDirective))")
    page.evaluate("""() => {
      new Image().src = "https://example.invalid/x.png";
      document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }));
      return fetch("https://example.invalid").catch(() => null);
    }""")
    page.wait_for_function("window.blocked?.length === 3")
    assert sorted(page.evaluate("window.blocked")) == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None
    assert heard, "it can be heard"
    assert "unsafe-eval" not in path.read_text().partition("<title>")[0]


def test_the_script_of_the_docs_names_landmarks_and_lists(browser):
    script = (Path(__file__).parents[2] / "docs" / "_static" / "accessible.js").read_text()
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(
            f"<script>{script}</script><aside class='sidebar-drawer'></aside><aside class='toc-drawer'></aside>"
            "<dl><dt>f(<dl><dd>x</dd></dl>)</dt><dd>text</dd></dl><div class='highlight'><pre>code</pre></div>"
        )
        assert page.locator("dl[role=presentation]").count() == page.locator("dt > dl").count() == 1
        assert [page.locator("aside").nth(i).get_attribute("aria-label") for i in (0, 1)] == ["Pages", "On this page"]
        assert page.locator("pre").get_attribute("tabindex") == "0"
