"""One self-contained HTML page from a store: opens offline, needs nothing beside it."""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import vl_convert
from PIL import Image

from shattering import __version__
from shattering.files import write_aside
from shattering.report import figures
from shattering.report.describe import describe
from shattering.report.tables import PIXELS, by_subject, recipe, summary_rows, verdicts
from shattering.runs.store import Run, Stored

CAPTIONS = {
    "loss": "Training loss over steps, averaged over each epoch. A line ends where training stopped. Drawn are true, half "
    "corrupted and random labels and the pixel randomizations; the table has all. Click a legend entry to single it out.",
    "corruption": "Test error at the end of training over the probability of label corruption, where there are several.",
}


def write_report(runs: Sequence[Run], path: Path, title: str = "Randomization tests") -> Path:
    """Write the page of these runs to `path` and return it. Raises OSError if it cannot be written."""
    return write_page(render(runs, title), path)


def write_page(html: str, path: Path) -> Path:
    """Write a page, and the folders above it. Raises OSError if it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda aside: aside.write_text(html))
    return path


def render(runs: Sequence[Run], title: str = "Randomization tests") -> str:
    """The page of these runs as text. All text from runs is escaped."""
    charts = {"loss": figures.loss_curves(runs), "corruption": figures.error_curves(runs)}
    rows = summary_rows(runs)
    context = {"verdicts": verdicts(rows), "groups": by_subject(rows), "strips": picture_strips(runs), "captions": CAPTIONS}
    return render_template("report.html.j2", runs, title, charts, **context)


def render_template(
    name: str,
    runs: Sequence[Stored],
    title: str,
    charts: Mapping[str, figures.Chart | None],
    filters: Mapping[str, Callable] | None = None,
    **context,
) -> str:
    """A page of these runs by a template: its own context, and what all pages have: charts, missing runs, provenance."""
    loader = jinja2.PackageLoader("shattering.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"percent": _percent, "number": _number, "what": _what, **(filters or {})}
    specs = {name: figures.to_spec(chart) for name, chart in charts.items() if chart is not None}
    ours, _, _ = loader.get_source(environment, "page.js")
    scripts = [vl_convert.javascript_bundle(), ours] if specs else [ours]  # type: ignore[call-arg]  # its stub lacks the default
    return environment.get_template(name).render(
        title=title,
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        charts=specs,
        alts={name: describe(spec) for name, spec in specs.items()},
        dark=figures.DARK,
        scripts=scripts,
        policy=_policy(scripts),
        runs=[_line(run) for run in runs],
        missing=[run for run in runs if run.status != "done"],
        machines=_machines(runs),
        **context,
    )


def _policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: no request to anywhere, no eval, and no script but these."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def picture_strips(runs: Sequence[Run]) -> list[dict]:
    """One strip of example images for each dataset and randomization, with the labels that the learner was given."""
    strips: dict[tuple, dict] = {}
    for run in runs:
        picture = run.folder / "examples.png"
        title = run.spec.randomization.title
        key = (run.spec.dataset, title)
        if run.status != "done" or key in strips or not picture.exists():
            continue
        examples = run.result["examples"]
        strips[key] = {
            "dataset": run.result["dataset"],
            "title": title,
            "order": (PIXELS.index(run.spec.randomization.pixels), run.spec.randomization.labels, title),
            "tiles": [{**e, "src": src} for e, src in zip(examples, _tiles(picture, len(examples)), strict=True)],
        }
    return sorted(strips.values(), key=lambda strip: (strip["dataset"], *strip["order"]))


def _tiles(picture: Path, n: int) -> list[str]:
    """The n equal images that lie side by side in a picture, as data URLs."""
    urls = []
    with Image.open(picture) as strip:
        width = strip.width // n
        for i in range(n):
            png = io.BytesIO()
            strip.crop((i * width, 0, (i + 1) * width, strip.height)).save(png, format="PNG")
            urls.append("data:image/png;base64," + base64.b64encode(png.getvalue()).decode())
    return urls


def _what(run: Stored) -> str:
    """What a run or study is, in words."""
    if not isinstance(run, Run):
        return run.spec.title  # type: ignore[attr-defined]
    parts = [run.spec.model_name, run.spec.randomization.title, recipe(run)]
    return ", ".join(part for part in parts if part)


def _line(run: Stored) -> dict:
    return {
        "name": run.folder.name,
        "status": run.status,
        "seed": run.spec.seed,
        "error": run.error,
        "outcome": run.outcome,
        "result": run.result,
        "provenance": run.provenance,
    }


def _machines(runs: Sequence[Stored]) -> list[dict]:
    """The distinct environments of the done runs, with how many ran in each."""
    found: dict[str, dict] = {}
    for run in runs:
        if not run.provenance:
            continue
        p = run.provenance
        key = str(
            [
                p["versions"],
                p["processor"],
                p["cores"],
                p["threads"],
                p["device"],
                p["git_revision"],
                p.get("dataset_fingerprint"),
                run.result.get("data"),
            ]
        )
        entry = found.setdefault(
            key, {"dataset_fingerprint": "", **p, "dataset": run.result.get("dataset") or run.result["data"], "runs": 0}
        )
        entry["runs"] += 1
    return list(found.values())


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
