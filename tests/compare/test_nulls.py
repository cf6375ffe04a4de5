"""Tests with groups, splitters, sequential stopping and batches: their p-values equal scikit-learn's on the same permutations."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    permutation_test_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shattering import InputError, Randomization, Store, randomization_test, seeds, summary_table
from shattering.compare import execution
from shattering.compare.budget import Clock
from shattering.compare.page import methods
from shattering.compare.plan import LABEL_TEST
from shattering.data.exchange import exchanged_order
from shattering.runs.fit import load_data

GROUPS = np.repeat(np.arange(12), 5)
QUICK = {"randomizations": ["permuted-labels"], "n_permutations": 8}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Batches are for fits that are quick, which they are here, however busy the machine is."""
    monkeypatch.setattr(execution, "QUICK", 60.0)


def grouped(signal=0.5):
    rng = np.random.default_rng(0)
    y = np.tile([0, 1, 1, 0, 1], 12)
    return rng.normal(size=(60, 3)) + signal * y[:, None], y


def between_neighbours(labels, rng):
    """Twins stand one after the other: each pair keeps its labels or trades them."""
    pairs = np.arange(len(labels)).reshape(-1, 2)
    trades = rng.random(len(pairs)) < 0.5
    order = np.where(trades[:, None], pairs[:, ::-1], pairs).ravel()
    return labels[order]


class Given(np.random.RandomState):
    """A generator whose permutations, of all rows or of the rows of one group, are those of a test of ours."""

    def __init__(self, test, n, groups=None):
        super().__init__(0)
        keys = [seeds.words(p.seed, "labels/train", np.arange(n))[:, 2] for p in test.permutations(LABEL_TEST)]
        self.orders = iter([exchanged_order("free" if groups is None else "within", key, groups) for key in keys])
        self.left = 0

    def permutation(self, rows):
        if isinstance(rows, int):
            return next(self.orders)
        if not self.left:
            self.order, self.left = next(self.orders), len(np.unique(GROUPS))
        self.left -= 1
        return self.order[rows]


SPLITTERS = [
    GroupKFold(4),
    StratifiedGroupKFold(3),
    LeaveOneGroupOut(),
    PredefinedSplit(np.arange(60) % 3),
    [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))],
    4,
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_within_groups_it_agrees_with_scikit_learn_for_any_splitter(cv):
    X, y = grouped()
    ours = randomization_test(GaussianNB(), X, y, groups=GROUPS, cv=cv, **QUICK)
    theirs = StratifiedGroupKFold(4, shuffle=True, random_state=seeds.integer(0, "data/folds") % 2**32) if isinstance(cv, int) else cv
    random = Given(ours, 60, GROUPS)
    score, nulls, p = permutation_test_score(GaussianNB(), X, y, groups=GROUPS, cv=theirs, n_permutations=8, random_state=random)
    tested = ours.label_test
    assert (tested.exchange, len(ours.batched)) == ("within", 5)
    assert tested.score == pytest.approx(score, abs=1e-12)
    np.testing.assert_allclose(tested.null_scores, nulls, atol=1e-12)
    assert ours.p_value == p
    assert (ours.shared_groups is None) == (not isinstance(cv, PredefinedSplit)), "whole groups in every fold, but for the predefined ones"
    assert ours.zero_refit is None


def test_a_regression_agrees_with_scikit_learn():
    X, _ = grouped()
    y = X[:, 0] + np.random.default_rng(1).normal(size=60)
    ours = randomization_test(Ridge(), X, y, cv=3, **QUICK)
    folds = KFold(3, shuffle=True, random_state=seeds.integer(0, "data/folds") % 2**32)
    score, nulls, p = permutation_test_score(Ridge(), X, y, cv=folds, n_permutations=8, random_state=Given(ours, 60))
    assert ours.label_test.score == pytest.approx(score, abs=1e-12)
    np.testing.assert_allclose(ours.label_test.null_scores, nulls, atol=1e-9)
    assert ours.p_value == p
    held_out = randomization_test(Ridge(), X, y, **QUICK)
    assert held_out.zero_refit.p_value < 0.05
    assert held_out.best_constant == pytest.approx(0)
    assert str(held_out.head[0]).startswith("Score      test r2 0.")


