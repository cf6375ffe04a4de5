"""The core of a randomization test: its fits, and the numbers that follow from them by counting.

Table, sentences, charts and page are made from a `Comparison`; `RandomizationTest` stands on top of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from shattering import stats
from shattering.compare.duplicates import Duplicates
from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, ORIGINAL, RANDOMIZATIONS, TESTS, find_randomizations
from shattering.data.kinds import PARTS, Kind
from shattering.errors import InputError
from shattering.randomization import Randomization
from shattering.runs.objects import Objects
from shattering.runs.stored import Run


@dataclass(frozen=True)
class Repeat:
    """One fit of the model on the original data or on one randomized copy of them; with folds, one run per fold.

    Repeats of a permutation test are its permutations. Numbers are means over folds, and None where a run is not done.

    Args:
        randomization: how the data were randomized.
        number: the index among the repeats of this randomization, from 0.
        runs: the run, or one run per fold.

    Example:
        >>> repeat = test.of("permuted-labels")[0]
        >>> repeat.number, repeat.status
        (0, 'done')
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
        """True if any of its runs was begun, whatever came of it."""
        return any(run.status != "missing" for run in self.runs)

    @property
    def train_score(self) -> float | None:
        """The score on the training examples against the labels that were fitted."""
        return self.mean("train_accuracy" if self.runs[0].spec.scoring is None else "train_score")

    @property
    def test_score(self) -> float | None:
        """The score against the true test labels, as in the papers. None also where the scorer is undefined for them.

        Folds are stratified by the randomized labels, so the true labels of a fold may all be of one class.
        """
        return self.mean("test_accuracy" if self.runs[0].spec.scoring is None else "test_score")

    @property
    def null_score(self) -> float | None:
        """The score that permutation tests compare: against test labels randomized as the training labels are.

        This is the statistic of Ojala and Garriga (2010) and of scikit-learn. True test labels would give a null distribution that
        is as valid but broader: where classes are clusters, a model of permuted labels may name whole clusters correctly by chance.
        """
        name = "test_accuracy" if self.runs[0].spec.scoring is None else "test_score"
        return self.mean(f"{name}_on_corrupted_labels")

    @property
    def fit_seconds(self) -> float | None:
        """The seconds that its fits took, summed over folds."""
        return sum(run.provenance["fit_seconds"] for run in self.runs) if self.status == "done" else None

    @property
    def interpolated(self) -> bool | None:
        """True if every training example is classified as labelled, in every fold."""
        return all(run.result["interpolated"] for run in self.runs) if self.status == "done" else None

    @property
    def n_test(self) -> int:
        """The number of test examples, summed over folds."""
        return sum(run.result["n_test"] for run in self.runs)

    def mean(self, name: str) -> float | None:
        """Return the mean over folds of one number of the results, or None if a fold lacks it."""
        values = [run.result.get(name) for run in self.runs]
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class PermutationTest:
    """A permutation p-value and the scores that it was computed from. Higher scores are better.

    Args:
        null: the null hypothesis, in words.
        score: of the original data.
        null_scores: one per permutation that has a score.
        n_failed: permutations that were begun and have no score. They count as at least as good as the original data, see
            `shattering.stats.permutation_p_value`.

    Example:
        >>> tested = PermutationTest("labels do not depend on the features", 0.9, (0.4, 0.5, 0.6))
        >>> tested.p_value, tested.n_permutations
        (0.25, 3)
    """

    null: str
    score: float
    null_scores: tuple[float, ...]
    n_failed: int = 0

    @property
    def n_permutations(self) -> int:
        """The number of permutations, failed ones included."""
        return len(self.null_scores) + self.n_failed

    @property
    def n_as_good(self) -> int:
        """The number of permutations at least as good as the original data, failed ones included."""
        return stats.n_as_good(self.score, self.null_scores) + self.n_failed

    @property
    def p_value(self) -> float:
        """(n_as_good + 1) / (n_permutations + 1)."""
        return stats.permutation_p_value(self.score, self.null_scores, self.n_failed)

    @property
    def floor(self) -> float:
        """The smallest p-value that is possible with this number of permutations."""
        return 1 / (self.n_permutations + 1)


