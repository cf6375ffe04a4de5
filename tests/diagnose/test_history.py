"""Rules on the course of a training, on histories made by hand, on both sides of each threshold."""

import math

import numpy as np
import pandas as pd
import pytest

from shattering.diagnose import history


def curve(losses, accuracies=None, rates=0.1):
    losses = np.asarray(losses, dtype=float)
    accuracies = np.full(len(losses), 0.5) if accuracies is None else accuracies
    return pd.DataFrame({"train_loss": losses, "train_accuracy": accuracies, "learning_rate": rates * np.ones(len(losses))})


def test_the_last_tenth_is_at_least_three_epochs():
    assert [len(history.tail(curve(np.ones(n)))) for n in (2, 3, 30, 31, 100)] == [2, 3, 3, 4, 10]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1, 0.99, 0.98], 0.0101),
        ([1, 0.9991, 0.9982], None),  # 0.09 % an epoch
        ([1, 0.9989, 0.9978], 0.0011),
        ([1, 0.9, 1, 0.9, 1, 0.95], None),  # scatter
        ([1, 1.01, 1.02], None),
        ([1], None),
        ([1, math.nan, 1], None),
    ],
)
def test_falls(losses, expected):
    assert history.fall(np.asarray(losses)) == (None if expected is None else pytest.approx(expected, rel=0.01))


def test_too_few_epochs_by_hand():
    rising = np.linspace(0.1, 0.5, 21)  # 2 % an epoch
    (found,) = history.too_few_epochs(curve(np.linspace(2, 1, 21), rising))
    assert "about 25 more" in found.evidence
    assert found.likelihood == "likely"
    slow = np.linspace(0.1, 0.14, 21)  # 0.2 % an epoch, 430 epochs
    (found,) = history.too_few_epochs(curve(np.linspace(2, 1, 21), slow))
    assert "more." not in found.evidence
    assert found.likelihood == "possible"
    assert list(history.too_few_epochs(curve(np.ones(21), rising))) == []
    stalled = [*np.linspace(2, 1, 15), *np.ones(6)]
    assert list(history.too_few_epochs(curve(stalled, rising))) == [], "it fell in the second half, but not at the end"
    noise = [*np.resize([1.0, 1.1], 18), 1.1, 1.05, 1.0]
    assert list(history.too_few_epochs(curve(noise, rising))) == [], "it fell at the end, but not over the second half"
    (found,) = history.too_few_epochs(curve([2.3]))
    assert found.evidence.startswith("It trained for 1 epoch;")


def test_extrapolation_counts_on_the_learning_rates_to_come():
    rising, losses = np.linspace(0.1, 0.5, 21), np.linspace(2, 1, 21)
    constant = history.epochs_needed(curve(losses, rising))
    slowly = history.epochs_needed(curve(losses, rising, 0.99 ** np.arange(21)))
    assert constant == 25
    assert slowly is not None
    assert 25 < slowly < 40
    assert history.epochs_needed(curve(losses, rising, 0.9 ** np.arange(21))) is None, "the rates left add up to 9 epochs'"
    assert history.epochs_at(np.full(3, 0.1), 1.0) == pytest.approx(10)
    assert history.epochs_at(np.asarray([4.0, 2.0, 1.0]), 0.75) == pytest.approx(2), "1/2 + 1/4"
    assert history.epochs_at(np.asarray([4.0, 2.0, 1.0]), 1.0) == math.inf


def test_decayed_too_soon_by_hand():
    rates = 0.1 * 0.5 ** np.arange(20)  # below a tenth after four epochs
    early = [2.3, 2.2, 2.1, 2.0]

    def found(losses, rates=rates):
        return list(history.decayed_too_soon(curve(losses, rates=rates)))

    assert "below a tenth after epoch 4" in found([*early, *np.full(16, 1.95)])[0].evidence
    assert "add up to 9.5e-07 times" in found([*early, *np.full(16, 1.95)])[0].evidence
    assert not found([*early, *(1.95 * 0.98 ** np.arange(16))]), "it still fell by 2 % an epoch, of 5 % before"
    assert found([*early, *(1.95 * 0.995 ** np.arange(16))])
    assert not found(np.full(20, 1.95)), "it had stalled before"
    assert not found([*early, *np.full(16, 1.95)], 0.1), "the rate is constant"
    assert not found([*early, 1.95, 1.95], rates[:6]), "two epochs are too few to tell"


@pytest.mark.parametrize(
    ("losses", "noisy", "expected"),
    [
        ([4.7, *np.linspace(2.3, 1, 29)], False, "likely"),  # 2 ln 10 = 4.605
        ([4.6, *np.linspace(2.3, 1, 29)], False, None),
        ([*np.linspace(2.3, 1, 20), 1, 1, *np.full(8, 1.06)], False, "likely"),  # up by 6 %
        ([*np.linspace(2.3, 1, 20), 1, 1, *np.full(8, 1.06)], True, "possible"),
        ([*np.linspace(2.3, 1, 20), 1, 1, *np.full(8, 1.04)], False, None),
        ([*np.linspace(2, 1, 27), 0.9, 1.2, 0.9], False, "likely"),  # scatter of 14 %
        ([*np.linspace(2, 1, 27), 0.9, 1.2, 0.9], True, None),
        ([*np.linspace(2, 1, 27), 0.95, 1.1, 0.95], False, None),  # 7 %
    ],
)
def test_too_high_a_rate_by_hand(losses, noisy, expected):
    found = list(history.rate_too_high(curve(losses), 10, False, noisy))
    assert [f.likelihood for f in found] == ([expected] if expected else [])


def test_what_is_not_finite_is_certain_only_of_networks_whose_formulas_are_known():
    (found,) = history.rate_too_high(curve([2, math.nan]), 10, True, False)
    assert (found.likelihood, found.evidence) == ("certain", "The initial learning rate is 0.1, and the loss was not finite in epoch 2.")
    (found,) = history.rate_too_high(curve([2, 1]), 10, True, False, own=True)
    assert found.likelihood == "likely"
    assert "the outputs were not finite after epoch 2. A formula of the network or of the loss" in found.evidence
