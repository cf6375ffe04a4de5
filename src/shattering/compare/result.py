"""`RandomizationTest`: what came of the draws of a test."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean

import pandas as pd

from shattering import stats
from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, ORIGINAL, TESTS, find_randomizations
from shattering.compare.repeats import Repeats
from shattering.diagnose.finding import Finding
from shattering.errors import printable
from shattering.randomization import Randomization
from shattering.runs.objects import Objects
from shattering.runs.store import Run


@dataclass(frozen=True)
class Draw:
    """One fit of the model on the original data, or on one randomized copy of them: a run, or one for each fold.

    Its numbers are means over the folds; None where a run of it is not done.
    """

    randomization: Randomization
    number: int
    runs: tuple[Run, ...]

    @property
    def status(self) -> str:
        """ "done", or the first other status among its runs."""
        return next((run.status for run in self.runs if run.status != "done"), "done")

    @property
    def begun(self) -> bool:
        """Whether a run of it was begun, whatever came of it."""
        return any(run.status != "missing" for run in self.runs)

    @property
    def train_score(self) -> float | None:
        return self.mean("train_accuracy" if self.runs[0].spec.scoring is None else "train_score")

    @property
    def test_score(self) -> float | None:
        """Against the true test labels, as the papers have it; None also where the scorer has no value for these.

        In folds that are stratified by randomized labels, true labels may be of one class.
        """
        return self.mean("test_accuracy" if self.runs[0].spec.scoring is None else "test_score")

    @property
    def null_score(self) -> float | None:
        """Against test labels that are randomized as the training labels are, for a permutation test; the same where they are not.

        This is the statistic of Ojala and Garriga, and of scikit-learn. Against the true test labels the null would be as valid,
        but broad: where classes are clusters, a model of permuted labels may happen to name them rightly.
        """
        name = "test_accuracy" if self.runs[0].spec.scoring is None else "test_score"
        return self.mean(f"{name}_on_corrupted_labels")

    @property
    def fit_seconds(self) -> float | None:
        return sum(run.provenance["fit_seconds"] for run in self.runs) if self.status == "done" else None

    @property
    def interpolated(self) -> bool | None:
        """Whether every training example is classified as labelled, in every fold."""
        return all(run.result["interpolated"] for run in self.runs) if self.status == "done" else None

    @property
    def n_test(self) -> int:
        return sum(run.result["n_test"] for run in self.runs)

    def mean(self, name: str) -> float | None:
        """The mean of a number of the results over the folds; None if a fold lacks it."""
        values = [run.result.get(name) for run in self.runs]
        return None if None in values else fmean(values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PermutationTest:
    """A permutation p-value and what it was computed from. Higher scores are better.

    null: what is tested. n_failed: draws that were begun and have no score; they count as at least as good as the original
    data, see `shattering.stats.permutation_p_value`.
    """

    null: str
    score: float
    null_scores: tuple[float, ...]
    n_failed: int = 0

    @property
    def n_draws(self) -> int:
        """With those that failed."""
        return len(self.null_scores) + self.n_failed

    @property
    def n_as_good(self) -> int:
        """How many draws are at least as good as the original data, those that failed among them."""
        return stats.n_as_good(self.score, self.null_scores) + self.n_failed

    @property
    def p_value(self) -> float:
        return stats.permutation_p_value(self.score, self.null_scores, self.n_failed)

    @property
    def floor(self) -> float:
        """The least that the p-value can be with so many draws."""
        return 1 / (self.n_draws + 1)


@dataclass(frozen=True)
class RandomizationTest:
    """The result of `randomization_test`.

    Args:
        model: what it is called.
        draws: every draw that was planned, the original one first, done or not.
        left_out: what a budget left out, in sentences; empty if nothing was.
        seconds: how long the call took.
        start: what every fit of a torch module's instance started from, "reinitialized" or "given"; None for other models.
        notes: what else has to be known of the fits, in sentences: what they started from, and what of the model cannot be told
            apart from others, so that no stored run is used again for it.
        given: the objects that its runs name, such as a model that is no name.
        repeats: inputs that are on both sides of the split; None: none were found.
    """

    model: str
    draws: tuple[Draw, ...]
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0
    start: str | None = None
    notes: tuple[str, ...] = ()
    given: Objects | None = field(default=None, repr=False, compare=False)
    repeats: Repeats | None = None

    @property
    def original(self) -> Draw:
        return self.draws[0]

    @property
    def runs(self) -> list[Run]:
        return [run for draw in self.draws for run in draw.runs]

    @property
    def dataset(self) -> str:
        return self.original.runs[0].result["dataset"]

    @property
    def n_train(self) -> int:
        return self.original.runs[0].result["n_train"]

    @property
    def scoring(self) -> str:
        """What the scores are; higher is better."""
        return self.original.runs[0].spec.scoring or "accuracy"

    @cached_property
    def randomizations(self) -> list[Randomization]:
        """Those compared, without the original data."""
        return [r for r in dict.fromkeys(draw.randomization for draw in self.draws) if r != ORIGINAL]

    def of(self, randomization: Randomization | str, done: bool = True) -> list[Draw]:
        """The draws of a randomization, or of a name in `RANDOMIZATIONS`; done: only those that are. Raises InputError for other names."""
        if isinstance(randomization, str):
            (randomization,) = find_randomizations([randomization], is_image=True)
        return [d for d in self.draws if d.randomization == randomization and (not done or d.status == "done")]

    @property
    def p_value(self) -> float | None:
        """Of the labels' permutation test, for scores this good if labels did not depend on features; None if not drawn."""
        test = self.tests.get(LABEL_TEST)
        return test.p_value if test else None

    @cached_property
    def tests(self) -> Mapping[Randomization, PermutationTest]:
        """The permutation tests of Ojala and Garriga (2010), of which test 1 permutes labels, test 2 features within each class.

        The draws of other randomizations are not exchangeable with the original data under any null, so have no p-value. Nor
        does a test of which no draw has a score, nor any if the test split is the train split.
        """
        out: dict[Randomization, PermutationTest] = {}
        if self.repeats and self.repeats.whole:
            return out
        for r in (LABEL_TEST, FEATURE_TEST):
            nulls, n_begun = self.scores(r, "null_score"), sum(draw.begun for draw in self.of(r, done=False))
            if nulls:
                out[r] = PermutationTest(TESTS[r], self.original.test_score, tuple(nulls), n_begun - len(nulls))  # type: ignore[arg-type]
        return out

    def scores(self, randomization: Randomization | str, which: str = "test_score") -> list[float]:
        """The scores of the draws that are done, and have one."""
        return [score for draw in self.of(randomization) if (score := getattr(draw, which)) is not None]

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row a run, with randomization, draw, fold, seed, status, train_score, test_score, interpolated, epochs, epochs_to_fit,
        fit_seconds, run_id, error."""
        return pd.DataFrame([_record(draw, run) for draw in self.draws for run in draw.runs]).convert_dtypes()

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a randomization, the original data first. Scores are means over draws; higher is better.

        Columns: randomization; draws (done), not_done; train_score, test_score, gap (their difference); interpolated (share of
        draws); epochs_to_fit (mean over the draws that fit), fit_seconds, time_ratio (to original: of epochs to fit where both
        are known, else of seconds) and time_in ("epochs" or "seconds"); effect (original test score minus this one;
        for the two tests, minus the mean `null_score`),
        effect_low, effect_high (95 %), effect_sd (in standard deviations of the draws); p_value, n_as_good, p_floor for the two
        tests. test_score is against the true test labels.
        """
        return pd.DataFrame(self.rows).convert_dtypes()

    @cached_property
    def rows(self) -> list[dict]:
        """The rows of `table` as dictionaries, None for missing values."""
        from shattering.compare.table import make_row

        return [make_row(self, r) for r in (ORIGINAL, *self.randomizations)]

    @cached_property
    def summary(self) -> list[str]:
        """What the numbers say, in sentences; see `shattering.compare.sentences` for the threshold of each."""
        from shattering.compare.sentences import sentences

        return sentences(self)

    @cached_property
    def memorization(self) -> list:
        """What became of wrong labels, a `shattering.compare.memorization.Memorization` for each partial corruption drawn."""
        from shattering.compare.memorization import memorization

        return memorization(self)

    @cached_property
    def suspects(self) -> pd.DataFrame | None:
        """The original training examples, those whose label is likeliest wrong first; None without tracked epochs."""
        from shattering.compare.memorization import suspects

        return suspects(self)

    @cached_property
    def diagnosis(self) -> list[Finding]:
        """Why random labels were not fitted, most likely first; empty if they were, were not drawn, or nothing was found."""
        from shattering.diagnose.diagnose import diagnose_test

        return diagnose_test(self)

    @cached_property
    def explanation(self) -> list[str]:
        """`diagnosis` in lines, also where nothing was found; empty if random labels were fitted, or not drawn."""
        from shattering.diagnose.diagnose import explanation

        return explanation(self)

    def plot(self):
        """Train and test scores of every draw, an Altair chart."""
        from shattering.compare.figures import score_chart

        return score_chart(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report, one page that opens offline, as text; written to `path` if one is given."""
        from shattering.compare.page import render_test
        from shattering.report.page import write_page

        html = render_test(self)
        if path is not None:
            write_page(html, Path(path))
        return html

    def _repr_html_(self) -> str:
        from shattering.compare.page import notebook_html

        return notebook_html(self)

    def to_json(self) -> dict:
        """What a script needs, and what a number needs to be cited: summary, table, records, seed and provenance of the original fit; None
        for missing values."""
        records = self.records.astype(object).where(self.records.notna(), None).to_dict("records")
        about = {
            "model": self.model,
            "dataset": self.dataset,
            "n_train": self.n_train,
            "n_test": self.original.n_test,
            "seed": self.original.runs[0].spec.seed,
            "scoring": self.scoring,
            "start": self.start,
            "p_value": self.p_value,
        }
        about |= {"diagnosis": [finding.to_json() for finding in self.diagnosis], "provenance": self.original.runs[0].provenance}
        return {**about, "seconds": self.seconds, "summary": self.summary, "table": self.rows, "records": records}

    def __str__(self) -> str:
        head = f"{self.model} on {self.dataset}, n = {self.n_train:,}; {self.seconds:.3g} s"
        columns = self.table.drop(columns=["effect_low", "effect_high", "effect_sd", "time_in", "n_as_good", "p_floor"])
        table = shown(columns).map(printable).to_string(index=False)
        return "\n".join([printable(head), table, *map(printable, [*self.summary, *self.explanation])])


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as text: numbers to four digits (rounding errors are 0), missing values as dashes."""

    def text(value: object) -> str:
        if value is None or value is pd.NA:
            return "–"
        return f"{round(value, 12) + 0.0:.4g}" if isinstance(value, float) else str(value)

    return frame.astype(object).map(text)


def _record(draw: Draw, run: Run) -> dict:
    alone = Draw(draw.randomization, draw.number, (run,))
    return {
        "randomization": draw.randomization.title,
        "draw": draw.number,
        "fold": run.spec.fold,
        "seed": run.spec.seed,
        "status": run.status,
        "train_score": alone.train_score,
        "test_score": alone.test_score,
        **{name: run.result.get(name) for name in ("interpolated", "epochs", "epochs_to_fit")},
        "fit_seconds": run.provenance.get("fit_seconds"),
        "run_id": run.run_id,
        "error": run.error,
    }