@pytest.mark.parametrize(
    ("cv", "n_tested"),
    [(TimeSeriesSplit(3), 18), (RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0), 24), (5, 24)],
)
def test_the_best_constant_and_the_number_of_examples_are_those_of_the_folds(cv, n_tested):
    """Later folds of a series test other shares of the classes than all examples have; repeated folds test each example again."""
    X, y = np.random.default_rng(0).normal(size=(24, 2)), np.arange(24) // 10 > 0
    ours = randomization_test(DummyClassifier(), X, y, cv=cv, **QUICK)
    each = [y[rows] for rows in _tested(cv, X, y)]
    assert ours.best_constant == pytest.approx(max(np.mean([np.mean(labels == c) for labels in each]) for c in (False, True)))
    assert ours.n_test == ours.to_json()["n_test"] == n_tested
    assert f"on {n_tested} examples; best constant" in str(ours.head[0])
    scores = [[f1_score(labels, np.full(len(labels), c), average="macro") for labels in each] for c in (False, True)]
    by_f1 = randomization_test(DummyClassifier(), X, y, cv=cv, scoring="f1_macro", **QUICK)
    assert by_f1.best_constant == pytest.approx(np.mean(scores, axis=1).max())


def test_the_best_constant_of_a_regression_is_one_for_all_folds():
    """Fitted to each left-out target by itself a constant would have no error."""
    X = np.random.default_rng(0).normal(size=(24, 2))
    y = 3 * X[:, 0] + np.random.default_rng(1).normal(size=24) / 4
    ours = randomization_test(Ridge(1e-3), X, y, cv=LeaveOneOut(), scoring="neg_mean_absolute_error", **QUICK)
    assert ours.best_constant == pytest.approx(-np.abs(y - np.median(y)).mean())
    assert not any("no better than a constant" in sentence for sentence in ours.summary)


def test_the_number_of_training_examples_is_that_of_the_largest_fold():
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    ours = randomization_test(GaussianNB(), X, y, cv=TimeSeriesSplit(4), **QUICK)
    assert ours.n_train == 48
    assert "The folds train on 12 to 48 examples, and n is that of the largest; scores are means over folds." in ours.summary
    assert summary_table(ours.runs)["n_train"].tolist() == [48, 48]
    even = randomization_test(GaussianNB(), X, y, cv=7, **QUICK)
    assert (even.n_train, len(set(even.fold_sizes))) == (52, 2)
    assert not any("folds train on" in sentence for sentence in even.summary)


def _tested(cv, X, y):
    splitter = StratifiedKFold(cv, shuffle=True, random_state=seeds.integer(0, "data/folds") % 2**32) if cv == 5 else cv
    return [rows for _, rows in splitter.split(X, y)]


def test_a_constant_is_no_better_than_a_constant_in_folds_of_unequal_sizes():
    X, y = np.zeros((11, 1)), np.arange(11) % 2
    ours = randomization_test(DummyClassifier(), X, y, cv=2, **QUICK)
    assert ours.original.test_score == ours.best_constant == pytest.approx((3 / 6 + 3 / 5) / 2)
    assert ours.summary[0].startswith("On the original data it is no better than a constant answer")


def half(estimator, X, y):
    """A scorer of the user's own."""
    return accuracy_score(y, estimator.predict(X)) / 2


