"""PAC-Bayesian measures of linear classifiers, whose errors under noise have a closed form; code lengths that can be decoded."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from shattering.measures import pac_bayes
from shattering.measures.fitted import Fitted, NotComputable
from tests.measures.networks import of_module, small_data, small_relu


def linear(seed: int = 0, scale: float = 1.0) -> Fitted:
    inputs = small_data(seed, n=60, d=4, k=2)[0]
    module = small_relu(seed, sizes=(4, 2))
    for parameter in module.parameters():
        parameter.data *= scale
    return of_module(module, inputs, module(inputs).argmax(1), initial=small_relu(seed + 9, sizes=(4, 2)), seed=seed)


def expected_noise(made: Fitted, seed: int, relative: bool) -> float:
    """σ of a linear classifier of two classes: under noise the difference of its logits is Gaussian, so its error is a mean of Φ."""
    inputs = small_data(seed, n=60, d=4, k=2)[0].numpy()
    ones = np.c_[inputs, np.ones(60)]
    theta = np.c_[made.module[0].weight.detach().numpy(), made.module[0].bias.detach().numpy()]
    margins = made.margins.numpy()

    def excess(log_sigma: float) -> float:
        sigma = math.exp(log_sigma)
        variance = ones**2 @ (sigma**2 * theta**2 + 1e-6).sum(0) if relative else 2 * sigma**2 * (ones**2).sum(1)
        return float(norm.cdf(-margins / np.sqrt(variance)).mean()) - 0.1

    return math.exp(brentq(excess, -8, 8))


@pytest.mark.parametrize("relative", [False, True])
def test_the_noise_that_a_linear_classifier_bears(relative):
    """Appendix A1: a standard deviation, not a variance: with 32 draws within a fifth of the closed form."""
    ratios = []
    for seed in range(6):
        made = linear(seed)
        assert made.error == 0
        ratios.append(made.once(pac_bayes.tolerated_noise, relative) / expected_noise(made, seed, relative))
    assert np.mean(ratios) == pytest.approx(1, abs=0.12)
    assert max(ratios) < 1.5
    assert min(ratios) > 0.65


def test_twice_the_weights_bear_twice_the_noise():
    once, twice = linear(), linear(scale=2)
    assert pac_bayes.pac_bayes_flatness(twice) == pytest.approx(pac_bayes.pac_bayes_flatness(once) / 4, rel=0.05)
    assert pac_bayes.pac_bayes_relative_flatness(twice) == pytest.approx(pac_bayes.pac_bayes_relative_flatness(once), rel=0.05)


def test_the_bounds_are_those_of_the_paper():
    made = linear()
    sigma = made.once(pac_bayes.tolerated_noise, False)
    theta, initial = (torch.cat([p.flatten() for p in values.values()]).numpy() for values in (made.parameters, made.initial_parameters))
    tail = np.log(60 / sigma) + 10
    assert pac_bayes.pac_bayes_distance(made) == pytest.approx(((theta - initial) ** 2).sum() / (4 * sigma**2) + tail)
    assert pac_bayes.pac_bayes_norm(made) == pytest.approx((theta**2).sum() / (4 * sigma**2) + tail)
    assert pac_bayes.pac_bayes_flatness(made) == pytest.approx(sigma**-2)


def test_noise_that_nothing_shows():
    module = nn.Sequential(nn.Linear(2, 2).double(), nn.ReLU(), nn.Linear(2, 2))
    made = of_module(module, torch.zeros(4, 2).double(), torch.zeros(4, dtype=torch.int64))
    made.module[2].requires_grad_(False)
    made.module[2].weight.zero_()
    made.module[2].bias.copy_(torch.tensor([1.0, 0.0]))
    with pytest.raises(NotComputable, match=r"no noise of the parameters raises the training error by 0\.1"):
        pac_bayes.pac_bayes_flatness(made)


@pytest.mark.parametrize("seed", range(3))
def test_a_code_can_be_decoded_and_has_the_entropy_of_its_levels(seed):
    made = linear(seed)
    bits = pac_bayes.code_length(made)
    changes = {name: value - made.initial_parameters[name] for name, value in made.parameters.items()}
    lengths = {}
    for q in range(40):
        decoded, total = {}, 0.0
        for name, change in changes.items():
            step = float(change.abs().max()) / q if q else 0.0
            levels = np.rint(change.numpy() / step) if q else np.zeros(change.shape)
            shares = np.unique(levels, return_counts=True)[1] / levels.size
            total += 32 - levels.size * float((shares * np.log2(shares)).sum())
            decoded[name] = made.initial_parameters[name] + torch.from_numpy(levels * step)
        error = float((made.call(decoded, small_data(seed, n=60, d=4, k=2)[0]).argmax(1) != made.labels).double().mean())
        if error <= 0.1:
            lengths[q] = total
    assert bits in [pytest.approx(length) for length in lengths.values()]
    assert min(lengths.values()) <= bits <= 64 + 10 * math.log2(2 * 40 + 1)


def test_the_initial_network_takes_no_bits_but_its_steps():
    module, (inputs, _) = small_relu(), small_data()
    made = of_module(module, inputs, module(inputs).argmax(1), initial=module)
    assert pac_bayes.code_length(made) == 4 * 32


def test_ratt_of_a_model_that_ignores_its_labels_is_its_error():
    """90 % of the true classes are predicted, and the others are spread evenly: a wrong label is predicted with 0.1/(k − 1)."""
    k, wrong = 3, 0.1 / 2
    history = pd.DataFrame({"clean_accuracy": [0.3, 0.9], "corrupted_accuracy": [0.5, wrong]})
    assert pac_bayes.ratt(of_module(small_relu(), *small_data(), history=history)) == pytest.approx(0.1)
    memorized = history.assign(clean_accuracy=1.0, corrupted_accuracy=1.0)
    assert pac_bayes.ratt(of_module(small_relu(), *small_data(), history=memorized)) == pytest.approx(k - 1)
    for columns, reason in [({"corrupted_accuracy": math.nan}, "the labels are not partly random"), ({}, "no corrupted_accuracy")]:
        given = history.assign(**columns) if columns else history[["clean_accuracy"]]
        with pytest.raises(NotComputable, match=reason):
            pac_bayes.ratt(of_module(small_relu(), *small_data(), history=given))


@pytest.mark.parametrize("seed", range(2))
def test_ratt_with_the_redrawn_set_known(seed):
    """The theorem's own formula on the set of all redrawn examples, own labels drawn again among them; n = 20,000."""
    generator = np.random.default_rng(seed)
    true, redrawn = generator.integers(0, 4, 20_000), generator.random(20_000) < 0.4
    labels = np.where(redrawn, generator.integers(0, 4, 20_000), true)
    predicted = np.where(generator.random(20_000) < 0.3, labels, np.where(generator.random(20_000) < 0.8, true, (true + 1) % 4))
    fitted = predicted == labels
    expected = (1 - fitted[~redrawn].mean()) + 3 - 4 * (1 - fitted[redrawn].mean())
    clean = labels == true
    history = pd.DataFrame({"clean_accuracy": [fitted[clean].mean()], "corrupted_accuracy": [fitted[~clean].mean()]})
    made = of_module(small_relu(sizes=(3, 4, 4)), *small_data(), history=history)
    assert pac_bayes.ratt(made) == pytest.approx(expected, abs=0.06)
