from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from shattering.interrogate.capacity import (
    average_stability,
    bits_of_labels,
    rademacher_correlation,
    shatter_points,
    uniform_stability,
)
from shattering.interrogate.result import interrogate
from shattering.interrogate.table import runs_table
from shattering.interrogate.verdicts import NOT_COMPUTABLE
from shattering.measures.fitted import NotComputable
from shattering.runs.stored import Run, Unread
from shattering.runs.study import StudySpec


def _like(error: float, k: int, twin: object = None) -> SimpleNamespace:
    return SimpleNamespace(error=error, n_classes=k, twin=twin)


def test_the_correlation_is_that_with_random_signs_and_looks_at_the_twin_alone():
    signs, found = np.array([1, 1, -1, -1, 1]), np.array([1, -1, -1, -1, 1])
    twin = _like(float((signs != found).mean()), 2)
    assert rademacher_correlation(_like(0.0, 2, twin)) == pytest.approx(float((signs * found).mean()))
    assert rademacher_correlation(_like(0.5, 2, twin)) == rademacher_correlation(_like(0.0, 2, twin))
    assert rademacher_correlation(_like(0.0, 10, _like(0.9, 10))) == pytest.approx(0)
    assert rademacher_correlation(_like(0.0, 10, _like(0.0, 10))) == 1
    with pytest.raises(NotComputable, match="there is no twin"):
        rademacher_correlation(_like(0.0, 2))


def test_bits_are_none_for_a_network_that_knows_nothing_and_all_for_one_that_is_sure():
    labels = torch.arange(40) % 4
    fitted = SimpleNamespace(labels=labels, n_classes=4, logits=torch.zeros(40, 4, dtype=torch.float64))
    assert bits_of_labels(fitted) == pytest.approx(0)
    fitted.logits = 100 * torch.nn.functional.one_hot(labels, 4).double()
    assert bits_of_labels(fitted) == pytest.approx(80)
    fitted.labels = (labels + 1) % 4
    assert bits_of_labels(fitted) < -1000


def test_the_shatter_point_of_a_cell_is_the_most_random_labels_that_it_has_fitted():
    rows = [("a", "natural", 90, True), ("a", "random", 90, False), ("a", "fewer", 45, True), ("a", "fewer", 20, True)]
    rows += [("b", "natural", 90, True), ("b", "random", 90, False), ("x", "untrained random", 90, True)]
    table = pd.DataFrame(rows, columns=["cell", "condition", "n", "fitted"])
    assert shatter_points(table).tolist()[:4] == [45.0] * 4
    assert shatter_points(table).isna().tolist()[4:] == [True] * 3


def _studied(dataset: str, labels: float, own: float, **params) -> Run:
    about = {"dataset": dataset, "n": 40, "labels": labels, "params": params}
    return Run(StudySpec("stability", about), Path(f"stability-{labels}-{own}"), "done", result={**about, "uniform": 1.0, "own": own})


def test_stability_is_that_of_the_stored_studies_with_a_cells_data_size_and_hyperparameters(population):
    _, runs = population
    table, _ = runs_table(runs)
    params = {"network": "mlp-1x16", "learning_rate": 0.05, "batch_size": 10, "epochs": 30}
    studies = [_studied("digits", 0.0, 0.2, **params), _studied("digits", 0.0, 0.4, **params), _studied("digits", 1.0, 0.9, **params)]
    others = [_studied("digits", 0.5, 0.1, **{**params, "batch_size": 5}), _studied("noise", 0.5, 0.1, **params)]
    found = average_stability(table, [*runs, *studies, *others, Unread(Path("x"), "damaged", "no")])
    by_condition = dict(zip(table["condition"], found.round(3).fillna(-1), strict=True))
    assert by_condition == {
        **dict.fromkeys(["untrained natural", "untrained random", "partial", "random pixels", "fewer", "equal steps"], -1),
        "natural": 0.3,
        "random": 0.9,
    }
    assert uniform_stability(table, [*runs, *studies])[found.notna()].unique().tolist() == [1]
    assert uniform_stability(table, runs).isna().all()


def test_without_a_study_the_page_says_why_there_is_no_stability(population):
    found = interrogate(["uniform_stability"], population[0])
    assert found.reasons.to_dict("records") == [
        {
            "measure": "uniform_stability",
            "reason": "no stored study of stability has these data, this size, architecture and hyperparameters",
            "runs": 6,
        }
    ]
    assert found.judged.judgements["uniform_stability"].verdict == NOT_COMPUTABLE
