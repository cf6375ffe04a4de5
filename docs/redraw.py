"""Redraw every number and picture of the docs from the stored runs: `python docs/redraw.py`."""

import json
import re
from functools import cache
from pathlib import Path

import vl_convert

from shattering import Store
from shattering.compare.answer import AnswerLine, printed
from shattering.compare.table import printed_table
from shattering.experiments import bits, shatter_point
from shattering.experiments.bit_capacity import BitCapacity, Labels
from shattering.experiments.catalogue import NAMES, find_experiments
from shattering.experiments.coverage import coverage, coverage_table
from shattering.experiments.experiment import Result
from shattering.experiments.reproduce import make_result
from shattering.experiments.scales import SCALES
from shattering.experiments.scoreboard import every_result, scoreboard, scores
from shattering.experiments.shatter_point import ShatterPoint
from shattering.experiments.text import table_to_markdown, to_markdown
from shattering.interrogate.answers import Answer
from shattering.interrogate.result import interrogate
from shattering.report import figures
from shattering.report.charts import beside, save, to_spec
from shattering.runs.stored import Run

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
BITS = RESULTS / "bits"  # the store of docs/run_bits.py
INTERROGATION = RESULTS / "interrogation-small.json"  # of `shattering interrogate --scale small`
PAGES = (  # at full scale, what has been run of it
    ("small", find_experiments("all-cifar")),
    ("full", ["table1", "figure1b", "table4"]),
    ("small", find_experiments("all-linear")),
    ("full", ["table3", "table3-conv", "norm"]),
    ("small", find_experiments("all-capacity")),
    ("full", ["theorem1", "corollary1"]),
    ("small", find_experiments("all-texts")),
    ("demo", ["table2", "figure2a"]),
    ("small", ["width-descent"]),
    *([("small", ["survey"])] if INTERROGATION.exists() else []),
)
SHATTER_POINTS = {"MLP 1x4": "mlp-1x4", "MLP 1x16": "mlp-1x16", "MLP 1x64": "mlp-1x64", "random forest": "random-forest"}
MARKS = ("<!-- drawn by docs/redraw.py -->", "<!-- end -->")
INTRODUCTION = """# Results, theirs and ours

Every claim of the papers, with what we measured and a verdict. A row's last cell leads to the page of its experiment, with the figure,
the rule of each verdict, and all tables. Everything is drawn from the stored runs in `results/` by `python docs/redraw.py`; nothing is
typed in.

At the scale *small* (n = 2,000) test accuracies are far from the paper's, as they must be; what can be compared is who fits what, in which
order, and where errors end. A claim that these runs cannot decide, because training ended too early or has too few seeds, is
*inconclusive*. CIFAR-10 (JPEG) is all of CIFAR-10, re-encoded as JPEG with loss. The rows on measures of the survey (CACM 2021,
section 6.1) are questions that the papers ask, with no answer of theirs: there, *does not hold* says that the measure does not tell natural
from random labels with loss and effort held fixed.
"""
COVERAGE = """# What is reproduced

Everything that the papers say in tables, figures and claims: where, with which command we show it, and its state. This page is drawn
from the experiments and the stored runs by `python docs/redraw.py`.

- *verified*: the rule is satisfied by runs at a scale that suffices for it, or a test checks it; of the survey's measures, about which the
  papers only ask, the runs decide it;
- *small n only*: judged by runs that are smaller than the paper's;
- *open*: judged by runs as large as it needs, and inconclusive;
- *not run*: the command exists, and its runs are not stored;
- *missing*: there is no command for it;
- *differs*: ours is otherwise than the papers say.
"""


def demo_picture() -> bytes:
    runs = [run for run in Store(RESULTS).runs() if run.spec.dataset == "digits"]
    charts = [figures.loss_curves(runs), figures.error_curves(runs)]
    spec = to_spec(beside(*(chart for chart in charts if chart is not None)))
    return vl_convert.vegalite_to_png(spec, scale=1.5)


