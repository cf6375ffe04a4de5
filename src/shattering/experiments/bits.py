"""The page of `bit_capacity`: capacities in bits of one or several models, for random and for true labels."""

from collections.abc import Mapping
from statistics import fmean, median

import altair as alt
import pandas as pd

from shattering.experiments.bit_capacity import BitCapacity, Labels, gap
from shattering.experiments.experiment import Claim, Column, Result, Table, contains_zero, judge
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
    "It is not measured where the most bits of random labels, too, are at the largest n. "
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
    difference = gap(true, random) if true and random and not random.is_open else None
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
    return [claim for claim in (_gap_claim(capacities), _proportion_claim(capacities)) if claim]


def _gap_claim(capacities: Mapping[str, Mapping[Labels, BitCapacity]]) -> Claim | None:
    """Judge the gaps of models whose capacity for random labels is known; None without any, or without their intervals."""
    known = {title: kinds for title, kinds in capacities.items() if len(kinds) == 2 and not kinds["random"].is_open}
    gaps = {title: found[1] for title, kinds in known.items() if (found := gap(kinds["true"], kinds["random"]))}
    intervals = {title: interval for title, interval in gaps.items() if interval}
    if not known or len(intervals) < len(known):
        return None
    below = [title for title, interval in intervals.items() if interval[1] < 0]
    open_ones = [title for title in below if known[title]["true"].is_open]
    doubts = [f"{title}: {unknown}" for title, interval in intervals.items() if (unknown := contains_zero(interval, "{:,.0f}"))]
    doubts += [f"{title}: the most bits of true labels are at the largest n, and may be more" for title in open_ones]
    return judge(
        "true labels take more room than random ones",
        "Models fit more examples with their true labels than with random ones (Shwartz-Ziv et al. 2024).",
        "the interval of the gap, in bits, is above 0 for every model whose most bits of random labels are below the largest n",
        {title: interval[0] for title, interval in intervals.items()},
        lambda values: min(values.values()) > 0,
        "from {:,.0f}",
        doubts=doubts if len(below) == len(open_ones) else (),
    )


def _proportion_claim(capacities: Mapping[str, Mapping[Labels, BitCapacity]]) -> Claim | None:
    """Judge the MLPs that n does not limit; None for fewer than two. One with the most bits at the largest n may have more."""
    networks = {title: kinds["random"] for title, kinds in capacities.items() if "MLP" in title and "random" in kinds}
    networks = {title: capacity for title, capacity in networks.items() if not capacity.is_full}
    ratios = {title: capacity.bits_per_parameter for title, capacity in networks.items()}
    open_ones = [title for title, capacity in networks.items() if capacity.is_open]
    bounds = [ratio for title, ratio in ratios.items() if title not in open_ones and ratio is not None]
    most = max((ratio for ratio in ratios.values() if ratio is not None), default=0.0)
    is_refuted = bool(bounds) and most >= SAME * min(bounds)  # more bits of those that are open would not help
    claim = judge(
        "capacity is in proportion to the parameters",
        "Capacity grows linearly with the parameters (Morris et al. 2025, on language models: 3.5 to 3.8 bits per parameter).",
        f"bits per parameter differ by less than a factor of {SAME:g} among the MLPs that do not fit the random labels of the largest n",
        ratios,
        lambda values: max(values.values()) < SAME * min(values.values()),
        "{:.2f}",
        doubts=[] if is_refuted else [f"{title} has the most bits at the largest n, and may have more" for title in open_ones],
    )
    return claim if len(networks) > 1 else None


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
