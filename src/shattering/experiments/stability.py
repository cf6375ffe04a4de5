"""Section 2.2: uniform stability does not look at the labels.

A model is uniformly stable with constant b (Bousquet and Elisseeff, 2002) if, for all training sets S, all S' that differ
from S in one example, and all z, |loss(A(S), z) - loss(A(S'), z)| <= b. The supremum runs over all labels too: the notion
does not depend on which labels the data have. With the 0-1 loss, a single change shows b = 1. It is measured by replacing
one training example at a time.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.base import BaseEstimator, clone

from shattering import seeds
from shattering.brief import Brief
from shattering.data.lazy import ImagesOnDisk
from shattering.data.load import load_dataset
from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.errors import InputError
from shattering.experiments import rademacher
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, contains_zero, judge
from shattering.experiments.rademacher_complexity import check_is_estimator
from shattering.experiments.scales import CapacityScale, Scale
from shattering.learners import build_model
from shattering.learners.on_splits import fit_split, predict_split
from shattering.parameters import Count, Share, check_arguments
from shattering.randomization import Randomization, randomize
from shattering.report.charts import SIZE, Chart, series, share_axis, whiskers
from shattering.report.style import MARK
from shattering.runs.objects import with_seed
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.stats import difference_interval, mean_interval

TITLE = "Section 2.2: uniform stability, on original and on random labels"
PLACE = ("ICLR 2.2", "small")
LABELS = {"original labels": 0.0, "random labels": 1.0}  # kind → label corruption
COLUMNS = (
    Column("model", "model"),
    Column("labels", "labels"),
    Column("uniform", "uniform stability at least", "number"),
    Column("own", "own loss changes %", "percent"),
    Column("own_interval", "95 %"),
    Column("changed", "test losses changed %", "percent"),
    Column("changed_interval", "95 %"),
    Column("replaced", "examples replaced", "number"),
)
NOTE = (
    "The model is trained again with one example replaced; 0-1 loss. The constant of uniform stability is a supremum over all training "
    "sets, labels included: a change seen on random labels bounds it for original ones too, and a single change makes it 1. For a model "
    "that interpolates, the loss at the replaced example itself changes if the model is wrong there without having seen it."
)


@dataclass(frozen=True, repr=False)
class Stability(Brief):
    """The changes of the losses when one training example is replaced, one entry per replaced example. The loss is 0-1.

    Args:
        replaced: positions of the replaced examples in the training set.
        changed: the share of test examples whose loss changes, in 0…1.
        own: True if the loss at the replaced example itself changes. For a model that interpolates, it then is wrong there
            without having seen it.
        labels_fitted: the share of the training labels, in 0…1, that the model fits before any is replaced: 1 if it interpolates.

    Example:
        >>> Stability(replaced=(3, 8), changed=(0.0, 0.02), own=(True, False)).mean_own
        0.5
    """

    replaced: tuple[int, ...]
    changed: tuple[float, ...]
    own: tuple[bool, ...]
    labels_fitted: float | None = None

    @property
    def uniform(self) -> float:
        """A lower bound on the constant of uniform stability: the largest change of a loss that was seen, 0 or 1."""
        return float(any(self.own) or any(share > 0 for share in self.changed))

    @property
    def mean_changed(self) -> float:
        """The mean share of test examples whose loss changes."""
        return float(np.mean(self.changed))

    @property
    def changed_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `mean_changed`, by Student's t over the replaced examples; None for a single one."""
        return mean_interval(self.changed, 0.0, 1.0)

    @property
    def mean_own(self) -> float:
        """The share of replaced examples at which the loss itself changes."""
        return float(np.mean(self.own))

    @property
    def own_interval(self) -> tuple[float, float]:
        """The 95 % interval of `mean_own`, Wilson's."""
        interval = stats.binomtest(sum(self.own), len(self.own)).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)


