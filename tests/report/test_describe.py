from statistics import fmean

import altair as alt
import pandas as pd

from shattering.report import figures
from shattering.report.charts import to_spec
from shattering.report.describe import describe


def words(chart):
    return describe(to_spec(chart))


def test_curves_are_described_by_the_means_of_where_runs_start_and_end(store):
    text = words(figures.loss_curves(store.runs()))
    assert text.startswith("mlp-1x512, digits, n = 100: training loss (nats) over step, 5 to 15: ")
    for title in {run.spec.randomization.title for run in store.runs()}:
        histories = [run.history["train_loss"] for run in store.runs() if run.spec.randomization.title == title]
        first, last = (fmean(h.iloc[i] for h in histories) for i in (0, -1))
        assert f"{title} from {first:.3g} to {last:.3g}" in text


def test_panels_side_by_side_and_facets_each_have_their_words():
    rows = pd.DataFrame({"x": [1, 2, 1, 2], "y": [0.1, 0.2, 0.3, 0.3], "group": list("aabb"), "panel": list("ppqq")})
    line = alt.Chart(rows).mark_line().encode(x="x:Q", y=alt.Y("y:Q", axis=alt.Axis(format="%")), color="group:N")
    p, q = "y over x, 1 to 2: a from 10.0 % to 20.0 %", "y over x, 1 to 2: b from 30.0 % to 30.0 %"
    assert words(line.facet("panel:N")) == f"p: {p}. q: {q}."
    assert words(line | line.properties(title="again")) == f"{p}; {q.partition(': ')[2]}. again: {p}; {q.partition(': ')[2]}."
    assert words(line + line) == words(line)


def test_bars_are_described_by_their_values_and_missing_values_are_said():
    rows = pd.DataFrame({"value": [0.25, 3.0], "name": ["one", "two"], "kind": ["k", "l"]})
    bars = alt.Chart(rows).mark_bar().encode(x=alt.X("value:Q", title="size"), y="name:N", color="kind:N")
    assert words(bars) == "size: one, k 0.25; two, l 3."
    several = alt.Chart(pd.concat([rows, rows.assign(value=1.25)])).mark_point().encode(x="value:Q", y="name:N", color="kind:N")
    assert words(several) == "value: one, k 0.75; two, l 2.12.", "the mean of several"
    points = alt.Chart(rows.assign(other=[1, None])).mark_point().encode(x="value:Q", y="other:Q", color="kind:N")
    assert words(points) == "other over value, 0.25 to 3: k 1; l without values."


def test_bars_that_stand_are_described_as_those_that_lie():
    rows = pd.DataFrame({"value": [0.25, 3.0, 1.25], "name": ["one", "two", "one"]})
    ticks = alt.Chart(rows, title="untrained").mark_tick().encode(x="name:N", y=alt.Y("value:Q", title="size"), color="name:N")
    assert words(ticks) == "untrained: size: one 0.75; two 3."


def test_of_a_grid_of_cells_the_first_rows_are_described():
    cells = [{"name": f"row {k}", "width": 10**w, "rank": float(w == k % 4)} for k in range(9) for w in range(4)]
    chart = alt.Chart(pd.DataFrame(cells)).mark_rect().encode(x="width:O", y=alt.Y("name:N", title=None), color="rank:Q")
    expected = "rank over width, 1 to 1,000, largest of row 0 at 1; row 1 at 10; row 2 at 100; row 3 at 1,000; row 4 at 1; row 5 at 10; "
    assert words(chart) == expected + "and 3 more rows."
