"""Measures from histories, other runs and unlabelled examples, against numpy and optimizers."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shattering import Dataset, NetworkClassifier, Randomization, randomize
from shattering.errors import InputError
from shattering.measures.derivatives import draws
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.fitting import as_fitted
from shattering.measures.outcomes import (
    average_confidence,
    disagreement,
    forgetting,
    nuclear_norm,
    signal_noise_fit,
    susceptibility,
    thresholded_confidence,
)
from shattering.measures.representation import alignment, seed_dissimilarity
from shattering.measures.sampling import shuffled
from tests.measures.networks import TINY, data, fitted, of_module, rescaled_relu, small_data, small_relu, tiny, trained

UNLABELLED = (average_confidence, nuclear_norm)


@cache
def other(seed: int = 1, random: bool = False) -> Fitted:
    """The MLP of another seed, or on random labels, for half as many epochs."""
    params = trained("mlp").get_params() | {"epochs": 6, "random_state": seed}
    own = randomize(data(), Randomization(1.0), seed=3) if random else data()
    return as_fitted(NetworkClassifier(**params).fit(own.train), own)


def test_forgetting_is_that_of_the_table():
    table = trained("mlp").examples_
    never = table["first_fit"].isna()
    expected = np.where(never, 12, table["forgetting_events"]).mean()
    assert forgetting(fitted("mlp")) == pytest.approx(expected)
    known = {"examples": pd.DataFrame({"forgetting_events": [0, 3, 0], "first_fit": pd.array([1, 2, None], dtype="Int64")})}
    inputs, labels = small_data(n=3)
    with pytest.raises(NotComputable, match="1 examples were never learned, and the number of epochs is not known"):
        forgetting(of_module(small_relu(), inputs, labels, **known))
    history = pd.DataFrame({"train_loss": [1.0] * 6})
    assert forgetting(of_module(small_relu(), inputs, labels, history=history, **known)) == 3.0
    with pytest.raises(NotComputable, match="train with track_examples"):
        forgetting(of_module(small_relu(), inputs, labels))


@pytest.mark.parametrize("name", ["mlp", "branches"])
def test_susceptibility_is_a_step_of_an_optimizer(name):
    """A20: the batches are unlabelled examples, and they and their labels are drawn from the seed."""
    made = tiny(name)
    order, generator, size, drops = shuffled(made, "unlabelled"), draws(made, "susceptibility"), made.batch_size, []
    assert made.unlabelled is not None
    for batch in range(10):
        rows = [int(order[(batch * size + i) % 40]) for i in range(size)]
        labels = torch.randint(0, 10, (size,), generator=generator)
        module, inputs = deepcopy(made.module), made.inputs(torch.tensor(rows), made.unlabelled)
        optimizer = torch.optim.SGD(module.parameters(), lr=made.rate)
        before = F.cross_entropy(module(inputs), labels)
        before.backward()
        optimizer.step()
        drops.append(float((before - F.cross_entropy(module(inputs), labels)).detach()))
    assert susceptibility(made) == pytest.approx(np.mean(drops), rel=1e-8)
    assert susceptibility(tiny(name, torch.float32)) == pytest.approx(np.mean(drops), rel=1e-2, abs=1e-5)
    with pytest.raises(NotComputable, match="the learning rate of the last update is not known"):
        susceptibility(tiny("normalized"))


def test_signal_and_noise_from_the_histories():
    natural, noise = trained("mlp"), other(random=True)
    made = as_fitted(natural, data(), twin=noise)

    def initial(run: Fitted) -> float:
        return float(F.cross_entropy(run.initial(run.inputs(torch.arange(run.n))), run.labels).detach())

    column = "full_train_loss"
    own = natural.history_[column].iloc[5] / initial(made)  # the sixth epoch is the last of both
    expected = own / (noise.history[column].iloc[5] / initial(noise))
    assert signal_noise_fit(made) == pytest.approx(expected, rel=1e-5)
    assert expected < 1  # natural labels are learned faster
    with pytest.raises(NotComputable, match="there is no twin"):
        signal_noise_fit(fitted("mlp"))
    with pytest.raises(NotComputable, match="there is no history of the training of both twins"):
        signal_noise_fit(replace(made, history=None))


def test_disagreement_of_seeds():
    made = as_fitted(trained("mlp"), data(), siblings=[other(), other(2)])
    own = trained("mlp").predict(data().test)
    expected = np.mean([(own != NetworkClassifier.predict(_model(seed), data().test)).mean() for seed in (1, 2)])
    assert disagreement(made) == pytest.approx(expected)
    assert disagreement(as_fitted(trained("mlp"), data(), siblings=[fitted("mlp")])) == 0
    with pytest.raises(NotComputable, match="there is no network trained from another seed"):
        disagreement(fitted("mlp"))


def test_each_seed_sees_what_is_unlabelled_as_it_was_trained_to():
    """Both standardize features with the moments of their own training examples, of which the second's are shifted."""
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(90, 4)), np.arange(90) % 2
    inputs[:, 0] += 2 * labels
    models = [
        NetworkClassifier("mlp-1x8", epochs=20, random_state=seed).fit(inputs[rows] + shift, labels[rows])
        for seed, rows, shift in ((0, slice(0, 30), 0), (1, slice(30, 60), 3))
    ]
    made, other = (as_fitted(model, (inputs[:30], labels[:30]), unlabelled=inputs[60:]) for model in models)
    expected = (models[0].predict(inputs[60:]) != models[1].predict(inputs[60:])).mean()
    beside = as_fitted(made, siblings=[other])
    assert expected > 0
    assert disagreement(beside) == pytest.approx(expected)
    hidden = [one.hidden(one.inputs(torch.arange(30), one.unlabelled), -1)[0].detach().double() for one in (made, other)]
    assert seed_dissimilarity(beside) == pytest.approx(1 - alignment(*(h - h.mean(0) for h in hidden)))


