"""`RandomizationTest`: the result of `randomization_test`, as table, sentences, chart, report and JSON."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from shattering.brief import cut
from shattering.compare.answer import AnswerLine, answer, not_shown, printed
from shattering.compare.comparison import Comparison
from shattering.compare.diagnosis import diagnose_test, explain
from shattering.compare.figures import score_chart, test_charts
from shattering.compare.head import HeadLine, head
from shattering.compare.memorization import Memorization, find_label_issues, memorization
from shattering.compare.page import notebook_html, render_test
from shattering.compare.scrambling import Scrambling, scrambling
from shattering.compare.sentences import cautions, summarize
from shattering.compare.table import make_records, make_rows, printed_table
from shattering.data.exchange import shown_orders
from shattering.diagnose.finding import Finding
from shattering.errors import counted, printable
from shattering.report.answer import conclude
from shattering.report.charts import Chart, Illustrated
from shattering.report.page import write_page
from shattering.system.temporary import TemporaryFolder


@dataclass(frozen=True)
class RandomizationTest(Comparison, Illustrated):
    """The result of `randomization_test`: the fits, see `Comparison`, and reports of them.

    Args:
        seconds: how long the call took.
        kept: the temporary folder of the runs, of a test without a store.

    Example:
        >>> test.p_value, len(test.repeats)
        (0.05, 4)
        >>> path = test.to_html("report.html")
    """

    seconds: float = field(default=0.0, compare=False)
    kept: TemporaryFolder | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict:
        """Return what is pickled; of a test without a store with the sentences, as its runs may be gone when it is unpickled."""
        if self.kept:
            _ = self.summary, self.explanation, self.label_issues
        return self.__dict__

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row per run, and per permutation that is stored with others, of which the score alone is known: randomization, repeat,
        fold, seed, status, train_score, test_score, interpolated, epochs, epochs_to_fit, fit_seconds, run_id, error."""
        return make_records(self)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per randomization, the original data first. Scores are means over repeats; higher is better.

        Columns:
            randomization: its title.
            repeats, not_done: how many are done, and how many are not.
            train_score, test_score, gap: test scores are against the true test labels, those of permuted labels against labels permuted
            alike; the gap is their difference. Of permutations that are stored together only test scores are known.
            interpolated: the share of repeats that classify every training example as labelled.
            epochs_to_fit, fit_seconds: means over the repeats that fit, and over all.
            time_ratio, time_in: relative to the original fit, in "epochs" (to fit) where both are known; in "seconds" of models
            without epochs; else missing.
            effect: the original test score minus the mean of this row; for the two permutation tests minus the mean null score.
            effect_low, effect_high: its 95 % interval; missing for a single repeat.
            effect_sd: the effect in standard deviations of the repeats.
            p_value, n_as_good, n_permutations, p_floor: of the two permutation tests; in the first row of the zero-refit test.
        """
        return pd.DataFrame(self.rows).convert_dtypes()

    @cached_property
    def rows(self) -> list[dict]:
        """The rows of `table` as dictionaries, None for missing values."""
        return make_rows(self)

    @cached_property
    def answer(self) -> list[AnswerLine]:
        """The answer in words: whether the model learns, what it can memorize, and what wrong labels cost it."""
        return answer(self, self.memorization)

    @cached_property
    def conclusion(self) -> str | None:
        """The answer in one sentence; None if nothing was judged."""
        verdicts = {line.name: line.verdict for line in self.answer}
        return conclude({"it": (verdicts.get("Learns"), verdicts.get("Memorizes"))}, self.label_word)

    @cached_property
    def not_shown(self) -> list[str]:
        """What the answer does not show, in parts of a sentence."""
        return not_shown(self)

    @cached_property
    def head(self) -> list[HeadLine]:
        """The first lines: score and best constant answer, null scores with p and its floor."""
        return head(self)

    @cached_property
    def summary(self) -> list[str]:
        """The numbers in sentences, the most important first; `shattering.compare.sentences` names the threshold of each."""
        return [*summarize(self, self.rows, self.memorization), *(self.scrambling.sentences() if self.scrambling else ())]

    @cached_property
    def memorization(self) -> list[Memorization]:
        """One `Memorization` for each partial corruption of the labels."""
        return memorization(self)

    @cached_property
    def label_issues(self) -> pd.DataFrame | None:
        """The original training examples, those whose label is likeliest wrong first; None without tracked epochs.

        Columns: id, name (where examples have one, such as a file or the index of a DataFrame), label, label_quality (minus the mean
        loss in nats; the lower, the likelier the label is wrong), epochs_to_fit, forgetting_events, final_prediction. None also for a
        training that diverged. With folds, each example is as the first fold that trains on it has it.
        """
        return find_label_issues(self)

    @cached_property
    def scrambling(self) -> Scrambling | None:
        """The y-scrambling report of a regression that is scored by R²; None for other tests, and for fewer than three permutations."""
        return scrambling(self)

    @cached_property
    def diagnosis(self) -> list[Finding]:
        """Why random labels were not fitted, most likely first; empty if they were, if there are none, or if nothing was found."""
        return diagnose_test(self)

    @cached_property
    def explanation(self) -> list[str]:
        """`diagnosis` in lines, also where nothing was found; empty if random labels were fitted, or if there are none."""
        return explain(self, self.diagnosis)

    def plot(self) -> Chart:
        """Return an Altair chart of the train and test scores of every repeat."""
        return score_chart(self)

    @property
    def charts(self) -> dict[str, Chart | None]:
        """The charts of the report, by name: scores, memorization and loss; None for a chart without data."""
        return test_charts(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the report, one page that opens offline, as text; and write it to `path` if one is given."""
        html = render_test(
            self,
            rows=self.rows,
            answer=self.answer,
            conclusion=self.conclusion,
            not_shown=self.not_shown,
            cautions=cautions(self),
            head=self.head,
            summary=self.summary,
            label_issues=self.label_issues,
            diagnosis=self.diagnosis,
            explanation=self.explanation,
        )
        if path is not None:
            write_page(html, Path(path))
        return html

    def __repr__(self) -> str:
        p = "" if self.p_value is None else f", p = {self.p_value:.3g}"
        about = f"{self.model} on {self.dataset}, n = {self.n_train:,}, {counted(len(self.repeats), 'repeat')}"
        return cut(f"<RandomizationTest: {about}{p}; print it>")

    def _repr_html_(self) -> str:
        return notebook_html(self, self.table, self.answer, self.not_shown, self.summary)

    def to_json(self) -> dict:
        """Return what a script needs, and what makes the numbers citable; None for missing values.

        Keys: model, dataset, n_train, n_test, seed, scoring, start, answer, not_shown, head, zero_refit, p_value, exchange, admissible,
        stop_after, diagnosis, scrambling, provenance (of the original fit), seconds, summary, table, records. admissible is None where it
        is infinite, and "unknown" for permutations by a function.
        """
        original = self.original.runs[0]
        return {
            "model": self.model,
            "dataset": self.dataset,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "seed": original.spec.seed,
            "scoring": self.scoring,
            "start": self.start,
            "answer": [asdict(line) for line in self.answer],
            "not_shown": self.not_shown,
            "head": {line.name: line.text for line in self.head},
            "zero_refit": self.zero_refit.to_json() if self.zero_refit else None,
            "p_value": self.p_value,
            "exchange": self.label_test.exchange if self.label_test else None,
            "admissible": shown_orders(self.admissible),
            "stop_after": self.stop_after,
            "diagnosis": [finding.to_json() for finding in self.diagnosis],
            "scrambling": self.scrambling.to_json() if self.scrambling else None,
            "provenance": original.provenance,
            "seconds": self.seconds,
            "summary": self.summary,
            "table": self.rows,
            "records": self.records.astype(object).where(self.records.notna(), None).to_dict("records"),
        }

    def __str__(self) -> str:
        title = f"{self.model} on {self.dataset}, n = {self.n_train:,} ({self.n_test:,} test); {self.seconds:.3g} s"
        table = printed_table(self.rows, self.scoring)
        lines = [*printed(self.answer, self.not_shown), *map(str, self.head), table, *self.summary, *self.explanation]
        return "\n".join([printable(title), *(line if line is table else printable(line) for line in lines)])