def test_own_scorers_and_random_splitters():
    X, y = grouped(1.0)
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2)
    ours = randomization_test(GaussianNB(), X, y, cv=cv, scoring=half, **QUICK)
    seeded = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=seeds.integer(0, "data/folds") % 2**32)
    _, nulls, p = permutation_test_score(GaussianNB(), X, y, cv=seeded, scoring=half, n_permutations=8, random_state=Given(ours, 60))
    np.testing.assert_allclose(ours.label_test.null_scores, nulls, atol=1e-12)
    assert (ours.p_value, ours.scoring, ours.best_constant) == (p, "half", 0.3)
    held_out = randomization_test(GaussianNB(), X, y, scoring="roc_auc", **QUICK)
    assert not any("zero-refit" in sentence for sentence in held_out.summary)
    assert (held_out.zero_refit.n_permutations, held_out.best_constant) == (9999, 0.5)
    assert held_out.zero_refit.score == held_out.original.test_score


def test_the_default_exchange_is_whole_where_groups_have_one_label():
    rng = np.random.default_rng(2)
    y, X = np.repeat(rng.permutation(12) % 2, 5), rng.normal(size=(12, 3))[GROUPS] + 0.1 * rng.normal(size=(60, 3))
    free = randomization_test(
        KNeighborsClassifier(1), X, y, groups=GROUPS, exchange="free", cv=StratifiedKFold(3, shuffle=True, random_state=0), **QUICK
    )
    whole = randomization_test(KNeighborsClassifier(1), X, y, groups=GROUPS, cv=StratifiedKFold(3, shuffle=True, random_state=0), **QUICK)
    assert free.p_value == 1 / 9, "the neighbour is of the same group: what permutations of single labels destroy"
    assert whole.p_value > 0.5
    assert (whole.label_test.exchange, whole.admissible) == ("whole", 924)
    assert whole.title(whole.randomizations[0]) == "random labels (exchanged between groups)"
    assert whole.of("permuted-labels") == whole.of(LABEL_TEST) == whole.of(whole.randomizations[0])
    assert whole.summary[1].startswith("12 groups have examples in the training part and in the test part of a fold")
    assert "924 admissible permutations" in str(whole)
    few = randomization_test(KNeighborsClassifier(1), X[:20], y[:20], groups=GROUPS[:20], cv=2, **QUICK)
    assert any(sentence.startswith("No verdict on whether it learns") for sentence in few.summary)
    assert few.label_test.floor == 1 / few.admissible


def test_features_within_a_class_have_no_p_value_where_rows_go_together():
    X, y = grouped()
    test = randomization_test(GaussianNB(), X, y, groups=GROUPS, randomizations=["within-class"], n_permutations=2)
    assert test.tests == {}


def test_a_sequential_test_stops_early_and_says_so():
    X, y = grouped(0.0)
    test = randomization_test(GaussianNB(), X, y, randomizations=["permuted-labels"], n_permutations=199, stop_after=3, cv=3)
    tested = test.label_test
    assert tested.sequential.stopped
    assert tested.p_value == 3 / tested.n_permutations
    assert sum(p.is_begun for p in test.permutations(LABEL_TEST)) < 60
    assert "stopped at the permutation that made 3 of" in test.summary[1]
    assert "Besag and Clifford" in test.to_html()
    assert not any("were not run" in sentence for sentence in test.summary)


class Half(ClassifierMixin, BaseEstimator):
    """Fails on half of the labels."""

    def fit(self, X, y):
        if y[0] == 1:
            raise RuntimeError("not these labels")
        self.inner_ = GaussianNB().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(X)