@cache
def experiment_results() -> list[Result]:
    """The experiments at the scales that pages show, from the stored runs."""
    return [make_result(name, SCALES[scale], Store(RESULTS)) for scale, names in PAGES for name in names]


@cache
def page_results() -> list[Result]:
    """All results that have a page."""
    return [*experiment_results(), shatter_points(), *([capacities()] if BITS.is_dir() else [])]


@cache
def page_charts() -> dict[str, tuple[dict, str]]:
    """The charts of the pages, by the names of their pictures: each as Vega-Lite JSON, and its caption."""
    charts = {f"{name}-{result.scale}": chart for result in page_results() for name, chart in result.charts.items()}
    return {name: (to_spec(drawing), caption) for name, (drawing, caption) in charts.items()}


def result_pages() -> dict[str, str]:
    """The pages of results as Markdown, by their paths within docs/: the scoreboard, and one page per experiment, with all its scales."""
    by_name: dict[str, list[Result]] = {}
    for result in page_results():
        by_name.setdefault(result.name, []).append(result)
    pages = {f"results/{name}.md": _page(group) for name, group in by_name.items()}
    return {"results.md": "\n".join([INTRODUCTION, _scoreboard(experiment_results())]), **pages}


def _scoreboard(results: list[Result]) -> str:
    """The claims, each with a link to the section that judges it."""
    found = scores(results)
    table = scoreboard(found)
    lines = ["| claim | ours | verdict | from |", "|---|---|---|---|"]
    for score, row in zip(found, table.rows, strict=True):
        verdict, colon, why = row["verdict"].partition(":")
        link = f"[{row['where']}](results/{score.result.name}.md#scale-{score.result.scale})"
        seeds = f"; {row['seeds']} seed{'s' * (row['seeds'] != '1')}" if score.result.runs else ""  # the survey's page tells its own
        claim = f"**{row['claim']}.** {row['paper']}"
        lines.append(f"| {claim} | {row['ours']} | **{verdict}**{colon}{why} | {link}; {row['size']}{seeds} |")
    return "\n".join(["## Scoreboard", "", f"**{table.title}.** {table.note}", "", *lines, ""])


def coverage_page() -> str:
    """Return the page of what the papers say, with its state, as Markdown."""
    table = coverage_table(coverage(every_result(Store(RESULTS))))
    return f"{COVERAGE}\n**{table.title}.** {table.note}\n\n{table_to_markdown(table)}\n"


def _page(results: list[Result]) -> str:
    """The page of an experiment: a section per scale, the figures first."""
    about = f"`shattering paper {results[0].name}` runs it. All claims are on the [scoreboard](../results.md)."
    if results[0].name not in NAMES:
        about = "[Capacity](../capacity.md) says how it is run."
    sections = []
    for result in results:
        drawn = {name: page_charts()[name] for name in (f"{chart}-{result.scale}" for chart in result.charts)}
        charts = [f"![{spec['description']}](../images/{name}.png)\n\n*{caption}*\n" for name, (spec, caption) in drawn.items()]
        sections.append(to_markdown(result, *charts))
    return "\n".join(["---", "orphan: true", "---", "", f"# {results[0].title}", "", about, "", *sections])


def shatter_points() -> Result:
    """What the stored runs of random labels say of these models."""
    runs = [run for run in Store(RESULTS).runs() if run.spec.dataset == "cifar10" and run.spec.randomization.title == "random labels"]
    found = {title: [run for run in runs if run.spec.model_name == name] for title, name in SHATTER_POINTS.items()}
    return shatter_point.make_result({title: ShatterPoint.of(group, 0.99) for title, group in found.items() if group})


