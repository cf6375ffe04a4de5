import numpy as np
import pytest

from shattering.errors import InputError
from shattering.stats import accuracy_interval


@pytest.mark.parametrize(("p", "n", "seeds"), [(0.5, 100, 1), (0.1, 500, 2), (0.9, 1000, 4)])
def test_intervals_cover_as_often_as_they_say(p, n, seeds):
    generator, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        low, high = accuracy_interval((generator.binomial(n, p, seeds) / n).tolist(), n)
        hits += low <= p <= high
    assert 0.93 < hits / 2000 < 0.97


def test_extremes_and_levels():
    low, high = accuracy_interval([1.0], 50)
    assert 0.9 < low < high == 1
    assert accuracy_interval([0.5, 0.5, 0.5], 50) == (0.5, 0.5)
    wide, narrow = accuracy_interval([0.4, 0.5, 0.6], 50, 0.99), accuracy_interval([0.4, 0.5, 0.6], 50, 0.9)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    with pytest.raises(InputError, match="accuracies is empty"):
        accuracy_interval([], 5)