def replace_one(
    model: BaseEstimator,
    train: Split,
    fresh: Split,
    test: Split,
    n_replaced: Count = 20,
    seed: int = 0,
    on_fit: Callable[[int], None] | None = None,
) -> Stability:
    """Train a model again with one training example replaced by a fresh one, for a sample of training examples.

    Every training starts from the same initialization and has the same batch order: random states of the model that are at their default
    are set.

    Args:
        model: a scikit-learn classifier, cloned for every training.
        train: the training set.
        fresh: at least n_replaced examples of the same distribution, labels included: of the same classes and shape.
        test: the examples at which losses are compared, against their labels.
        n_replaced: how many training examples to replace; they are drawn without replacement.
        seed: of that draw, and of a model whose random state is at its default.
        on_fit: called with the number of trainings done.

    Returns:
        How the losses change, with an entry per replaced example.

    Raises:
        InputError: for fewer training or fresh examples than n_replaced, for a model that is no scikit-learn classifier, for what is no
            Split, and for splits of other classes or shapes than the training set, or of numbers as targets.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> from shattering import load_dataset
        >>> data = load_dataset("digits", n_train=50, n_test=20, n_validation=3)
        >>> replace_one(KNeighborsClassifier(1), data.train, data.validation, data.test, n_replaced=3).uniform
        1.0
    """
    check_is_estimator(model)
    check_arguments(replace_one, locals(), "train", "fresh", "test", "n_replaced", "seed")
    _check_alike(train, fresh=fresh, test=test)
    if not n_replaced <= min(len(train), len(fresh)):
        raise InputError(f"n_replaced is {n_replaced}, expected 1…{min(len(train), len(fresh))}, as many as there are examples")
    rows = np.sort(seeds.generator(seed, "replaced").choice(len(train), n_replaced, replace=False)).tolist()
    model = with_seed(model, seed)
    before = _losses(model, train, (test, train), seed)
    changed, own = [], []
    for k, row in enumerate(rows):
        if on_fit:
            on_fit(k + 1)
        after = _losses(model, _replaced(train, row, fresh, k), (test, train.subset(torch.tensor([row]))), seed)
        changed.append(float((after[0] != before[0]).mean()))
        own.append(bool(after[1][0] != before[1][row]))
    return Stability(tuple(rows), tuple(changed), tuple(own), float(1 - before[1].mean()))


def _check_alike(train: Split, **others: Split) -> None:
    """Raise InputError for splits whose examples cannot take each other's place."""
    if train.is_regression:
        raise InputError("train has numbers as targets, expected classes: the loss is 0-1")
    for name, split in {"train": train, **others}.items():
        if isinstance(split.inputs, ImagesOnDisk):
            raise InputError(f"{name} has images that stay on disk, expected images in memory: take as many as fit")
        if split.is_regression or split.input_shape != train.input_shape or split.classes != train.classes:
            found = f"{split.n_classes} classes and inputs of shape {split.input_shape}"
            raise InputError(f"{name} has {found}, expected the {train.n_classes} classes of train and its shape {train.input_shape}")


def _replaced(train: Split, row: int, fresh: Split, k: int) -> Split:
    is_rows = isinstance(train.inputs, Rows)
    parts: dict[str, Any] = {"inputs": train.inputs.replaced(row, fresh.inputs, k)} if is_rows else {}  # type: ignore[union-attr]  # Rows
    for name in ("labels", "ids", "true_labels", *(() if is_rows else ("inputs",))):
        parts[name] = getattr(train, name).clone()
        parts[name][row] = getattr(fresh, name)[k]
    return replace(train, **parts)


def _losses(model: BaseEstimator, train: Split, splits: Sequence[Split], seed: int) -> list[np.ndarray]:
    """Return the 0-1 losses on splits. What code that is not ours draws from global generators is the same for the same seed."""
    with seeds.everywhere(seed):
        model = fit_split(clone(model), train)
        return [predict_split(model, split) != split.labels.numpy() for split in splits]


N_TEST = 500  # how many test examples have their losses compared


