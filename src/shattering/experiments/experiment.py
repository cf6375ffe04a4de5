"""The parts that all experiments share: stored runs of a configuration, tables, claims, and the result that has them all."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, Literal

import pandas as pd

from shattering.brief import Brief
from shattering.diagnose.network import GUESSING
from shattering.experiments.scales import Scale
from shattering.randomization import Randomization
from shattering.report.claims import FAILS, HOLDS, MISSING, OPEN, UNLIKE, Verdict
from shattering.runs.base import Spec
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.stats import accuracy_interval

FITS = 0.99  # training accuracy from which a model fits its training set; the lowest of table 4 that fits is 99.21 %
NEAR = 0.03  # two test accuracies count as the same up to this difference
STILL_FALLING = 0.9  # the loss still falls if its mean over the last quarter is below this share of the mean over the quarter before
ANNEALED = 0.2  # a learning rate has decayed once it is at most this share of its largest value
SPENT = 0.01  # and has come to nothing once it is at most this share: more epochs change nothing


@dataclass(frozen=True, repr=False)
class Outcome(Brief):
    """The runs of a configuration, one per seed, done or not.

    A run that diverged, its loss infinite or NaN, says nothing of what another would learn; nor does one on original data that never
    left the loss of guessing, as one whose units died (`is_stuck`).
    """

    runs: list[Run]

    @cached_property
    def done(self) -> list[Run]:
        """The runs that are done, without those that diverged or are stuck."""
        return [run for run in self.runs if counts(run)]

    def values(self, name: str) -> list[float]:
        """List the values of a field of result.json over the seeds that are done and have it."""
        return [run.result[name] for run in self.done if run.result.get(name) is not None]

    def mean(self, name: str) -> float | None:
        """Return the mean of `values`; None without any."""
        values = self.values(name)
        return fmean(values) if values else None

    def mean_of(self, measure: Callable[[Run], float | None]) -> float | None:
        """Return the mean of a measure over the seeds that are done; None unless each of them has it."""
        measured = [measure(run) for run in self.done]
        values = [value for value in measured if value is not None]
        return fmean(values) if values and len(values) == len(measured) else None

    def spread(self, name: str) -> float | None:
        """Return the standard deviation over seeds; None for fewer than two."""
        values = self.values(name)
        return stdev(values) if len(values) > 1 else None

    def test_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the test accuracy, see `accuracy_interval`; None if no run is done."""
        values = self.values("test_accuracy")
        return accuracy_interval(values, self.done[0].result["n_test"]) if values else None

    @property
    def seeds(self) -> str:
        """The number of seeds that are done, and of all if some are not: "2 of 3"; then how many of the others diverged or are stuck."""
        n_done, n_all = len(self.done), len(self.runs)
        stuck = sum(map(is_stuck, self.runs))
        diverged = sum(run.status == "done" for run in self.runs) - n_done - stuck
        others = [f"{n} {what}" for n, what in ((diverged, "diverged"), (stuck, "stuck at guessing")) if n]
        return ", ".join([str(n_done) if n_done == n_all else f"{n_done} of {n_all}", *others])


def counts(run: Run[Any]) -> bool:
    """Return whether a run is done, and neither diverged nor is stuck."""
    return run.is_trained and not is_stuck(run)


