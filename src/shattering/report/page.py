"""Write stored runs as one self-contained HTML page, which opens offline."""

import base64
import gzip
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import jinja2
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from shattering.errors import InputError, printable, reason
from shattering.parameters import check
from shattering.report import figures
from shattering.report.answer import answer_runs
from shattering.report.charts import Chart, to_spec
from shattering.report.describe import describe
from shattering.report.scores import MOST_PANELS
from shattering.report.style import DARK, SCREEN
from shattering.report.tables import PIXELS, by_subject, subject_title, summary_rows, verdicts
from shattering.runs.reading import damaged, read_bytes
from shattering.runs.store import Runs, found_in
from shattering.runs.stored import Found, Run, Unread, is_of_model
from shattering.system.files import write_aside
from shattering.version import VERSION

SCORES = "Train and test scores of every run."
GUESSES = " Dashed line: chance. Grey band: 95 % of the accuracies of guesses on this test split."
CAPTIONS = {
    "loss": "Training loss over steps, averaged over each epoch. A line ends where training stopped. The chart has true, half "
    "corrupted and random labels and the pixel randomizations; the table has all. Click a legend entry to single it out.",
    "corruption": "Test error at the end of training over the probability of label corruption, for models with several probabilities.",
}


def write_report(runs: Runs, path: str | Path, title: str = "Randomization tests") -> Path:
    """Write the report of runs as one HTML page.

    Args:
        runs: a store, its folder or URL, or runs, done or not; missing ones are named on the page.
        path: of the page.
        title: of the page.

    Returns:
        The path.

    Raises:
        OSError: if the page cannot be written.
        InputError: for the path of a folder, or one below a file; for what are no runs, and a store that does not exist.

    Example:
        >>> path = write_report(test.runs, Path("report.html"))
    """
    check("path", path, Annotated[str | os.PathLike, "the path of a page"])
    check("title", title, str)
    return write_page(render(found_in(runs)[0], title), Path(path))


def write_page(html: str, path: Path) -> Path:
    """Write a page, and the folders above it. Raises OSError if it cannot be written."""
    content = html.encode(errors="backslashreplace")  # names of files need not be text
    write_aside(path, lambda aside: aside.write_bytes(content))
    return path


def render(stored: Sequence[Found], title: str = "Randomization tests") -> str:
    """Return the report of runs as text; studies are listed with their status only. All text from runs is escaped."""
    everything = [entry if isinstance(entry, Unread) else entry.whole() for entry in stored]
    runs = [run for run in everything if is_of_model(run)]
    charts = figures.run_charts(runs)
    rows = summary_rows(runs)
    strips, unseen = picture_strips(runs)
    groups = [{**subject, "title": subject_title(subject)} for subject in by_subject(rows)]
    some = f" The first {MOST_PANELS} of {len(groups)} configurations; the tables have all." if len(groups) > MOST_PANELS else ""
    guesses = GUESSES if any(row["chance"] for row in rows) else ""
    head = answer_runs(rows)._asdict() | {"scores_caption": SCORES + guesses + some, "cautions": ()}
    context = {"verdicts": verdicts(rows), "groups": groups, "strips": strips, "unseen": unseen, "captions": CAPTIONS, **head}
    return render_template("report.html.j2", everything, title, charts, **context)