def run_study(
    seed: int,
    *,
    dataset: str = "digits",
    n: Count = 200,
    n_test: Count = N_TEST,
    model: str = "network",
    params: Mapping | None = None,
    labels: Share = 0.0,
    n_replaced: Count = 20,
) -> tuple[dict, pd.DataFrame]:
    """Replace training examples one at a time; see `replace_one`.

    Args:
        seed: of the subset, the label corruption, the choice of examples and the model.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_test: test images.
        model: a name in `MODELS`.
        params: its parameters.
        labels: the probability that a label is corrupted, in 0…1, for training, fresh and test examples alike.
        n_replaced: how many training images to replace.

    Returns:
        The numbers and the table.
        Numbers: uniform (a lower bound on the constant for the 0-1 loss), changed and own (means), with
        their 95 % intervals, and labels_fitted (see `Stability`). Table: example (its id), changed (share of test losses), own (True if
        its own loss changed).

    Example:
        >>> numbers, table = run_study(0, n=50, n_test=50, model="nearest-neighbors", n_replaced=3)
        >>> table["changed"].tolist()
        [0.02, 0.0, 0.06]
    """
    data = randomize(load_dataset(dataset, n, n_test, seed, n_validation=n_replaced), Randomization(labels), seed)
    assert data.validation is not None
    test = data.test if not labels else _corrupted(data.test, labels, seed)
    stability = replace_one(build_model(model, params or {}, seed), data.train, data.validation, test, n_replaced, seed)
    low, high = stability.changed_interval or (None, None)
    own_low, own_high = stability.own_interval
    numbers = {"uniform": stability.uniform, "changed": stability.mean_changed, "changed_low": low, "changed_high": high}
    numbers |= {
        "own": stability.mean_own,
        "own_low": own_low,
        "own_high": own_high,
        "n_replaced": n_replaced,
        "labels_fitted": stability.labels_fitted,
    }
    ids = data.train.ids[list(stability.replaced)].tolist()
    rows = pd.DataFrame({"example": ids, "changed": stability.changed, "own": stability.own})
    return {"data": f"{data.variant}, n = {n:,}", "n": n, "n_test": n_test, "labels": float(labels), **numbers}, rows


def _corrupted(split: Split, labels: float, seed: int) -> Split:
    """Corrupt the test labels as the training labels are, so that both have the same distribution."""
    return replace(split, labels=Randomization(labels).corrupt(split, seed, "test"))


def models(k: CapacityScale) -> dict[str, tuple[str, dict]]:
    """Map the title of each model to (model, parameters)."""
    interpolating = {title: how for title, how in rademacher.models(k).items() if title != "logistic regression"}
    return {**interpolating, "kernel, ridge 100": ("kernel", {"ridge": 100.0})}


def study_specs(k: CapacityScale) -> dict[tuple[str, str], StudySpec]:
    """Map (model, labels) to a study."""
    common = {"dataset": k.dataset, "n": k.n_stability, "n_replaced": k.n_replaced}
    return {
        (title, kind): StudySpec("stability", {**common, "model": name, "params": params, "labels": p})
        for title, (name, params) in models(k).items()
        for kind, p in LABELS.items()
    }


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies, one per model and kind of labels."""
    return list(study_specs(scale.capacity).values())


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from stored studies."""
    studies = study_specs(scale.capacity)
    return make_result("stability", scale.name, dict(zip(studies, runs.records(list(studies.values())), strict=True)))


def make_result(name: str, scale: str, records: dict[tuple[str, str], Run[StudySpec]]) -> Result:
    """Make a page from studies by model and labels."""
    size = next((r.result["data"] for r in records.values() if r.result), "missing")
    rows = [_row(model, labels, record.result) for (model, labels), record in records.items()]
    done = [r.result | row for row, r in zip(rows, records.values(), strict=True) if r.result]
    caption = f"How often the loss at a training example changes when it is replaced, {size}, with 95 % intervals."
    charts = {name: (_chart(done), caption)} if done else {}
    return Result(
        name,
        TITLE,
        scale,
        size,
        list(records.values()),
        [Table(f"One example replaced, {size}", COLUMNS, rows, " ".join([NOTE, *_left_out(rows)]))],
        charts,
        _claims(rows),
    )


