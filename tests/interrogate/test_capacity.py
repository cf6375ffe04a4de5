from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from shattering.interrogate.capacity import bits_of_labels, rademacher_correlation, shatter_points
from shattering.measures.fitted import NotComputable


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