def render_template(
    name: str,
    runs: Sequence[Found],
    title: str,
    charts: Mapping[str, Chart | None],
    filters: Mapping[str, Callable] | None = None,
    **context,
) -> str:
    """Render a template with its own context, and with what all pages have: charts, missing runs and provenance.

    Args:
        name: of the template.
        runs: that the page is about.
        title: of the page.
        charts: by name; None for a chart without data.
        filters: of the template, by name.
        context: values of the template, by name; with machines, where the runs do not say on which they were trained.
    """
    loader = jinja2.PackageLoader("shattering.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_visible)
    environment.filters |= {"percent": _percent, "number": _number, "what": _what, **(filters or {})}
    specs = {name: to_spec(chart) for name, chart in charts.items() if chart is not None}
    ours, _, _ = loader.get_source(environment, "page.js")
    scripts = [_drawing(), ours] if specs else [ours]
    return environment.get_template(name).render(
        title=title,
        version=VERSION,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        charts=specs,
        alts={name: describe(spec) for name, spec in specs.items()},
        dark=DARK,
        screen=SCREEN,
        scripts=scripts,
        policy=_policy(scripts),
        runs=[_line(run) for run in runs],
        missing=[run for run in runs if run.status != "done"],
        **{"machines": environments(runs), **context},
    )


def _drawing() -> str:
    """Return the scripts that draw charts."""
    return gzip.decompress((Path(__file__).parent / "templates" / "vega.js.gz").read_bytes()).decode()


def _visible(value: object) -> object:
    """Make invisible characters of a text visible, such as marks that reverse the direction of writing; leave our own HTML alone."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(scripts: Sequence[str]) -> str:
    """Return a Content-Security-Policy that allows these scripts, and no requests, no eval and no other script."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def picture_strips(runs: Sequence[Run]) -> tuple[list[dict], list[str]]:
    """Return one strip of example images per dataset and randomization, with the labels that the model was given.

    Also return what is wrong with pictures that cannot be shown, if no other run has the same strip.
    """
    strips: dict[tuple, dict] = {}
    unseen: dict[tuple, str] = {}
    for run in runs:
        title, picture = run.spec.randomization.title, run.folder / "examples.png"
        key = (run.spec.dataset, title)
        if run.status != "done" or key in strips or not run.has(picture.name):
            continue
        examples = run.result["examples"]
        try:
            tiles = _tiles(picture, len(examples))
        except InputError as error:
            unseen[key] = str(error)
            continue
        strips[key] = {
            "dataset": run.result["dataset"],
            "title": title,
            "order": (PIXELS.index(run.spec.randomization.pixels), run.spec.randomization.labels, title),
            "tiles": [{**e, "src": src} for e, src in zip(examples, tiles, strict=True)],
        }
    ordered = sorted(strips.values(), key=lambda strip: (strip["dataset"], *strip["order"]))
    return ordered, [text for key, text in unseen.items() if key not in strips]


def _tiles(picture: Path, n: int) -> list[str]:
    """Return the n images of equal size that lie side by side in a picture, as data URLs.

    Raises:
        InputError: for a file that is no such picture.
    """
    urls = []
    try:
        with Image.open(io.BytesIO(read_bytes(picture)), formats=["PNG"]) as strip:
            if not n or strip.width % n:
                raise damaged(picture, f"it is {strip.width} pixels wide, expected {n} images of one width")
            width = strip.width // n
            for i in range(n):
                png = io.BytesIO()
                strip.crop((i * width, 0, (i + 1) * width, strip.height)).save(png, format="PNG")
                urls.append("data:image/png;base64," + base64.b64encode(png.getvalue()).decode())
    except InputError:
        raise
    except UnidentifiedImageError:
        raise damaged(picture, "it is no PNG") from None
    except Exception as error:  # whatever a decoder raises
        raise damaged(picture, reason(error)) from None
    return urls


def _what(run: Found) -> str:
    """Return what a run or study computes, in words."""
    return "its specification cannot be read" if isinstance(run, Unread) else run.spec.title


def _line(run: Found) -> dict:
    stored = isinstance(run, Run)
    return {
        "name": run.folder.name,
        "status": run.status,
        "seed": run.spec.seed if stored else "–",
        "error": run.error,
        "outcome": run.outcome,
        "result": run.result if stored else {},
        "provenance": run.provenance if stored else {},
    }


def environments(runs: Sequence[Found]) -> list[dict]:
    """Return the distinct environments of the runs that are done, with how many ran in each."""
    machines: dict[str, dict] = {}
    for run in runs:
        if isinstance(run, Unread) or not run.provenance:
            continue
        names = ("versions", "processor", "cores", "threads", "device", "git_revision", "dataset_fingerprint")
        shown = {name: run.provenance.get(name) for name in names}
        shown["dataset"] = run.result.get("dataset") or run.result.get("data")
        entry = machines.setdefault(str(shown), {**shown, "runs": 0})
        entry["runs"] += 1
    return list(machines.values())


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