def _row(model: str, labels: str, r: dict) -> dict:
    return {
        "model": model,
        "labels": labels,
        "uniform": r.get("uniform"),
        "own": r.get("own"),
        "own_bounds": (r.get("own_low"), r.get("own_high")),
        "own_interval": rademacher.interval(r, "own_low", "own_high", "{:.0%}"),
        "changed": r.get("changed"),
        "changed_interval": rademacher.interval(r, "changed_low", "changed_high", "{:.1%}"),
        "replaced": r.get("n_replaced"),
        "labels_fitted": r.get("labels_fitted"),
    }


def _interpolates(row: dict) -> bool:
    """Return whether a model fits all its labels, or may: its study is not done."""
    return row["labels_fitted"] in (None, 1)


def _left_out(rows: list[dict]) -> list[str]:
    """Say which models were seen not to interpolate, so that the claims do not count them."""
    found = [row for row in rows if not _interpolates(row)]
    told = [f"{row['model']} fits {row['labels_fitted']:.1%} of its {row['labels']}" for row in found]
    return [f"The claims are on models that interpolate, and leave out others: {'; '.join(told)}."] if told else []


def _claims(rows: list[dict]) -> list[Claim]:
    """Judge the models that interpolate, on both kinds of labels; none without any."""
    counts = Counter(row["model"] for row in rows if _interpolates(row))
    interpolating = [row for row in rows if counts[row["model"]] == len(LABELS)]
    if not interpolating:
        return []
    unchanged = [row for row in interpolating if row["uniform"] == 0]
    models = list(dict.fromkeys(row["model"] for row in interpolating))
    gap: dict[str, float | None] = {}
    apart = []
    for model in models:
        pair = [row for labels in LABELS for row in interpolating if (row["model"], row["labels"]) == (model, labels)]
        (true, true_bounds), (random, random_bounds) = ((row["own"], row["own_bounds"]) for row in pair)
        gap[model] = None
        if true is not None and random is not None:
            gap[model] = random - true
            apart.append(difference_interval(random, random_bounds, true, true_bounds))
    return [
        judge(
            "uniform stability is blind to the labels",
            "Uniform stability is a property of the algorithm alone: it does not depend on the labels, so it cannot tell them apart.",
            "for each model that interpolates, a change is seen on original and on random labels, so the constant is at least 1; that none "
            "is seen in a sample of replacements leaves it open",
            {f"{row['model']}, {row['labels']}": row["uniform"] for row in interpolating},
            lambda v: min(v.values()) == 1,
            "{:.0f}",
            doubts=[f"{row['model']}, {row['labels']}: no change seen, and others may show one" for row in unchanged],
        ),
        judge(
            "a measure that depends on the labels tells them apart",
            "(Ours: the loss at the replaced example itself, averaged over examples, depends on the data.)",
            "for each model that interpolates, it changes more often on random than on original labels, with a 95 % interval above 0",
            {f"{model}, difference": value for model, value in gap.items()},
            lambda v: min(v.values()) > 0,
            doubts=[contains_zero(interval, "{:.0%}") for interval in apart],
        ),
    ]


def _chart(rows: list[dict]) -> Chart:
    data = pd.DataFrame([{name: row[name] for name in ("model", "labels", "own", "own_low", "own_high")} for row in rows])
    order = list(dict.fromkeys(data["model"]))
    base = alt.Chart(data).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=0)), yOffset=alt.YOffset("labels:N", sort=list(LABELS))
    )
    x = alt.X(**share_axis("own loss changes", "own"))
    bars = base.mark_bar(filled=False).encode(
        x=x, **series("labels", list(LABELS), ["fill"]), tooltip=["model:N", "labels:N", alt.Tooltip("own:Q", format=".0%")]
    )
    ranges = whiskers(base, "own_low", "own_high", "x", MARK)
    return alt.layer(bars, ranges).properties(**SIZE)