def test_permutations_that_fail_in_a_batch_count_as_good_and_are_found_again(tmp_path):
    X, y = grouped(2.0)
    arguments = {"randomizations": ["permuted-labels"], "n_permutations": 30, "store": tmp_path}
    first = randomization_test(Half(), X, y, **arguments)
    tested = first.label_test
    failed = sum(p.status == "failed" for p in first.permutations(LABEL_TEST))
    assert 0 < failed == tested.n_failed <= tested.n_as_good
    assert f"{failed} of 31 repeats FAILED; the first: RuntimeError: not these labels" in "\n".join(first.summary)
    assert first.table["repeats"].tolist() == [1, 30 - failed]
    assert len(first.records) == 31
    started = [run.provenance.get("started") for run in Store(tmp_path).everything() if run.status == "done"]
    again = randomization_test(Half(), X, y, **arguments)
    assert again.label_test == tested
    assert [run.provenance.get("started") for run in Store(tmp_path).everything() if run.status == "done"] == started
    more = randomization_test(Half(), X, y, **{**arguments, "n_permutations": 60})
    assert more.label_test.null_scores[: len(tested.null_scores)] == tested.null_scores


def test_batches_in_other_processes_give_the_same():
    X, y = grouped()
    one = randomization_test(GaussianNB(), X, y, randomizations=["permuted-labels"], n_permutations=30)
    two = randomization_test(GaussianNB(), X, y, randomizations=["permuted-labels"], n_permutations=30, jobs=2)
    assert one.label_test == two.label_test
    assert len(one.batched) == 27


class Counted(GaussianNB):
    """Counts the fits of all its clones."""

    fits = 0

    def fit(self, X, y):
        Counted.fits += 1
        return super().fit(X, y)


