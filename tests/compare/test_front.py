import copy
import errno
import gc
import pickle
import shutil
import textwrap
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, permutation_test_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from shattering import InputError, Randomization, Store, load_dataset, randomization_test, randomize, seeds, summary_table
from shattering.cli import main
from shattering.compare.page import methods
from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, ORIGINAL
from shattering.compare.table import format_table
from shattering.data import load
from shattering.data.arrays import dataset_from_arrays
from shattering.runs.fit import evaluate, load_data
from tests.compare.fakes import fake_repeat, fake_test
from tests.data.test_load import encode, pictures, write_folder

QUICK = {"n_train": 200, "n_test": 100}


def table(seed=0, n=60, shift=1.0, d=4):
    """Two classes of normal features, `shift` apart in each; float32, as runs have them."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return (generator.normal(size=(n, d)) + shift * y[:, None]).astype(np.float32), y


class Shared(np.random.RandomState):
    """A generator whose permutations are those given, in turn."""

    def __init__(self, permutations):
        super().__init__(0)
        self.given = iter(permutations)

    def permutation(self, n):
        return next(self.given)


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy", "neg_log_loss"])
@pytest.mark.parametrize(("seed", "sizes"), [(0, (30, 30)), (1, (31, 18, 11))])
def test_it_agrees_with_scikit_learn_on_the_same_permutations(seed, sizes, scoring, tmp_path):
    """Folds are made alike too, of the labels of each permutation; classes of unequal size tell other ways from it."""
    X, _ = table(seed, shift=0.0)
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    X += 0.5 * y[:, None].astype(np.float32)
    model = LogisticRegression()
    ours = randomization_test(
        model, (X, y), randomizations=["permuted-labels"], n_permutations=19, cv=3, scoring=scoring, seed=seed, store=tmp_path
    )

    whole = load_dataset((X, y), hold_out=False).train
    permutations = []
    for permutation in ours.permutations(LABEL_TEST):
        labels = LABEL_TEST.corrupt(whole, permutation.seed, "train").numpy()
        permutations.append(order_giving(y, labels))
    score, nulls, p = permutation_test_score(
        model, X, y, cv=scikit_folds(3, seed), n_permutations=19, random_state=Shared(permutations), scoring=scoring or "accuracy"
    )
    tested = ours.tests[LABEL_TEST]
    assert tested.score == pytest.approx(score, abs=1e-12)
    np.testing.assert_allclose(tested.null_scores, nulls, atol=1e-12)
    assert ours.p_value == p


def scikit_folds(n, seed):
    """Scikit-learn's splitter that makes the folds of a test with this seed."""
    return StratifiedKFold(n, shuffle=True, random_state=seeds.integer(seed, "data/folds") % 2**32)


def order_giving(y, labels):
    """A permutation with y[permutation] = labels."""
    order = np.empty(len(y), dtype=int)
    for k in np.unique(y):
        order[np.flatnonzero(labels == k)] = np.flatnonzero(y == k)
    return order


def test_p_values_are_uniform_under_the_null_and_small_off_it():
    """Labels that do not depend on features: P(p <= a) = a at the multiples of 1/20, whatever the model."""
    ps = []
    for seed in range(20):
        X, y = table(seed, n=40, shift=0.0)
        ps.append(randomization_test(GaussianNB(), (X, y), randomizations=["permuted-labels"], n_permutations=19, seed=seed).p_value)
    ps = np.array(ps)
    assert ps.min() >= 0.05
    # ties between accuracies on few examples only make p larger: it must not be smaller than uniform
    assert stats.kstest(ps, lambda a: np.floor(20 * np.asarray(a) + 1e-9) / 20, alternative="greater").pvalue > 0.01
    assert 0.4 < ps.mean() < 0.7


def test_it_finds_clusters_though_a_model_of_permuted_labels_may_name_them_rightly():
    X, y = table(0, n=100, shift=2.0)
    test = randomization_test(GaussianNB(), (X, y), randomizations=["permuted-labels"])
    assert test.p_value == 0.05
    spec = replace(test.original.runs[0].spec, randomization=LABEL_TEST)
    fits = [evaluate(replace(spec, seed=p.seed), test.objects) for p in test.permutations(LABEL_TEST)]
    assert max(fit.result["test_accuracy"] for fit in fits) == test.original.test_score, "true test labels would not have found it"


