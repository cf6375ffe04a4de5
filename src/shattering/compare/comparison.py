"""The core of a randomization test: its fits, and the numbers that follow from them by counting.

Table, sentences, charts and page are made from a `Comparison`; `RandomizationTest` stands on top of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from statistics import fmean

from shattering.brief import Brief
from shattering.compare.duplicates import Duplicates
from shattering.compare.permutation import Permutation, PermutationTest, permutation_of, permutation_test
from shattering.compare.plan import LABEL_TEST, ORIGINAL, RANDOMIZATIONS, find_randomizations, null_of, without_exchange
from shattering.compare.repeat import Repeat
from shattering.compare.zero_refit import ZeroRefitTest
from shattering.data.kinds import PARTS, Kind
from shattering.errors import InputError
from shattering.randomization import Randomization
from shattering.runs.objects import Objects
from shattering.runs.stored import Run, kind_of, title_of


@dataclass(frozen=True, repr=False)
class Comparison(Brief):
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
        shared_groups: a sentence about groups that are on both sides of the split; None if there are none.
        batched: the permutations that have no run of their own, as they are stored together.
        zero_refit: the zero-refit test of the original fit; None with folds, or if its predictions are not stored.
        admissible: the number of label vectors that the admissible permutations give; None if it is not known.
        stop_after: number of permutations as good as the original data at which a permutation test stops; None: all are done.
        has_groups: True if examples belong to groups, and are not said to be independent by exchange="free".
        best_constant: the best score of a constant answer on the test labels; None if it is not defined.
        group_share: training accuracy, or R², on labels permuted inside of groups, of an answer that knows an example's group alone; None
            where labels are not permuted so.
        n_tested: different examples that the original fit is tested on, of which folds may test some several times; None: as many as
            its runs have.

    Example:
        >>> test.original.test_score, len(test.repeats)
        (0.868, 4)
    """

    model: str
    repeats: tuple[Repeat, ...]
    left_out: tuple[str, ...] = ()
    start: str | None = None
    notes: tuple[str, ...] = ()
    objects: Objects | None = field(default=None, repr=False, compare=False)
    duplicates: Duplicates | None = None
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)
    shared_groups: str | None = None
    batched: tuple[Permutation, ...] = field(default=(), repr=False)
    zero_refit: ZeroRefitTest | None = None
    admissible: float | None = inf
    stop_after: int | None = None
    best_constant: float | None = None
    has_groups: bool = False
    group_share: float | None = None
    n_tested: int | None = None

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
        """The number of training examples; with folds, of the largest."""
        return max(self.fold_sizes)

    @property
    def fold_sizes(self) -> list[int]:
        """The number of training examples of each fold; without folds, of the one train split."""
        return [run.result["n_train"] for run in self.original.runs]

    @property
    def n_test(self) -> int:
        """The number of different test examples, in all folds."""
        return self.original.n_test if self.n_tested is None else self.n_tested

    @property
    def scoring(self) -> str:
        """The name of the score; higher is better."""
        return self.original.runs[0].spec.scoring_name or "accuracy"

    @property
    def kind(self) -> Kind:
        """The kind of the inputs."""
        return kind_of(self.original.runs[0].result)

    @property
    def parts(self) -> str:
        """The name of the parts of an input of this kind: "pixels", "features", "time steps", "tokens" or "inputs"."""
        return PARTS[self.kind]

    @property
    def is_regression(self) -> bool:
        """True if the labels are numbers, not classes."""
        return "n_classes" not in self.original.runs[0].result

    @property
    def label_word(self) -> str:
        """The word that sentences use for the labels: "targets" if they are numbers, else "labels"."""
        return "targets" if self.is_regression else "labels"

    def title(self, randomization: Randomization) -> str:
        """Return the title of a randomization, in the words of the kind of inputs, such as "features" in place of "pixels"."""
        return title_of(randomization, self.original.runs[0].result)

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
        asked = self._here(randomization)
        return [r for r in self.repeats if r.randomization == asked and (not done or r.status == "done")]

    def _here(self, randomization: Randomization) -> Randomization:
        """Return a randomization with the exchange that it has in this test, where it is named without one."""
        all_ = [ORIGINAL, *self.randomizations]
        return next((r for r in all_ if randomization not in all_ and without_exchange(r) == randomization), randomization)

    def permutations(self, randomization: Randomization | str) -> list[Permutation]:
        """Return every planned permutation of a randomization in the order of its number: runs of its own, and stored together.

        Of many permutations of a fast estimator the first few are runs, see `of`; of the others the scores alone are known.
        """
        repeats = self.of(randomization, done=False)
        asked = self._here(repeats[0].randomization) if repeats else randomization
        found = [*map(permutation_of, repeats), *(p for p in self.batched if p.randomization == asked)]
        return sorted(found, key=lambda p: p.number)

    def test_scores(self, randomization: Randomization | str) -> list[float]:
        """Return the test scores of the repeats that have one; of permutations, the null scores."""
        if (repeats := self.of(randomization, done=False)) and null_of(repeats[0].randomization):
            return self.null_scores(randomization)
        return [repeat.test_score for repeat in self.of(randomization) if repeat.test_score is not None]

    def null_scores(self, randomization: Randomization | str) -> list[float]:
        """Return the null scores (see `Repeat.null_score`) of the permutations that have one."""
        return [p.score for p in self.permutations(randomization) if p.score is not None]

    @cached_property
    def tests(self) -> Mapping[Randomization, PermutationTest]:
        """The permutation tests of Ojala and Garriga (2010): test 1 permutes labels, test 2 features within each class.

        Other randomizations have no p-value: their repeats are not exchangeable with the original data under any null hypothesis.
        A test is left out if none of its permutations has a score, and all are if the test split is the train split. Test 1 is left
        out, too, if it permutes labels by "whole" or "shift" and some groups are both in the train and in the test split. Test 2
        supposes independent examples, so it is left out of data with groups.
        """
        if self.duplicates and self.duplicates.whole:
            return {}
        tests: dict[Randomization, PermutationTest] = {}
        unpaired = self.shared_groups is not None and self.original.runs[0].spec.folds is None
        for r in self.randomizations:
            if unpaired and r.exchange in ("whole", "shift"):
                continue  # a group's labels in the two splits would be permuted apart
            if null_of(r) and (r.labels or not self.has_groups):
                found = permutation_test(r, self.original_score(), self.permutations(r), self.admissible, self.stop_after)
                tests |= {r: found} if found else {}
        return tests

    @cached_property
    def label_test(self) -> PermutationTest | None:
        """The permutation test of labels; None without one."""
        return next((test for r, test in self.tests.items() if r.labels), None)

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
        return self.label_test.p_value if self.label_test else None

    @cached_property
    def random_label_repeats(self) -> list[Repeat]:
        """The repeats that are done on permuted labels, or else on random labels."""
        return self.of(LABEL_TEST) or self.of(RANDOMIZATIONS["random-labels"])

    @property
    def random_label_accuracy(self) -> float | None:
        """The mean training accuracy on permuted or random labels; None if there are no such repeats."""
        accuracies = [repeat.mean("train_accuracy") for repeat in self.random_label_repeats]
        known = [accuracy for accuracy in accuracies if accuracy is not None]
        return fmean(known) if known else None

    @property
    def are_labels_independent(self) -> bool:
        """True if the permuted or random labels do not depend on the features; permuted inside of groups, they do by the group."""
        return all(repeat.randomization.exchange in ("free", "whole") for repeat in self.random_label_repeats)

    @property
    def without_memory(self) -> list[tuple[float, str]]:
        """Training accuracies, or R², on permuted labels of answers that memorize none of them, and these in words; a constant first."""
        first = self.random_label_repeats[0]
        constant = 0.0 if self.is_regression else first.mean("majority_share") or 1 / first.runs[0].result["n_classes"]
        answers = [(constant, "a constant answer")]
        if self.are_labels_independent:
            return answers
        if self.group_share is not None:
            return [
                *answers,
                (self.group_share, "the mean of each group" if self.is_regression else "the most frequent label of each group"),
            ]
        changed = fmean(repeat.mean("changed_fraction") or 0.0 for repeat in self.random_label_repeats)
        related = fmean((repeat.mean("target_correlation") or 0.0) ** 2 for repeat in self.random_label_repeats)
        return [*answers, (related, "the original targets") if self.is_regression else (1 - changed, "the original labels")]
