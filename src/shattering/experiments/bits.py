"""The page of `bit_capacity`: capacities in bits of one or several models, for random and for true labels."""

from collections.abc import Mapping
from statistics import fmean, median

import altair as alt
import pandas as pd

from shattering.experiments.bit_capacity import BitCapacity, Labels, gap
from shattering.experiments.experiment import Claim, Column, Result, Table, judge
from shattering.report.charts import SIZE, Chart, dash, log_axis, names_of, series, spread, whiskers
from shattering.report.style import RULE

TITLE = "Memory in bits: the most that a model carries of its training labels"
SAME = 2.0  # bits per parameter differ by less than this factor: capacity is in proportion to the parameters
COLUMNS = (
    Column("model", "model"),
    Column("random", "bits, random labels", "number"),
    Column("n", "at n", "number"),
    Column("parameters", "learned numbers", "number"),
    Column("ratio", "bits per number"),
    Column("true", "bits, true labels", "number"),
    Column("gap", "gap"),
)
FITS = (
    Column("model", "model"),
    Column("labels", "labels"),
    Column("n", "n", "number"),
    Column("seed", "seed", "number"),
    Column("accuracy", "labels fitted", "percent"),
    Column("bits", "bits", "number"),
    Column("most", "bits of the labels", "number"),
    Column("n_parameters", "learned numbers", "number"),
)
NOTE = (
    "The bits by which the fitted model's predictions shorten the description of its n training labels, at the n where they are most, "
    "on average over the seeds: a lower bound for these hyperparameters. In brackets, 95 % bootstrap intervals over the seeds. ≥: the most "
    "is at the largest n that was tried. Of true labels a part is learned, not memorized; the gap is what they have more than random ones. "
    "It is not measured where the random labels of the largest n are fitted, too. "
    "Learned numbers: see count_learned."
)


def make_result(capacities: Mapping[str, Mapping[Labels, BitCapacity]], name: str = "bits") -> Result:
    """Make a page from the capacities of models, by title and by the kind of labels."""
    everything = [(title, labels, capacity) for title, kinds in capacities.items() for labels, capacity in kinds.items()]
    runs = [run for _, _, capacity in everything for run in capacity.runs]
    size = next((run.result["data"] for run in runs if run.result), "missing")
    fits = [row | {"model": title, "labels": labels} for title, labels, capacity in everything for row in capacity.rows]
    tables = [
        Table(f"Capacity in bits, {size}", COLUMNS, [_row(*each) for each in capacities.items()], NOTE),
        Table("Every fit", FITS, fits),
    ]
    caption = (
        f"Bits of the training labels over their number, {size}; means over seeds, bars: ± one standard deviation. Dashed: true labels. "
        "Grey: all bits of random labels."
    )
    charts = {name: (_chart(fits), caption)} if _means(fits) else {}
    return Result(name, TITLE, "capacity", size, runs, tables, charts, _claims(capacities))


def _row(title: str, kinds: Mapping[Labels, BitCapacity]) -> dict:
    random, true = kinds.get("random"), kinds.get("true")
    difference = gap(true, random) if true and random and not random.is_full else None
    return {
        "model": title,
        "random": random and random.bits,
        "n": median(row["n"] for row in random.best.values()) if random and random.best else None,
        "parameters": fmean(row["n_parameters"] for row in random.best.values())
        if random and random.bits_per_parameter is not None
        else None,
        "ratio": _estimate(random.bits_per_parameter, random.interval_per_parameter, random.is_open, "{:.2g}") if random else None,
        "true": true and true.bits,
        "gap": _estimate(*difference, true.is_open, "{:,.0f}") if difference and true else None,
    }


def _estimate(value: float | None, interval: tuple[float, float] | None, is_open: bool, form: str) -> str | None:
    if value is None:
        return None
    between = f" ({form.format(interval[0])}…{form.format(interval[1])})" if interval else ""
    return f"{'≥ ' if is_open else ''}{form.format(value)}{between}"


def _claims(capacities: Mapping[str, Mapping[Labels, BitCapacity]]) -> list[Claim]:
    both = {title: kinds for title, kinds in capacities.items() if len(kinds) == 2 and not kinds["random"].is_full}
    lows = {
        title: difference[1][0] if (difference := gap(kinds["true"], kinds["random"])) and difference[1] else None
        for title, kinds in both.items()
    }
    networks = {title: kinds["random"].bits_per_parameter for title, kinds in capacities.items() if "MLP" in title and "random" in kinds}
    claims = [
        judge(
            "true labels take more room than random ones",
            "Models fit more examples with their true labels than with random ones (Shwartz-Ziv et al. 2024).",
            "the interval of the gap, in bits, is above 0 for every model that does not fit the random labels of the largest n",
            lows,
            lambda values: min(values.values()) > 0,
            "from {:,.0f}",
        ),
        judge(
            "capacity is in proportion to the parameters",
            "Capacity grows linearly with the parameters (Morris et al. 2025, on language models: 3.5 to 3.8 bits per parameter).",
            f"bits per parameter of the MLPs differ by less than a factor of {SAME:g}",
            networks,
            lambda values: max(values.values()) < SAME * min(values.values()),
            "{:.2f}",
        ),
    ]
    needed = (bool(lows) and None not in lows.values(), len(networks) > 1)
    return [claim for claim, is_needed in zip(claims, needed, strict=True) if is_needed]


def _chart(fits: list[dict]) -> Chart:
    x = alt.X(**log_axis("n", "n", "~s"))
    means = pd.DataFrame(_means(fits))
    lines = (
        alt.Chart(means)
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y(**log_axis("bits of the training labels", "bits", "~s")),
            **series("model", names_of(means["model"]), columns=2),
            strokeDash=dash("labels", "random", "true"),
            tooltip=["model:N", "labels:N", "n:Q", alt.Tooltip("bits:Q", format=",.0f")],
        )
    )
    bars = whiskers(lines, "low", "high")
    most = [{"n": n, "most": bits} for n, bits in sorted({fit["n"]: fit["most"] for fit in fits if fit["labels"] == "random"}.items())]
    if not most:
        return alt.layer(lines, bars).properties(**SIZE)
    bound = alt.Chart(pd.DataFrame(most)).mark_line(color=RULE, strokeWidth=1).encode(x=x, y="most:Q")
    name = alt.Chart(pd.DataFrame([most[-1] | {"name": "all of the bits"}])).mark_text(align="right", dx=-8, dy=-10)
    return alt.layer(lines, bars, bound, name.encode(x=x, y="most:Q", text="name:N")).properties(**SIZE)


def _means(fits: list[dict]) -> list[dict]:
    """Return the mean bits over the seeds for each model, kind of labels and n; those below 1 are left out, as the axis is logarithmic."""
    bits: dict[tuple, list[float]] = {}
    for fit in fits:
        bits.setdefault((fit["model"], fit["labels"], fit["n"]), []).append(fit["bits"])
    means = [
        {"model": model, "labels": labels, "n": n, "bits": fmean(values), **spread(values)} for (model, labels, n), values in bits.items()
    ]
    return [row | {"low": max(row["low"], 1.0)} for row in means if row["bits"] >= 1]