@dataclass(frozen=True)
class Comparison:
    """The fits of a model on the original data and on randomized copies.

    Args:
        model: the name of the model.
        repeats: every planned repeat, done or not; the original fit comes first.
        left_out: what a budget left out, in sentences.
        start: the weights that every fit of a torch module's instance started from, "reinitialized" or "given"; None for other
            models.
        notes: what else has to be known of the fits, in sentences: the weights they started from, and what of the model cannot be
            identified, so that no stored run is used again for it.
        objects: the objects that the runs name, such as a model that was handed over as an object.
        duplicates: inputs that are on both sides of the split; None if none were found.
        names: what the user calls the training examples, by id; empty if they have no names.
    """

    model: str
    repeats: tuple[Repeat, ...]
    left_out: tuple[str, ...] = ()
    start: str | None = None
    notes: tuple[str, ...] = ()
    objects: Objects | None = field(default=None, repr=False, compare=False)
    duplicates: Duplicates | None = None
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def original(self) -> Repeat:
        """The fit on the original data."""
        return self.repeats[0]

    @property
    def runs(self) -> list[Run]:
        """The runs of all repeats."""
        return [run for repeat in self.repeats for run in repeat.runs]

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.original.runs[0].result["dataset"]

    @property
    def n_train(self) -> int:
        """The number of training examples."""
        return self.original.runs[0].result["n_train"]

    @property
    def scoring(self) -> str:
        """The name of the score; higher is better."""
        return self.original.runs[0].spec.scoring or "accuracy"

    @property
    def kind(self) -> Kind:
        """The kind of the inputs."""
        result = self.original.runs[0].result
        return result.get("kind") or ("images" if len(result["image_shape"]) == 3 else "table")

    @property
    def parts(self) -> str:
        """The name of the parts of an input of this kind: "pixels", "features", "time steps", "tokens" or "inputs"."""
        return PARTS[self.kind]

    @property
    def is_regression(self) -> bool:
        """True if the labels are numbers, not classes."""
        return "n_classes" not in self.original.runs[0].result

    def title(self, randomization: Randomization) -> str:
        """Return the title of a randomization, in the words of the kind of inputs, such as "features" in place of "pixels"."""
        title = randomization.title.replace("pixels", self.parts)
        return title.replace("labels", "targets") if self.is_regression else title

    @cached_property
    def randomizations(self) -> list[Randomization]:
        """The randomizations that are compared, without the original data."""
        return [r for r in dict.fromkeys(repeat.randomization for repeat in self.repeats) if r != ORIGINAL]

    def of(self, randomization: Randomization | str, done: bool = True) -> list[Repeat]:
        """Return the repeats of one randomization.

        Args:
            randomization: itself, or its name in `shattering.compare.plan.RANDOMIZATIONS`.
            done: return only the repeats that are done.

        Raises:
            InputError: for an unknown name.
        """
        if isinstance(randomization, str):
            (randomization,) = find_randomizations([randomization])
        return [r for r in self.repeats if r.randomization == randomization and (not done or r.status == "done")]

    def test_scores(self, randomization: Randomization | str) -> list[float]:
        """Return the test scores of the repeats that have one."""
        return [repeat.test_score for repeat in self.of(randomization) if repeat.test_score is not None]

    def null_scores(self, randomization: Randomization | str) -> list[float]:
        """Return the null scores (see `Repeat.null_score`) of the repeats that have one."""
        return [repeat.null_score for repeat in self.of(randomization) if repeat.null_score is not None]

    @cached_property
    def tests(self) -> Mapping[Randomization, PermutationTest]:
        """The permutation tests of Ojala and Garriga (2010): test 1 permutes labels, test 2 features within each class.

        Other randomizations have no p-value: their repeats are not exchangeable with the original data under any null hypothesis.
        A test is left out if none of its permutations has a score, and all are if the test split is the train split.
        """
        if self.duplicates and self.duplicates.whole:
            return {}
        tests: dict[Randomization, PermutationTest] = {}
        for r in (LABEL_TEST, FEATURE_TEST):
            nulls = self.null_scores(r)
            n_begun = sum(repeat.begun for repeat in self.of(r, done=False))
            if nulls:
                tests[r] = PermutationTest(TESTS[r], self.original_score(), tuple(nulls), n_begun - len(nulls))
        return tests

    def original_score(self) -> float:
        """Return the original test score. Raises InputError if the original data have not been fitted."""
        score = self.original.test_score
        if score is None:
            raise InputError("the original data have not been fitted, expected that before any comparison")
        return score

    @property
    def p_value(self) -> float | None:
        """The p-value of the label permutation test; None without one.

        It is the probability of scores this good if labels did not depend on features.
        """
        test = self.tests.get(LABEL_TEST)
        return test.p_value if test else None

    @cached_property
    def random_label_repeats(self) -> list[Repeat]:
        """The repeats that are done on permuted labels, or else on random labels."""
        return self.of(LABEL_TEST) or self.of(RANDOMIZATIONS["random-labels"])

    @property
    def random_label_accuracy(self) -> float | None:
        """The mean training accuracy on labels that are independent of the features; None if there are no such repeats."""
        accuracies = [repeat.mean("train_accuracy") for repeat in self.random_label_repeats]
        known = [accuracy for accuracy in accuracies if accuracy is not None]
        return fmean(known) if known else None