def test_a_batch_ends_with_the_budget_and_keeps_its_scores(monkeypatch):
    monkeypatch.setattr(Clock, "left", property(lambda _: 0.0 if Counted.fits >= 40 else 1e9))
    test = randomization_test(Counted(), *grouped(), randomizations=["permuted-labels"], n_permutations=200, budget="1h")
    done = test.label_test.n_permutations
    assert 3 < done < 40
    assert test.label_test.n_failed == 0
    assert f"{200 - done} of 201 repeats were not run" in "\n".join(test.summary)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"exchange": "whole"}, "exchange is 'whole' without groups"),
        ({"exchange": "blocks"}, "unknown exchange 'blocks'"),
        ({"exchange": between_neighbours}, "the train split has only some of the rows of its source"),
        ({"exchange": between_neighbours, "cv": 3, "n_train": 30}, "the train split has only some of the rows"),
        ({"exchange": ""}, "unknown exchange ''"),
        (
            {"randomizations": [Randomization(labels=1, label_mode="permute", exchange="shift")]},
            "randomizations has labels exchanged by 'shift' in a test with exchange 'free', expected one",
        ),
        (
            {"randomizations": ["permuted-labels", Randomization(labels=1, label_mode="permute", exchange="shift")], "exchange": "shift"},
            r"randomizations has 'random labels \(shifted\)' twice",
        ),
        ({"cv": "five"}, "cv is 'five', expected a number, a splitter"),
        ({"cv": [0, 1, 2]}, r"cv is \[0, 1, 2\], expected a list of \(training rows, test rows\)"),
        ({"cv": [(np.arange(40), np.arange(30, 60))]}, "^cv, a list of folds, has 10 examples on both sides of fold 0"),
        ({"cv": [(np.arange(40), np.arange(40, 60))]}, "^cv makes 1 fold, expected at least 2: one split is data of four arrays"),
        ({"cv": [(np.arange(40), np.arange(50, 70))]}, r"gave rows in 50…69, expected some of 0…59"),
        ({"cv": [(np.arange(40), np.array([]))]}, "expected different row numbers"),
        ({"cv": KFold(61)}, "cv, KFold, cannot cut 60 examples"),
        ({"cv": KFold(3, shuffle=True, random_state=np.random.RandomState(0))}, "has a generator as random_state"),
        ({"stop_after": 0}, "stop_after is 0"),
        ({"stop_after": 9}, "stop_after is 9, expected at most 8, the number of permutations"),
        ({"stop_after": 1, "randomizations": ["random-labels"]}, "stop_after is 1, expected none: no permutation test is compared"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(InputError, match=said):
        randomization_test(GaussianNB(), *grouped(), **(QUICK | arguments))


def test_a_randomization_says_how_labels_are_exchanged():
    for bad in ({"exchange": "within"}, {"exchange": "whole", "labels": 0.5, "label_mode": "permute"}, {"exchange": "x"}):
        with pytest.raises(InputError, match="exchange"):
            Randomization(**bad)
    assert Randomization(labels=1, label_mode="permute", exchange="shift").title == "random labels (shifted)"


def test_groups_on_both_sides_of_a_test_split_have_no_p_value_where_they_are_exchanged_whole():
    """Simulated without signal, 90 % of such data sets would be rejected: a group's labels in the two splits are permuted apart."""
    y, X = np.repeat(np.arange(12) % 2, 5), np.random.default_rng(3).normal(size=(60, 3))
    odd = np.arange(60) % 2 == 1
    four = (X[odd], y[odd], X[~odd], y[~odd])
    test = randomization_test(KNeighborsClassifier(1), four, groups=(GROUPS[odd], GROUPS[~odd]), **QUICK)
    assert (test.tests, test.zero_refit, test.p_value) == ({}, None, None)
    assert any("12 groups have examples in the train and in the test split" in sentence for sentence in test.summary)


def test_a_function_exchanges_labels_as_its_name_says_in_every_kind_of_repeat(tmp_path):
    """Twins with one label each: their labels never change, so every permutation scores as the original does."""
    X, y = grouped()
    y = np.array(["ill", "well"])[np.repeat(y[:30], 2)]
    arguments = {"cv": 3, "randomizations": ["permuted-labels"], "n_permutations": 6, "exchange": between_neighbours, "store": tmp_path}
    test = randomization_test(GaussianNB(), X, y, **arguments)
    assert (test.p_value, len(test.batched), test.label_test.exchange) == (1.0, 3, "between_neighbours()")
    assert {p.score for p in test.permutations("permuted-labels")} == {test.original.test_score}
    assert "Labels     are permuted by between_neighbours(): an unknown number of admissible permutations" in str(test)
    assert test.to_json()["admissible"] == "unknown"
    assert "Labels were permuted by between_neighbours()." in methods(test)
    (name,) = {p.name for p in tmp_path.glob("*") if "batch" in p.name or "permutations" in p.name}
    again = randomization_test(GaussianNB(), X, y, **arguments)
    assert [run.run_id for run in again.runs] == [run.run_id for run in test.runs]
    assert (tmp_path / name / "result.json").exists()


def test_a_function_exchanges_training_and_test_labels_by_themselves():
    X, y = grouped(3.0)
    test = randomization_test(GaussianNB(), (X[:40], y[:40], X[40:], y[40:]), exchange=between_neighbours, **QUICK)
    twins = np.sort(y[40:].reshape(-1, 2))
    for repeat in test.of("permuted-labels"):
        data, _ = load_data(repeat.runs[0].spec, test.objects)
        assert (np.sort(data.train.y.reshape(-1, 2)) == np.sort(y[:40].reshape(-1, 2))).all()
    assert test.zero_refit.n_permutations == 999
    assert test.zero_refit.to_json()["admissible"] == "unknown"
    lowest = 1 - (twins[:, 0] != twins[:, 1]).mean()
    assert lowest <= test.zero_refit.null_mean < test.zero_refit.score
    targets = X[:, 0] + X[:, 1]
    regression = randomization_test(Ridge(), (X[:40], targets[:40], X[40:], targets[40:]), exchange=between_neighbours, **QUICK)
    assert regression.zero_refit.p_value < 0.05


SUBJECTS = np.repeat(np.arange(20), 6)
OF_SUBJECT = (np.random.default_rng(0).normal(size=20) > 0)[SUBJECTS]
MOSTLY = OF_SUBJECT ^ (np.arange(120) % 6 == 0)  # five of six rows have the label of their subject
ONE_HOT = np.eye(20)[SUBJECTS]


def rolled_by_two(labels, rng):
    return np.roll(labels, 2)  # without a draw, which would follow from the code of this function as Python compiles it


@pytest.mark.parametrize(
    ("y", "how", "verdict", "baseline"),
    [
        (MOSTLY, {"groups": SUBJECTS}, "not judged", "(the most frequent label of each group: 83.3%)"),
        (MOSTLY, {"groups": SUBJECTS, "exchange": "shift"}, "not judged", "(the most frequent label of each group: 83.3%)"),
        (MOSTLY, {"exchange": rolled_by_two}, "not judged", "(the original labels: "),
        (OF_SUBJECT, {"groups": SUBJECTS, "exchange": "within"}, "not judged", "(the most frequent label of each group: 100.0%)"),
        (MOSTLY, {"groups": SUBJECTS, "exchange": "free"}, "part", "that are independent of the features (a constant answer: "),
    ],
)
def test_what_is_known_of_a_group_is_not_memorized(y, how, verdict, baseline):
    """Labels that are permuted inside of groups depend on the features by the groups, and a model that knows these alone fits many."""
    test = randomization_test(
        DecisionTreeClassifier(), ONE_HOT, y, cv=KFold(4), randomizations=["permuted-labels"], n_permutations=2, **how
    )
    line = next(line for line in test.answer if line.name == "Memorizes")
    sentence = next(sentence for sentence in test.summary if "memorize" in sentence)
    assert line.verdict == verdict
    assert baseline in sentence
    assert ("independent of the features" in sentence) == (how.get("exchange") == "free")
    assert "it only could" not in " ".join(test.not_shown)


def test_the_mean_of_a_group_is_not_memorized_either():
    y = SUBJECTS + np.random.default_rng(0).normal(size=120)
    test = randomization_test(
        DecisionTreeRegressor(), ONE_HOT, y, groups=SUBJECTS, cv=KFold(4), randomizations=["permuted-labels"], n_permutations=3
    )
    line = next(line for line in test.answer if line.name == "Memorizes")
    assert (line.verdict, line.text.partition("; ")[2][:18]) == ("not judged", "the mean of each g")


@pytest.mark.parametrize(
    ("model", "verdict"), [(DecisionTreeClassifier(), "all"), (DummyClassifier(), "hardly"), (KNeighborsClassifier(3), "not judged")]
)
def test_groups_that_the_features_do_not_tell_take_nothing_from_what_is_memorized(model, verdict):
    """A neighbour of three fits 72 % of the labels: the majority of pairs would, too, but nothing says that it knows the pairs."""
    rng = np.random.default_rng(0)
    X, y, pairs = rng.normal(size=(72, 4)), rng.permutation(np.arange(72) % 2), np.arange(72) // 2
    test = randomization_test(model, X, y, groups=pairs, cv=KFold(4), randomizations=["permuted-labels"], n_permutations=2)
    assert [line.verdict for line in test.answer if line.name == "Memorizes"] == [verdict]


def test_random_labels_are_independent_of_groups_too():
    test = randomization_test(
        DecisionTreeClassifier(), ONE_HOT, MOSTLY, groups=SUBJECTS, cv=KFold(4), randomizations=["random-labels"], n_permutations=1
    )
    assert "independent of the features (a constant answer: " in " ".join(test.summary)


def test_a_batch_that_cannot_be_read_is_said_with_the_remedy(tmp_path):
    test = lambda: randomization_test(KNeighborsClassifier(), ONE_HOT, MOSTLY, cv=3, **QUICK, store=tmp_path)  # noqa: E731
    test()
    (table,) = tmp_path.glob("*permutations*/table.parquet")
    table.write_bytes(table.read_bytes()[:100])
    said = " ".join(test().summary)
    assert f"5 of 9 repeats CANNOT BE READ; the first: {table} is not readable, remove its folder to run it again" in said
    assert "were not run" not in said
