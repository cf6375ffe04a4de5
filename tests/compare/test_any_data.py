"""Set-ups that users bring, on real data that Python and scikit-learn carry: each works the first time."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from shattering import randomization_test
from shattering.cli import main
from tests.conftest import load_script

ONE = {"randomizations": ["permuted-labels"], "n_permutations": 1}


gallery = load_script(Path(__file__).parents[2] / "docs" / "gallery_data.py")
paragraphs, words, Transformer, patients, scan_lines = (
    getattr(gallery, name) for name in ("paragraphs", "words", "Transformer", "patients", "scan_lines")
)


def test_a_pipeline_on_texts():
    texts, pages = paragraphs()
    test = randomization_test(make_pipeline(TfidfVectorizer(), LogisticRegression(C=100)), texts, pages, n_permutations=19)
    assert test.original.test_score > 0.8
    assert test.p_value == 0.05
    assert test.kind == "opaque"
    assert "pixels" not in str(test)


def test_a_transformer_on_tokens():
    texts, pages = paragraphs()
    training = {"epochs": 12, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.003}
    test = randomization_test(Transformer, words(texts), pages, kind="tokens", hyperparameters=training, **ONE)
    assert test.original.test_score > 0.7
    assert test.original.runs[0].result["kind"] == "tokens"


def test_a_frame_with_categories_and_missing_values():
    columns = make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough")
    model = make_pipeline(columns, LGBMClassifier(n_estimators=10, verbose=-1, num_threads=1))
    test = randomization_test(model, patients(), target="severe", n_permutations=1)
    assert test.original.test_score > 0.6
    assert [r.title for r in test.randomizations][-1] == "pixels permuted within class"
    assert "features permuted within class" in test.table["randomization"].tolist()


def test_a_regression_by_groups_of_like_molecules():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    decade = X[:, 0] // 10  # rows of one decade of age stand for the molecules of one scaffold
    test = randomization_test(make_pipeline(StandardScaler(), Ridge()), X, y, groups=decade, cv=GroupKFold(3), **ONE)
    assert 0.3 < test.original.test_score < 0.6
    assert test.is_regression


def test_a_convolution_on_time_series():
    X, photographs, strips = scan_lines()

    def make(shape, k):
        return nn.Sequential(nn.Conv1d(shape[0], 16, 5, stride=2), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, k))

    training = {"epochs": 4, "batch_size": 32, "learning_rate": 0.05}
    test = randomization_test(make, X, photographs, kind="sequence", groups=strips, hyperparameters=training, **ONE)
    assert test.original.test_score > 0.7
    assert test.original.runs[0].result["image_shape"] == [3, 64]


def test_rows_of_one_patient_are_exchanged_whole():
    """The label of all rows of a strip is that of its photograph: whole strips are exchanged, and stay together in folds."""
    X, photographs, strips = scan_lines()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    test = randomization_test(model, X.mean(2), photographs, groups=strips, cv=GroupKFold(4), randomizations=["permuted-labels"])
    assert test.randomizations[0].exchange == "whole"
    assert test.p_value == 0.05
    assert "groups" in str(test)


def test_imbalanced_classes_with_a_scorer_of_the_users():
    X, y = load_breast_cancer(return_X_y=True)
    rare = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:40]]
    f2 = make_scorer(fbeta_score, beta=2, pos_label=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    test = randomization_test(model, X[rare], y[rare], scoring=f2, **ONE)
    assert test.original.test_score > 0.7
    assert "fbeta" in test.scoring


def test_a_network_that_is_fine_tuned():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):  # trained on the first digits, to be fine-tuned on others
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(X[:600])), torch.from_numpy(y[:600])).backward()
        optimizer.step()
    training = {"epochs": 2, "learning_rate": 0.001, "standardize": "none"}
    given, fresh = (
        randomization_test(net, X[600:800], y[600:800], start=start, hyperparameters=training, **ONE)
        for start in ("given", "reinitialized")
    )
    assert given.original.test_score > 0.8 > fresh.original.test_score
    assert "fine-tuned from the weights" in str(given)
    assert "re-initialized" in str(fresh)


def test_a_stream_is_read_as_far_as_the_sizes_say():
    X, y = load_breast_cancer(return_X_y=True)
    stream = datasets.Dataset.from_dict({"a": X[:, 0], "b": X[:, 1], "tumour": y}).to_iterable_dataset()
    with pytest.warns(UserWarning, match="is a stream: its first 100 rows are used"):
        test = randomization_test(LogisticRegression(), stream, target="tumour", n_train=60, n_test=20, **ONE)
    assert (test.n_train, test.original.n_test) == (60, 20)


@pytest.mark.parametrize("name", ["texts", "frame", "targets"])
def test_scores_are_those_of_scikit_learn_on_the_same_permutations(name):
    """The folds and labels of our permutations, scored by scikit-learn's own cross_val_score."""
    from sklearn.base import clone
    from sklearn.metrics import get_scorer

    from shattering.runs.fit import load_data

    texts, pages = paragraphs()
    frame, numbers = load_diabetes(return_X_y=True, as_frame=True)
    model, X, y, scoring = {
        "texts": (make_pipeline(TfidfVectorizer(), LogisticRegression()), texts, pages, "balanced_accuracy"),
        "frame": (LogisticRegression(), frame, np.where(numbers > 140, "severe", "mild"), "roc_auc"),
        "targets": (Ridge(), frame, numbers, "r2"),
    }[name]
    test = randomization_test(model, X, y, cv=3, scoring=scoring, randomizations=["permuted-labels"], n_permutations=2)
    for repeat in test.repeats:
        for run in repeat.runs:
            data, _ = load_data(run.spec, test.objects)
            by_hand = clone(model).fit(data.train.X, data.train.y)
            score = get_scorer(scoring)(by_hand, data.test.X, data.test.y)
            assert run.result["test_score_on_corrupted_labels"] == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_the_progress_of_a_table_names_features(targets, tmp_path, capsys):
    rows = [f"{i},{i * 7 % 11},{i % 2}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    model, labels = ("nearest-neighbors", "labels") if targets == "classes" else ("sklearn.neighbors:KNeighborsRegressor", "targets")
    noise = "--randomizations=permuted-labels,gaussian-pixels"
    given = [f"--data={tmp_path / 't.csv'}", "--target=y", f"--targets={targets}", noise, "--n-permutations=1"]
    assert main(["test", model, *given, f"--store={tmp_path / 'runs'}", f"--out={tmp_path / 'r.html'}"]) in (0, None)
    lines = capsys.readouterr().err
    assert "Gaussian features" in lines
    assert f"random {labels}" in lines
    assert "pixels" not in lines
