"""Redraw every number and picture of the docs from the stored runs: `python docs/redraw.py`."""

from pathlib import Path

import altair as alt
import vl_convert

from shattering import Store
from shattering.paper.reproduce import EXPERIMENTS, make_result
from shattering.paper.scales import SCALES
from shattering.paper.text import to_markdown
from shattering.report import figures

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PAGES = (("small", list(EXPERIMENTS)), ("full", ["table1", "table4"]))  # at full scale, what has been run of it
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


def main() -> None:
    (HERE / "images" / "demo.png").write_bytes(demo_picture())
    (HERE / "results.md").write_text(results_page())
    for scale, names in PAGES:
        for name in names:
            for chart, (drawing, _) in make_result(name, SCALES[scale], Store(RESULTS)).charts.items():
                figures.save(drawing, HERE / "images" / f"{chart}-{scale}.png")


if __name__ == "__main__":
    main()