def capacities() -> Result:
    """What the stored fits of docs/run_bits.py say."""
    found: dict[str, dict[Labels, list]] = {}
    for run in Store(BITS).everything():
        if isinstance(run, Run) and run.status == "done":
            hidden = re.search(r"hidden_layer_sizes=\[(\d+)]", run.result["model"])
            title = f"MLP 1x{hidden[1]}" if hidden else "random forest"
            found.setdefault(title, {}).setdefault(run.result["labels"], []).append(run)
    width = {title: int(title.removeprefix("MLP 1x")) if title.startswith("MLP") else 10**6 for title in found}
    ordered = sorted(found, key=lambda title: width[title])
    return bits.make_result({title: {kind: BitCapacity(kind, tuple(runs)) for kind, runs in found[title].items()} for title in ordered})


def answer_section() -> str:
    """The answer that the README prints, from what `--json` wrote of the first test of docs/start.md."""
    test = json.loads((RESULTS / "start.json").read_text())
    title = f"{test['model']} on {test['dataset']}, n = {test['n_train']:,} ({test['n_test']} test)"
    return "\n".join(["```text", title, *printed([AnswerLine(**line) for line in test["answer"]], test["not_shown"]), "```"])


def start_section() -> str:
    """What the first test of docs/start.md prints, from what `--json` wrote of it."""
    test = json.loads((RESULTS / "start.json").read_text())
    text = f"{answer_section().removesuffix('```')}\n{printed_table(test['table'], test['scoring'])}\n```"
    made, versions = test["provenance"], test["provenance"]["versions"]
    where = f"{made['started'][:10]}, {made['processor']}, Python {versions['python']}, scikit-learn {versions['scikit-learn']}"
    return f"{text}\n\n({test['n_test']} test images, seed {test['seed']}; {where}; stored in `results/start.json`.)"


def interrogation_section() -> str:
    """What the stored interrogation of the small population found: verdicts, answers, and the runs that they are of."""
    found = json.loads(INTERROGATION.read_text())
    named: dict[str, list[str]] = {}
    for name, row in found["verdicts"].items():
        named.setdefault(row["verdict"], []).append(name)
    rows = [f"| {verdict} | {len(names)} | {', '.join(f'`{name}`' for name in names)} |" for verdict, names in named.items()]
    answers = [f"- {Answer(**answer)}" for answer in found["answers"]]
    counts = {row["condition"]: row for row in found["counts"]}
    cells, machine = counts["natural"]["cells"], found["machines"][0]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("python", "torch"))
    size = f"{len(found['runs'])} networks on {machine['dataset']}, {cells} cells, {counts['natural']['runs'] // cells} seeds"
    return "\n".join(
        [
            "![How each measure ranks over how it tells](images/interrogation-small.png)\n",
            *("| verdict | measures | which |", "|---|---|---|", *rows, "", *answers, ""),
            f"({size}; {machine['processor']}, {versions}; stored in `results/{INTERROGATION.name}`, the values beside it.)",
        ]
    )


def with_section(page: str, section: str) -> str:
    """The page with this section between its two marks."""
    start, _, rest = page.partition(MARKS[0])
    return f"{start}{MARKS[0]}\n{section}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


def main() -> None:
    for path, section in ((HERE / "start.md", start_section()), (HERE.parent / "README.md", answer_section())):
        path.write_text(with_section(path.read_text(), section))
    if INTERROGATION.exists():
        page = HERE / "interrogate.md"
        page.write_text(with_section(page.read_text(), interrogation_section()))
        leaderboard = interrogate(None, INTERROGATION.with_suffix(".parquet")).leaderboard()
        if leaderboard is not None:
            save(leaderboard, HERE / "images" / "interrogation-small.png")
    (HERE / "images" / "demo.png").write_bytes(demo_picture())
    for name, page in result_pages().items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(page)
    (HERE / "coverage.md").write_text(coverage_page())
    for result in page_results():
        for chart, (drawing, _) in result.charts.items():
            save(drawing, HERE / "images" / f"{chart}-{result.scale}.png")


if __name__ == "__main__":
    main()