def test_features_that_say_something_only_together_are_told_from_those_that_say_it_alone():
    generator = np.random.default_rng(0)
    a, b = generator.choice([-1, 1], (2, 300))
    together = np.stack([a, b], 1) + 0.1 * generator.normal(size=(300, 2))
    alone = np.stack([a, a], 1) + 0.1 * generator.normal(size=(300, 2))
    names = ["permuted-labels", "within-class"]
    xor = randomization_test(KNeighborsClassifier(3), (together, (a * b + 1) // 2), randomizations=names)
    same = randomization_test(KNeighborsClassifier(3), (alone, (a + 1) // 2), randomizations=names)
    assert xor.tests[FEATURE_TEST].p_value == 0.05
    assert same.tests[FEATURE_TEST].p_value > 0.2
    assert xor.p_value == same.p_value == 0.05


def test_a_second_call_finds_everything_and_an_edited_model_finds_nothing(tmp_path):
    source = """
        from sklearn.neighbors import KNeighborsClassifier
        def build():
            return wrapped(KNeighborsClassifier(1))
        def wrapped(model):
            return Scaled(model)
        from sklearn.base import BaseEstimator, ClassifierMixin
        class Scaled(ClassifierMixin, BaseEstimator):
            def __init__(self, model=None):
                self.model = model
            def fit(self, X, y):
                self.model.fit(2 * X, y)
                return self
            def predict(self, X):
                return self.model.predict(2 * X)
    """
    file, store = tmp_path / "edited_model.py", tmp_path / "store"
    arguments = {"data": "digits", "randomizations": ["permuted-labels"], "n_permutations": 2, "store": store, **QUICK}

    def runs():
        file.write_text(textwrap.dedent(source))
        return {run.run_id: run.provenance["started"] for run in randomization_test(f"{file}:build", **arguments).runs}

    first = runs()
    assert runs() == first
    source = source.replace("2 * X, y", "30 * X, y")
    edited = runs()
    assert not set(edited) & set(first)
    source = source.replace("30 * X, y", "2 * X, y")
    assert runs() == first
    assert len(Store(store).runs()) == 6


class Picky(ClassifierMixin, BaseEstimator):
    """Cannot stand labels that neighbours do not share."""

    def __init__(self, breaks_on=None):
        self.breaks_on = breaks_on

    def fit(self, X, y):
        self.inner_ = KNeighborsClassifier(5).fit(X, y)
        if self.inner_.score(X, y) < 0.6 or self.breaks_on == "all":
            raise RuntimeError("I will not learn this")
        return self

    def predict(self, X):
        return self.inner_.predict(X)


def test_a_repeat_that_fails_stays_in_the_table_and_a_natural_fit_that_fails_is_raised():
    test = randomization_test(Picky(), "digits", randomizations=["shuffled-pixels", "permuted-labels"], n_permutations=2, **QUICK)
    assert [repeat.status for repeat in test.of(LABEL_TEST, done=False)] == ["failed", "failed"]
    assert test.p_value is None
    assert "FAILED; the first: RuntimeError: I will not learn this" in "\n".join(test.summary)
    assert list(test.table["not_done"]) == [0, 0, 2]
    with pytest.raises(RuntimeError, match="I will not learn this"):
        randomization_test(Picky("all"), "digits", **QUICK)


class PickyHalf(Picky):
    """Cannot stand half of the labels."""

    def fit(self, X, y):
        if y[0] == 1 and self.breaks_on != "nothing":
            raise RuntimeError("I will not learn this")
        self.inner_ = KNeighborsClassifier(5).fit(X, y)
        return self


def test_fits_whose_input_is_bad_before_training_are_told_as_failed(monkeypatch):
    def refuse(data, randomization, *more):
        if randomization.labels:
            raise InputError("these labels stay as they are")
        return randomize(data, randomization, *more)

    monkeypatch.setattr("shattering.runs.fit.randomize", refuse)
    test = randomization_test(GaussianNB(), table(), randomizations=["permuted-labels"], n_permutations=2)
    assert [repeat.status for repeat in test.repeats] == ["done", "failed", "failed"]
    assert any("2 of 3 repeats FAILED; the first: InputError: these labels stay as they are" in line for line in test.summary)


def test_a_store_that_cannot_be_written_is_no_failure_of_the_model(monkeypatch, tmp_path):
    """Each repeat would be "not run" otherwise, for no reason that is told."""
    arguments = {"randomizations": ["permuted-labels"], "store": tmp_path, **QUICK}
    randomization_test("nearest-neighbors", "digits", n_permutations=1, **arguments)

    def full(path, _):
        raise OSError(errno.ENOSPC, f"no space left to write {path}")

    monkeypatch.setattr("shattering.runs.store.write_own", full)
    assert randomization_test("nearest-neighbors", "digits", n_permutations=1, **arguments).p_value == 0.5
    for n in (2, 40):  # runs of their own, and a batch
        with pytest.raises(OSError, match=r"no space left to write .*spec\.json"):
            randomization_test("nearest-neighbors", "digits", n_permutations=n, **arguments)


class Remover(ClassifierMixin, BaseEstimator):
    """Removes a folder when it is fitted to labels that are not in order."""

    def __init__(self, folder=""):
        self.folder = folder

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if (y[:4] != [0, 1, 0, 1]).any():
            shutil.rmtree(self.folder, ignore_errors=True)
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def test_a_fit_to_the_original_data_that_somebody_removes_is_told(tmp_path):
    X, y = table()
    with pytest.raises(InputError, match=r"run arrays-.* is missing, expected nobody to change its folder while it is executed"):
        randomization_test(Remover(str(tmp_path)), (X, y, X, y), randomizations=["permuted-labels"], n_permutations=1, store=tmp_path)


def test_permutations_that_fail_count_as_good_as_the_original_data():
    X, y = table(0, shift=3.0)
    test = randomization_test(PickyHalf(), (X, y), randomizations=["permuted-labels"], n_permutations=19, seed=1)
    tested, failed = test.tests[LABEL_TEST], sum(p.status == "failed" for p in test.permutations(LABEL_TEST))
    assert 0 < failed < 19
    assert (tested.n_failed, tested.n_permutations, tested.n_as_good) == (failed, 19, failed)
    assert test.p_value == (failed + 1) / 20
    assert test.table["n_as_good"][1] == failed
    assert f"{failed} of 19 permutations scored at least as high, counting the {failed} without a score" in test.summary[0]
    assert f"the {failed} without a score among them" in test.to_html()
    assert randomization_test(PickyHalf("nothing"), (X, y), randomizations=["permuted-labels"], seed=1).p_value == 0.05


def test_permutations_that_were_not_begun_do_not_count():
    """What ends a test is time, never a score."""
    original, *permutations = [fake_repeat(), *(fake_repeat(LABEL_TEST, i, test=0.1) for i in range(10))]
    missing = [fake_repeat(LABEL_TEST, i, status="missing") for i in range(10, 19)]
    assert fake_test(original, *permutations, *missing).p_value == 1 / 11
    begun = fake_repeat(LABEL_TEST, 10, status="interrupted")
    assert fake_test(original, *permutations, begun, *missing[1:]).p_value == 2 / 12, "one that took longer may be one that did better"
    with pytest.raises(InputError, match="score is nan"):
        fake_test(fake_repeat(test=float("nan")), *permutations).p_value  # noqa: B018


def test_a_constant_answer_learns_nothing():
    """Of folds that are balanced in the true labels, permuted ones are not, and a constant answer would score below chance on them."""
    X, y = table(0, n=20, shift=0.0)
    test = randomization_test(DummyClassifier(strategy="most_frequent"), (X, y), cv=10, randomizations=["permuted-labels"])
    assert test.p_value == 1
    assert "no better than a constant answer" in test.summary[0]
    assert "No evidence that it learns" in test.summary[1]


@pytest.mark.filterwarnings("ignore:Only one class is present")
@pytest.mark.parametrize("folds", [None, 4])
def test_scorers_that_need_both_classes_have_them_on_unbalanced_data(folds):
    X, _ = table(0, n=40)
    y = np.array([1, 0, 0, 0, 0] * 8) if folds else np.array([1] * 3 + [0] * 37)
    for seed in range(2):
        test = randomization_test(
            GaussianNB(), (X, y), cv=folds, scoring="roc_auc", randomizations=["permuted-labels"], n_permutations=4, seed=seed
        )
        assert {repeat.status for repeat in test.repeats} == {"done"}
        assert test.tests[LABEL_TEST].n_failed == 0
        assert len(test.table) == 2


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_a_natural_score_that_is_not_a_number_is_said_in_one_sentence(capsys, tmp_path):
    X, y = table(0)
    given = (X, y, X[y == 0], y[y == 0])
    with pytest.raises(InputError, match="scoring 'roc_auc' has no value on the test split"):
        randomization_test(GaussianNB(), given, scoring="roc_auc")


def test_repeats_of_other_data_of_the_same_name_are_refused(tmp_path, monkeypatch):
    """Named data are known by their name: what lies in SHATTERING_DATA may be another encoding than what a store was made from."""
    arguments = {"randomizations": ["permuted-labels"], "store": tmp_path, **QUICK}
    randomization_test(GaussianNB(), "digits", n_permutations=1, **arguments)
    digits = load._digits
    monkeypatch.setattr(load, "_digits", lambda: replace(digits(), variant="digits (JPEG)"))
    monkeypatch.setattr("shattering.runs.fit._last_loaded", {})
    with pytest.raises(
        InputError, match=r"was made from other data than the original fit: its dataset is 'digits \(JPEG\)', expected 'digits'"
    ):
        randomization_test(GaussianNB(), "digits", n_permutations=2, **arguments)


def test_a_file_that_was_renamed_has_the_runs_that_it_had(tmp_path):
    """Its content identifies it; the report reads its data again, and rows of both names are one configuration."""
    X, y = table()
    arguments = {"target": "y", "randomizations": ["permuted-labels"], "store": tmp_path / "store"}
    for name, n in (("a", 1), ("b", 2)):
        pd.DataFrame(X).add_prefix("x").assign(y=y).to_csv(tmp_path / f"{name}.csv", index=False)
        test = randomization_test("nearest-neighbors", tmp_path / f"{name}.csv", n_permutations=n, **arguments)
        test.to_html(tmp_path / "report.html")
        assert f"nearest-neighbors on {test.dataset}" in (tmp_path / "report.html").read_text()
    assert len(Store(tmp_path / "store").runs()) == 3
    assert summary_table(tmp_path / "store")["runs"].tolist() == [1, 2]


def test_labels_cannot_be_permuted_by_ids_that_repeat():
    whole = load_dataset(table(), hold_out=False).train
    repeated = replace(whole, ids=whole.ids // 2)
    with pytest.raises(InputError, match="ids repeat"):
        LABEL_TEST.corrupt(repeated, 0, "train")


def test_jobs_give_the_same_numbers_as_one(tmp_path):
    X, y = table(3, n=80)
    arguments = {"randomizations": ["permuted-labels", "gaussian-pixels"], "n_permutations": 3, "seed": 5}
    one = randomization_test(GaussianNB(), (X, y), **arguments)
    two = randomization_test(GaussianNB(), (X, y), jobs=2, store=tmp_path, **arguments)
    columns = ["randomization", "repeat", "seed", "status", "train_score", "test_score", "run_id"]
    pd.testing.assert_frame_equal(one.records[columns], two.records[columns])


def test_a_network_is_tracked_and_says_when_it_memorizes():
    hyperparameters = {"epochs": 30, "batch_size": 20, "learning_rate": 0.1}
    test = randomization_test(
        "mlp-1x64", "digits", randomizations=["corrupted-labels"], n_permutations=1, hyperparameters=hyperparameters, **QUICK
    )
    (wrong,) = test.memorization
    assert wrong.memorized > 0.9
    assert wrong.memorized + wrong.as_true <= 1
    assert wrong.start.epoch > wrong.peak.epoch
    assert wrong.precision > 2 * wrong.corrupted
    assert set(test.label_issues["id"]) == set(load_data(test.original.runs[0].spec)[0].train.ids.tolist())
    assert test.label_issues["label_quality"].is_monotonic_increasing
    assert "Memorization starts at epoch" in "\n".join(test.summary)
    assert "We trained mlp-1x64 (batch_size = 20, epochs = 30, learning_rate = 0.1" in methods(test)


def test_label_issues_with_folds_are_of_all_examples():
    hyperparameters = {"epochs": 2, "batch_size": 20}
    test = randomization_test(
        "mlp-1x8", "digits", n_train=60, cv=3, randomizations=["permuted-labels"], n_permutations=1, hyperparameters=hyperparameters
    )
    first, second, _ = (run.examples for run in test.original.runs)
    assert len(test.label_issues) == test.label_issues["id"].nunique() == 60
    found = dict(zip(test.label_issues["id"], -test.label_issues["label_quality"], strict=True))
    assert all(found[i] == loss for i, loss in zip(first["id"], first["mean_loss"], strict=True))
    others = second[~second["id"].isin(first["id"])]
    assert len(others) == 20
    assert all(found[i] == loss for i, loss in zip(others["id"], others["mean_loss"], strict=True))


def test_wrong_labels_at_the_end_are_known_of_every_model():
    test = randomization_test(KNeighborsClassifier(1), "digits", randomizations=["corrupted-labels"], n_permutations=1, **QUICK)
    (memorized,) = test.memorization
    assert (memorized.memorized, memorized.clean, memorized.start) == (1.0, 1.0, None)
    assert test.label_issues is None
    smooth = randomization_test(KNeighborsClassifier(7), "digits", randomizations=["corrupted-labels"], n_permutations=1, **QUICK)
    assert smooth.memorization[0].as_true > 0.7
    assert "predicts the true class of" in "\n".join(smooth.summary)


def test_forms_of_a_result(tmp_path):
    test = randomization_test(KNeighborsClassifier(1), "digits", n_permutations=2, **QUICK)
    assert test.original.randomization == ORIGINAL
    assert len(test.table) == 7
    html = test.to_html(tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text() == html
    assert "Methods" in html
    assert "We trained KNeighborsClassifier (n_neighbors = 1) on 200 examples of digits" in methods(test)
    assert "KNeighborsClassifier on digits" in html
    assert "<svg" not in test._repr_html_()
    assert "data:image/png" in test._repr_html_()
    assert "NA" not in test._repr_html_().partition("<img")[0]
    assert "KNeighborsClassifier on digits, n = 200" in str(test)
    assert test.plot().to_dict()["layer"]
    assert test.to_json()["table"][0]["test_score"] == test.original.test_score
    assert test.to_json()["provenance"]["versions"]["torch"]


def test_repeats_are_found_by_the_name_of_their_randomization_too():
    test = randomization_test(GaussianNB(), table(), randomizations=["permuted-labels"], n_permutations=2)
    assert test.of("permuted-labels") == test.of(LABEL_TEST)
    assert test.test_scores("gaussian-pixels") == []
    with pytest.raises(InputError, match="permuted"):
        test.of("permuted")


def test_rounding_errors_are_shown_as_zero():
    frame = pd.DataFrame({"effect": [1.1e-16, -1.1e-16, 0.05, None]}).convert_dtypes()
    assert format_table(frame)["effect"].tolist() == ["0", "0", "0.05", "–"]


def test_data_that_are_randomized_already_are_refused():
    noise = randomize(load_dataset("digits"), Randomization(labels=1))
    with pytest.raises(InputError, match="randomized already"):
        randomization_test(GaussianNB(), noise)


def test_names_from_outside_are_escaped(tmp_path):
    X, y = table()
    data = dataset_from_arrays(X, y, X, y, name="<script>alert(1)</script>")
    html = randomization_test(GaussianNB(), data, randomizations=["permuted-labels"], n_permutations=1).to_html()
    assert "<script>alert" not in html


class Recorder:
    """A logger that remembers."""

    def __init__(self):
        self.epochs, self.results = [], []

    def start(self, parameters):
        pass

    def epoch(self, row):
        self.epochs.append(row)

    def finish(self, results, picture):
        self.results.append(results)


def test_loggers_are_told_of_every_fit():
    logger = Recorder()
    arguments = {"randomizations": ["permuted-labels"], "n_permutations": 1, "hyperparameters": {"epochs": 2}, **QUICK}
    test = randomization_test("mlp-1x16", load_dataset("digits"), log=logger, **arguments)
    assert len(logger.epochs) == 4
    assert [result["test_accuracy"] for result in logger.results] == [repeat.mean("test_accuracy") for repeat in test.repeats]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "nonsense"}, "unknown dataset 'nonsense'"),
        ({"data": 3}, "dataset is an int"),
        ({"randomizations": ["nonsense"]}, "unknown randomization 'nonsense'"),
        ({"randomizations": [Randomization()]}, "randomizes nothing"),
        ({"n_permutations": 0}, "n_permutations is 0"),
        ({"cv": 1}, "cv is 1, expected at least 2 folds"),
        ({"scoring": "nonsense"}, "unknown scoring 'nonsense'"),
        ({"scoring": "roc_auc"}, "multi_class|multiclass"),
        ({"budget": "soon"}, "budget is 'soon'"),
        ({"jobs": 0}, "jobs is 0"),
        ({"n_train": 10**6}, "n_train is 1000000"),
        ({"data": (np.zeros((4, 2)), [0, 1, 0, 1])}, "expected at least 5"),
        ({"data": (np.full((40, 2), np.nan), [0, 1] * 20)}, "NaN"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises((InputError, ValueError), match=message):
        randomization_test(GaussianNB(), **{"data": "digits", **arguments})


def test_images_of_mixed_sizes_with_a_damaged_one(tmp_path, capsys):
    folder = tmp_path / "photos"
    write_folder(folder, n=8)
    (folder / "train" / "cat" / "3.png").write_bytes(encode(pictures(1, 9, 14)[0]))
    quick = {"randomizations": ["permuted-labels"], "n_permutations": 1}
    with pytest.raises(InputError, match=r"mixed sizes: .*, expected one size"):
        randomization_test("logistic-regression", folder, **quick)
    test = randomization_test("logistic-regression", folder, image_size=6, store=tmp_path / "runs", **quick)
    assert {run.result["n_train"] for repeat in test.repeats for run in repeat.runs} == {16}
    assert {tuple(run.result["image_shape"]) for repeat in test.repeats for run in repeat.runs} == {(3, 6, 6)}
    (folder / "train" / "cat" / "5.png").write_bytes(b"\x89PNG and no more")
    command = ["test", "logistic-regression", "--data", str(folder), "--randomizations", "permuted-labels", "--n-permutations", "1"]
    command += ["--image-size", "6", "--store", str(tmp_path / "runs"), "--out", str(tmp_path / "report.html"), "--json"]
    assert main(command) == 1
    assert "cat/5.png is not a readable image" in capsys.readouterr().err
    assert main([*command, "--skip-corrupt"]) == 0
    skipped = [run for run in Store(tmp_path / "runs").runs() if run.spec.skip_corrupt]
    assert [run.result["skipped_corrupt"] for run in skipped] == [{"train": 1, "test": 0}] * 2


def test_a_size_is_for_encoded_images_alone():
    with pytest.raises(InputError, match="image_size is 8, expected none for"):
        randomization_test(LogisticRegression(), table(), image_size=8)


class Linear(nn.Linear):
    def __init__(self, image_shape, n_classes):
        super().__init__(image_shape[-1], n_classes)


def test_copies_keep_the_runs_of_a_test_without_a_store_and_pickles_keep_its_sentences():
    X, y = table(n=120)
    tracked = {"hyperparameters": {"epochs": 20, "crop": None}, "randomizations": ["permuted-labels", "corrupted-labels"]}
    test = randomization_test(Linear, X, y, n_permutations=1, **tracked)
    page, folder, pickled = test.to_html(), test.runs[0].folder, pickle.dumps(test)
    said = str(test)
    assert test.memorization[0].precision is not None
    copies = copy.copy(test), copy.deepcopy(test)
    del test
    gc.collect()
    assert {(str(one), len(one.label_issues), one.to_html()) for one in copies} == {(said, 96, page)}
    del copies
    gc.collect()
    assert not folder.exists()
    read = pickle.loads(pickled)
    assert (str(read), len(read.label_issues)) == (said, 96)
    with pytest.raises(InputError, match=r"does not exist any more, .*; a test with store=… keeps it$"):
        read.to_html()


def test_a_test_whose_store_is_gone_says_so_and_leaves_nothing_out(tmp_path):
    X, y = table(n=60)
    here = randomization_test(Linear, X, y, hyperparameters={"epochs": 2, "crop": None}, store=tmp_path / "here", n_permutations=1)
    shutil.move(tmp_path / "here", tmp_path / "there")
    for ask in (lambda: here.label_issues, lambda: here.memorization, lambda: str(here), here.to_html):
        with pytest.raises(InputError, match=r"does not exist any more, expected the folder of a run"):
            ask()


def test_an_accuracy_that_is_not_all_is_never_rounded_up_to_it():
    X = np.arange(3000.0)[:, None]
    y = (X[:, 0] > 1500).astype(int)
    test = randomization_test(
        KNeighborsClassifier(1), (X, y, X + 0.1, np.r_[1, y[1:]]), randomizations=["permuted-labels"], n_permutations=1
    )
    assert ">99.9</td>" in test.to_html().replace(" ", "").replace("&gt;", ">")