def test_another_number_of_classes_is_refused():
    made = of_module(small_relu(), *small_data())
    other = of_module(small_relu(sizes=(3, 4, 2)), *small_data(k=2))
    with pytest.raises(InputError, match="siblings has a network of 2 classes, expected 3"):
        as_fitted(made, siblings=[other])
    with pytest.raises(InputError, match="twin has a network of 2 classes, expected 3"):
        as_fitted(small_relu(), small_data(), twin=other)


@cache
def _model(seed: int) -> NetworkClassifier:
    return NetworkClassifier(**trained("mlp").get_params() | {"epochs": 6, "random_state": seed}).fit(data().train)


def test_independent_coin_flips_disagree_on_half():
    generator = torch.Generator().manual_seed(0)
    flips = torch.randn(4000, 4, generator=generator, dtype=torch.float64)

    class Coin(nn.Module):
        def __init__(self, first):
            super().__init__()
            self.first, self.scale = first, nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.scale * x[:, self.first : self.first + 2]

    labels = torch.arange(4000) % 2
    two = of_module(Coin(2), flips, labels)
    assert disagreement(of_module(Coin(0), flips, labels, siblings=[two], unlabelled=flips)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TINY)
def test_confidence_and_nuclear_norm_in_numpy(name, dtype):
    made = tiny(name, dtype)
    p = made.logits_of(made.unlabelled).softmax(1).numpy()
    assert average_confidence(made) == pytest.approx(-p.max(1).mean(), rel=1e-9)
    expected = -np.linalg.svd(p, compute_uv=False).sum() / np.sqrt(len(p) * min(p.shape))
    assert nuclear_norm(made) == pytest.approx(expected, rel=1e-9)


def test_one_hot_balanced_probabilities():
    labels = torch.arange(9) % 3
    certain = 100.0 * F.one_hot(labels, 3).double()
    module = nn.Linear(3, 3, bias=False).double()
    nn.init.eye_(module.weight)
    made = of_module(module, certain, labels, unlabelled=certain)
    assert (nuclear_norm(made), average_confidence(made)) == pytest.approx((-1, -1))


def test_the_threshold_predicts_the_accuracy_of_a_calibrated_model():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6000, 3, generator=generator, dtype=torch.float64)
    module = small_relu()
    labels = torch.multinomial(module(inputs).softmax(1), 1, generator=generator)[:, 0]
    made = of_module(module, inputs[:3000], labels[:3000], unlabelled=inputs[3000:])
    accuracy = float((module(inputs[3000:]).argmax(1) == labels[3000:]).double().mean())
    assert thresholded_confidence(made) == pytest.approx(-accuracy, abs=0.03)


def test_the_threshold_needs_errors_or_held_out_examples():
    inputs, _ = small_data()
    module = small_relu()
    right = module(inputs).argmax(1)
    with pytest.raises(NotComputable, match="every threshold qualifies"):
        thresholded_confidence(of_module(module, inputs, right, unlabelled=inputs))
    assert thresholded_confidence(of_module(module, inputs, (right + 1) % 3, unlabelled=inputs)) == 0
    with_validation = as_fitted(trained("mlp"), Dataset(data().train, data().test, validation=data().test))
    own = with_validation.logits_of(with_validation.held_out)
    wrong = (own.argmax(1) != data().test.labels).sum()
    t = torch.sort(own.softmax(1).amax(1))[0][wrong]
    assert thresholded_confidence(with_validation) == pytest.approx(-float((own.softmax(1).amax(1) >= t).double().mean()))


def test_without_unlabelled_examples():
    for function in (*UNLABELLED, thresholded_confidence):
        inputs, labels = small_data()
        with pytest.raises(NotComputable, match="there are no unlabelled examples"):
            function(of_module(small_relu(), inputs, labels))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
def test_what_depends_on_the_function_alone_is_unchanged_by_rescaling_layers(seed, factor):
    inputs, labels = small_data(seed)
    made, again = (of_module(m, inputs, labels, unlabelled=-inputs) for m in (small_relu(seed), rescaled_relu(seed, factor)))
    for function in (*UNLABELLED, thresholded_confidence):
        assert function(again) == pytest.approx(function(made), rel=1e-9)
