"""Redraw every number and picture of the docs from the stored runs: `python docs/redraw.py`."""

from dataclasses import replace
from pathlib import Path

import altair as alt
import vl_convert

from shattering import Store
from shattering.paper.reproduce import find_experiments, make_result
from shattering.paper.scales import SCALES
from shattering.paper.text import table_to_markdown, to_markdown
from shattering.report import figures

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PAGES = (("small", find_experiments("all-cifar")), ("full", ["table1", "table4"]))  # at full scale, what has been run of it
MARKS = ("<!-- drawn by docs/redraw.py -->", "<!-- end -->")
INTRODUCTION = """# Results, theirs and ours

All of this is drawn from the stored runs in `results/` by `python docs/redraw.py`; nothing is typed in. At the scale *small*
(n = 2,000) test accuracies are far from the paper's, as they must be; what can be compared is who fits what, in which
order, and where errors end. CIFAR-10 (JPEG) is all of CIFAR-10, re-encoded as JPEG with loss.
"""


def demo_picture() -> bytes:
    runs = [run for run in Store(RESULTS).runs() if run.spec.dataset == "digits"]
    charts = [figures.loss_curves(runs), figures.error_curves(runs)]
    spec = figures.to_spec(alt.hconcat(*charts, spacing=40).resolve_scale(color="independent"))
    return vl_convert.vegalite_to_png(spec, scale=1.5)


def results_page() -> str:
    """The page of results as Markdown."""
    parts = [INTRODUCTION]
    for scale, names in PAGES:
        for name in names:
            result = make_result(name, SCALES[scale], Store(RESULTS))
            pictures = [f"![{caption}](images/{chart}-{scale}.png)\n\n*{caption}*\n" for chart, (_, caption) in result.charts.items()]
            parts.append(to_markdown(result, *pictures))
    return "\n".join(parts)


def readme_section() -> str:
    """What the README says of the results: the rows of table 1 run in full, and the verdicts on the claims."""
    store = Store(RESULTS)
    (table,) = make_result("table1", SCALES["full"], store).tables
    done = replace(table, rows=[row for row in table.rows if row["verdict"] != "missing"])
    lines = [f"Table 1 in full, the rows run so far. {table.title}.", "", table_to_markdown(done), "", table.note, ""]
    results = [make_result(name, SCALES["small"], store) for name in find_experiments("all-cifar")]
    lines += [
        f"The papers' claims, each judged by a rule on runs with {results[0].size}:",
        "",
        "| claim | found | verdict |",
        "|---|---|---|",
    ]
    lines += [f"| {claim.name} | {claim.evidence} | **{claim.verdict}** |" for result in results for claim in result.claims]
    return "\n".join(lines)


def with_section(readme: str) -> str:
    """The README with this section between its two marks."""
    start, _, rest = readme.partition(MARKS[0])
    return f"{start}{MARKS[0]}\n{readme_section()}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


def main() -> None:
    readme = HERE.parent / "README.md"
    readme.write_text(with_section(readme.read_text()))
    (HERE / "images" / "demo.png").write_bytes(demo_picture())
    (HERE / "results.md").write_text(results_page())
    for scale, names in PAGES:
        for name in names:
            for chart, (drawing, _) in make_result(name, SCALES[scale], Store(RESULTS)).charts.items():
                figures.save(drawing, HERE / "images" / f"{chart}-{scale}.png")


if __name__ == "__main__":
    main()
