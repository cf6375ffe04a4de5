"""The y-scrambling report of a regression, against the formulas by hand."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeRegressor

from shattering import Store, randomization_test
from shattering.compare.plan import LABEL_TEST
from shattering.report.page import render
from shattering.report.tables import summary_rows
from shattering.report.text import print_summary
from shattering.runs.fit import load_data

X, Y = load_diabetes(return_X_y=True)
DATA = X[:150], Y[:150]


@pytest.fixture(scope="module")
def ridge():
    return randomization_test(Ridge(0.1), DATA, n_permutations=5)


def test_the_numbers_are_those_of_fits_by_hand(ridge):
    report = ridge.scrambling
    data, _ = load_data(ridge.original.runs[0].spec, ridge.objects)
    model = Ridge(0.1).fit(data.train.X, data.train.y)
    assert report.r2 == pytest.approx(r2_score(data.train.y, model.predict(data.train.X)))
    assert report.q2 == pytest.approx(r2_score(data.test.y, model.predict(data.test.X)))
    for repeat, r2, correlation in zip(ridge.of(LABEL_TEST), report.permuted_r2, report.correlations, strict=True):
        permuted, _ = load_data(repeat.runs[0].spec, ridge.objects)
        again = Ridge(0.1).fit(permuted.train.X, permuted.train.y)
        assert r2 == pytest.approx(r2_score(permuted.train.y, again.predict(permuted.train.X)))
        assert correlation == pytest.approx(abs(np.corrcoef(permuted.train.y, data.train.y)[0, 1]))
    mean = np.mean(report.permuted_r2)
    assert report.corrected_r2 == pytest.approx(np.sqrt(report.r2) * np.sqrt(report.r2 - mean))
    line = np.polyfit([*report.correlations, 1], [*report.permuted_q2, report.q2], 1)
    assert report.q2_intercept == pytest.approx(line[1])


def test_the_report_says_it(ridge):
    text = str(ridge)
    assert "y-scrambling: R² 0." in text
    assert "within the usual limits of 0.4 and 0.05" in text
    assert ridge.to_json()["scrambling"]["corrected_r2"] > 0.3
    assert "random targets (permuted)" in text
    assert "labels" not in ridge.table["randomization"].tolist()[1]
    assert "y-scrambling" in ridge.to_html()


def test_a_model_that_memorizes_is_seen():
    test = randomization_test(DecisionTreeRegressor(), DATA, n_permutations=3, randomizations=["permuted-labels"])
    assert test.scrambling.r2 == 1
    assert test.scrambling.corrected_r2 == 0, "permuted targets are fitted as well"
    assert test.scrambling.r2_intercept == pytest.approx(1)
    assert "beyond the usual limits" in str(test)


def test_there_is_none_for_classes_and_other_scores():
    classes = randomization_test("nearest-neighbors", "digits", n_train=50, n_test=20, randomizations=["permuted-labels"], n_permutations=3)
    assert classes.scrambling is None
    other = randomization_test(Ridge(), DATA, scoring="neg_mean_absolute_error", randomizations=["permuted-labels"], n_permutations=3)
    assert other.scrambling is None


def test_a_store_of_regressions_and_classes_is_shown(tmp_path, capsys):
    randomization_test(Ridge(), DATA, randomizations=["permuted-labels"], n_permutations=1, store=tmp_path / "runs")
    randomization_test(
        "nearest-neighbors", "digits", n_train=50, n_test=20, randomizations=["permuted-labels"], n_permutations=1, store=tmp_path / "runs"
    )
    runs = Store(tmp_path / "runs").runs()
    rows = {row["model"]: row for row in summary_rows(runs) if row["labels"] == 0}
    assert rows["Ridge"]["score"] == "r2"
    assert rows["Ridge"]["chance"] is None
    assert rows["nearest-neighbors"]["score"] is None
    print_summary(runs)
    assert "r2" in capsys.readouterr().out
    page = render(runs)
    assert "(r2)" in page
    assert "(r2)" in next(run.outcome for run in runs if run.spec.model_name == "Ridge")