def is_stuck(run: Run[Any]) -> bool:
    """Return whether a training on original data stayed at the loss of guessing: its seed learned nothing, as one whose units died.

    That is, through the second half of its epochs, of four at least. On randomized data it is a finding: the network does not fit them.
    """
    is_trained = isinstance(run.spec, RunSpec) and run.is_trained and "online_train_accuracy" in run.result
    if not is_trained or run.spec.randomization != Randomization() or "train_loss" not in run.history:  # others have another loss
        return False
    losses = run.history["train_loss"].to_numpy()
    return len(losses) >= 4 and float(losses[len(losses) // 2 :].min()) >= GUESSING * math.log(run.result["n_classes"])


def runs_of(outcomes: Iterable[Outcome]) -> list[Run]:
    """List the runs of several configurations, done or not."""
    return [run for outcome in outcomes for run in outcome.runs]


class Runs:
    """Stored runs by their specification. Runs that a store lacks have the status "missing"."""

    def __init__(self, store: Store, scale: Scale):
        self.store = store
        self.scale = scale
        self.seen: dict[str, Run] = {}

    def outcome(self, specs: Sequence[RunSpec]) -> Outcome:
        """Look up the runs of a configuration, one per seed."""
        return Outcome([self._find(spec) for spec in specs])

    @property
    def size(self) -> str:
        """The number of images and the dataset of these runs, in words; with the variant of the data once a run is done."""
        specs = [run.spec for run in self.seen.values()]
        done = next((run.result for run in self.seen.values() if run.result), None)
        dataset = done["dataset"] if done else specs[0].dataset if specs else self.scale.cifar.dataset
        n = done["n_train"] if done else specs[0].n_train if specs else self.scale.cifar.n_train
        return f"n = {n:,} of {dataset}" if n else f"all of {dataset}"

    def _find(self, spec: RunSpec) -> Run:
        run_id = spec.run_id
        if run_id not in self.seen:
            self.seen[run_id] = self.store.of(spec).whole()
        return self.seen[run_id]

    def records(self, specs: Sequence[StudySpec]) -> list[Run[StudySpec]]:
        """Look up studies. Those that the store lacks have the status "missing"."""
        return [self.store.of(spec).whole() for spec in specs]


def bars_over(seeds: Iterable[int]) -> str:
    """Return the sentence of a caption that says what the error bars of a figure are, or why it has none.

    Args:
        seeds: how many seeds of each configuration are done.

    Example:
        >>> bars_over([3, 3]), bars_over([1, 0])
        ('Bars are ± one standard deviation over 3 seeds.', 'One seed, so there are no error bars.')
        >>> bars_over([1, 3])
        'Bars are ± one standard deviation over seeds, of which there are 1 to 3; none for one seed.'
    """
    known = sorted({n for n in seeds if n})
    if not known or known == [1]:
        return "One seed, so there are no error bars."
    if len(known) == 1:
        return f"Bars are ± one standard deviation over {known[0]} seeds."
    none = "; none for one seed" if known[0] == 1 else ""
    return f"Bars are ± one standard deviation over seeds, of which there are {known[0]} to {known[-1]}{none}."


@dataclass(frozen=True, repr=False)
class Column(Brief):
    """A column of a table.

    Args:
        key: the name of its values in a row.
        label: the heading.
        kind: how values are shown. "prose" is text that may be broken into lines; "percent" and "share" are values in 0…1,
            shown in percent with two decimals and with none; "paper" is a value that the paper printed in percent.
    """

    key: str
    label: str
    kind: Literal["text", "prose", "percent", "share", "paper", "number"] = "text"


@dataclass(frozen=True, repr=False)
class Table(Brief):
    """Rows of plain values under columns. A value that is missing is None.

    priority: keys of the columns that a narrow terminal shows rather than the others, from the first on.
    """

    title: str
    columns: Sequence[Column]
    rows: list[dict[str, Any]]
    note: str = ""
    priority: Sequence[str] = ()


@dataclass(frozen=True, repr=False)
class Claim(Brief):
    """One of the papers' claims, judged by a rule on stored runs.

    Args:
        name: a short name.
        says: the claim in the paper's words, or nearly so.
        rule: what has to be true of the runs for the claim to hold.
        verdict: "missing" if runs that the rule needs are not done; "not comparable" if they are of other data than the rule is for;
            "inconclusive" if they are done and cannot decide it.
        evidence: the values that the rule looked at, as text.
        why: the reason for "not comparable" and "inconclusive"; empty for other verdicts.
        ours: the evidence in short.
        seeds: how many seeds of each configuration that the rule looked at are done; empty: as many as of the whole experiment.
        size: the data that the rule looked at, in words; empty: those of the whole experiment.
    """

    name: str
    says: str
    rule: str
    verdict: Verdict
    evidence: str
    why: str = ""
    ours: str = ""
    seeds: str = ""
    size: str = ""

    @property
    def holds(self) -> bool | None:
        """True if the claim holds, False if it does not, None if the runs do not tell."""
        return {HOLDS: True, FAILS: False}.get(self.verdict)

    @property
    def shown_verdict(self) -> str:
        """The verdict, with the reason if there is one."""
        return f"{self.verdict}: {self.why}" if self.why else self.verdict


def judge(
    name: str,
    says: str,
    rule: str,
    values: dict[str, float | None],
    holds: Any,
    form: str = "{:.1%}",
    doubts: Sequence[str | None] = (),
    unlike: str | None = None,
    lacking: Mapping[str, str] | None = None,
    runs: Sequence[Run[Any]] = (),
) -> Claim:
    """Judge a claim on named values.

    Args:
        name: see `Claim`.
        says: see `Claim`.
        rule: see `Claim`.
        values: what the rule looks at, by name; None for a value that is missing, and then nothing is judged.
        holds: a function of `values` that returns True if they satisfy the rule.
        form: how a value is written.
        doubts: reasons why the runs cannot decide the claim; None for those that do not apply. One reason is enough. A value that is NaN
            is one more: comparisons with it say no or, in a maximum, nothing.
        unlike: why the rule is not for such data, whatever the runs give; None if it is.
        lacking: names of values that are None although the runs are done, with the reasons; they too are reasons to leave it open.
        runs: those that the values are of, whose seeds are counted; none given: all of the experiment.
    """
    lacking = lacking or {}
    doubts = [*doubts, *(f"{name} is no number" for name, value in values.items() if value is not None and math.isnan(value))]
    missing = not values or any(value is None and name not in lacking for name, value in values.items())
    shown = {name: form.format(value) if value is not None else "none" if name in lacking else "missing" for name, value in values.items()}
    why = unlike or ("" if missing else "; ".join(dict.fromkeys(doubt for doubt in (*lacking.values(), *doubts) if doubt)))
    verdict = UNLIKE if unlike else MISSING if missing else OPEN if why else HOLDS if holds(values) else FAILS
    ours = _short(shown, {k: v for k, v in values.items() if v is not None})
    return Claim(name, says, rule, verdict, _text(shown), why, ours, seeds_of(runs) if runs else "")


_MOST_SHOWN = 3  # values of a claim on the scoreboard, beyond which their range is shown


def _text(shown: Mapping[str, str]) -> str:
    return "; ".join(f"{key}: {value}" for key, value in shown.items())


def _short(shown: Mapping[str, str], values: Mapping[str, float]) -> str:
    """Return up to three values as they are, and the range of more."""
    if len(shown) <= _MOST_SHOWN or not values:
        return _text(shown)
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if shown[low] == shown[high]:
        return f"{len(values)} of {len(shown)} values, all {shown[low]}"
    return f"{len(values)} of {len(shown)} values, from {low}: {shown[low]} to {high}: {shown[high]}"


def contains_zero(interval: tuple[float, float] | None, form: str = "{:.1%}") -> str | None:
    """Report that an interval of a difference contains zero, so that its sign is not known; None if it does not, or if there is none."""
    if interval is None or interval[0] * interval[1] > 0:
        return None
    return f"the 95 % interval of the difference, {form.format(interval[0])} to {form.format(interval[1])}, contains 0"


def cut_short(runs: Sequence[Run], online: bool = False) -> str | None:
    """Name the runs that used up their epochs while their training loss still fell; None if none did.

    The loss still fell if its mean over the last quarter of the epochs is less than `STILL_FALLING` times its mean over the
    quarter before, and the learning rate did not end below `SPENT` times its largest value. A longer run might have fit, so such a run
    does not show that a model cannot.

    Args:
        runs: of any configurations.
        online: what has to be fitted are the augmented images of the last epoch, not the images themselves.
    """
    names = [run.spec.model_name for run in runs if run.is_trained and _is_cut_short(run.history, run.result, online)]
    return f"the training of {', '.join(dict.fromkeys(names))} ended while its loss still fell" if names else None


def _is_cut_short(history: pd.DataFrame, result: Mapping[str, Any], online: bool) -> bool:
    quarter = len(history) // 4
    seen = None if online else result.get("epochs_to_fit")  # by the images themselves
    fitted = seen is not None or result.get("online_train_accuracy" if online else "train_accuracy", 0) >= FITS
    if not quarter or fitted or _is_spent(history):
        return False
    losses = history["train_loss"].to_numpy()
    return bool(losses[-quarter:].mean() < STILL_FALLING * losses[-2 * quarter : -quarter].mean())


def _is_spent(history: pd.DataFrame) -> bool:
    if "learning_rate" not in history:
        return False
    rates = history["learning_rate"].to_numpy()
    return bool(rates[-1] <= SPENT * rates.max())


def not_annealed(runs: Sequence[Run]) -> str | None:
    """Report the first run whose learning rate had not decayed when it ended, so that its last accuracies scatter; or None."""
    for run in runs:
        if run.is_trained and "learning_rate" in run.history and len(run.history) > 1:
            rates = run.history["learning_rate"].to_numpy()
            if rates[-1] > ANNEALED * rates.max():
                return f"the learning rate ended at {rates[-1] / rates.max():.0%} of its largest value, so the last accuracies scatter"
    return None


def few_seeds(runs: Sequence[Run[Any]], least: int = 3) -> str | None:
    """Report that a configuration among the runs has fewer than `least` seeds done, too few to know their spread; or None.

    Seeds whose runs diverged or are stuck do not count. A configuration without any is left out: its numbers are missing.
    """
    return too_few(min(_numbers_of_seeds(runs), default=least), least)


def too_few(n_seeds: int, least: int = 3) -> str | None:
    """Report that some numbers are of fewer seeds than `least`; None if they are not."""
    return None if n_seeds >= least else f"{n_seeds} seed{'s' * (n_seeds > 1)} for some of the numbers, fewer than {least}"


def seeds_of(runs: Sequence[Run[Any]]) -> str:
    """Return how many seeds of each configuration are done: "3", "1 to 3", or "none"."""
    numbers = sorted(set(_numbers_of_seeds(runs)))
    return "none" if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _numbers_of_seeds(runs: Sequence[Run[Any]]) -> list[int]:
    """Return the number of seeds that are done of each configuration with any."""
    seeds: dict[str, set[int]] = {}
    for run in filter(counts, runs):
        key = json.dumps({k: v for k, v in run.spec.identity().items() if k != "seed"}, sort_keys=True)  # however it was written
        seeds.setdefault(key, set()).add(run.spec.seed)
    return [len(numbers) for numbers in seeds.values()]


@dataclass(frozen=True, repr=False)
class Result(Brief):
    """A table or figure of the papers, made from stored runs.

    Args:
        name: of the experiment.
        title: the heading of its page.
        scale: the name of the scale.
        size: what was trained on, in words.
        runs: the stored runs and studies behind it, done or not; each is kept once.
        tables: its tables, in order.
        charts: name → (altair chart, caption).
        claims: the papers' claims, judged.

    Example:
        >>> Result("figure2", "Figure 2", "demo", "digits, n = 100", runs=[]).not_done
        []
    """

    name: str
    title: str
    scale: str
    size: str
    runs: Sequence[Run[Spec]]
    tables: list[Table] = field(default_factory=list)
    charts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", list({run.run_id: run for run in self.runs}.values()))

    @property
    def not_done(self) -> list[Run[Spec]]:
        """The runs that are missing, failed or under way."""
        return [run for run in self.runs if run.status != "done"]

    def to_json(self) -> dict:
        """Return everything but the charts as a JSON object."""
        return {
            "experiment": self.name,
            "title": self.title,
            "scale": self.scale,
            "size": self.size,
            "tables": [{"title": t.title, "rows": t.rows, "note": t.note} for t in self.tables],
            "claims": [vars(c) | {"holds": c.holds} for c in self.claims],
            "runs": [{"run": run.folder.name, "status": run.status, "error": run.error} for run in self.runs],
        }


def show(value: str | float | None, kind: str) -> str:
    """Format a value of a table; kind: see `Column`."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    number = float(value)
    if kind == "number":
        return f"{int(number):,}" if number.is_integer() and abs(number) < 1e15 else f"{number:,.4g}"
    form = {"percent": "{:.2f}", "share": "{:.0%}", "paper": "{:.2f}"}.get(kind)
    return form.format(100 * number if kind == "percent" else number) if form else str(value)


def answers(*rules: tuple[str, bool]) -> str:
    """Format a row's verdict: each rule, with yes or no."""
    return "; ".join(f"{rule}: {'yes' if satisfied else 'no'}" for rule, satisfied in rules)
