"""Size and effort, by hand."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

from shattering.errors import InputError
from shattering.learners.network import NetworkClassifier
from shattering.measures.fitted import NotComputable
from shattering.measures.fitting import as_fitted
from shattering.measures.outcomes import forgetting
from shattering.measures.pac_bayes import ratt
from shattering.measures.size import n_parameters, steps, training_loss_area, vc_dimension
from tests.measures.networks import fitted, of_module, small_data, small_relu, trained


def test_counts():
    made = of_module(small_relu(), *small_data())
    assert n_parameters(made) == 3 * 4 + 4 + 4 * 3 + 3
    assert vc_dimension(made) == 31 * 2 * math.log2(31)
    frozen = small_relu()
    frozen[0].requires_grad_(False)
    assert n_parameters(of_module(frozen, *small_data())) == 15


@pytest.mark.parametrize(("network", "count"), [("mlp-1x512", 1_209_866), ("mlp-3x512", 1_735_178), ("inception", 1_649_402)])
def test_the_papers_counts(network, count):
    from shattering.networks import build_network

    module = build_network(network, (3, 28, 28), 10, seed=0)
    assert n_parameters(as_fitted(module, (torch.zeros(2, 3, 28, 28), torch.tensor([0, 1])))) == count


def test_steps_are_those_of_the_history():
    history = pd.DataFrame({"step": [10, 20, 30], "full_train_loss": [0.5, 0.009, 0.02], "train_loss": [1.0, 0.5, 0.25]})
    made = of_module(small_relu(), *small_data(), history=history)
    assert steps(made) == math.log(20)
    assert training_loss_area(made) == 1.75
    slow = of_module(small_relu(), *small_data(), history=history.assign(full_train_loss=[0.5, 0.4, 0.3]))
    with pytest.raises(NotComputable, match=r"never reached 0\.01, its least value is 0\.3"):
        steps(slow)
    for function in (steps, training_loss_area):
        with pytest.raises(NotComputable, match="there is no history of the training"):
            function(of_module(small_relu(), *small_data()))
        with pytest.raises(NotComputable, match="the history has no column"):
            function(of_module(small_relu(), *small_data(), history=history[["step"]]))
    assert training_loss_area(fitted("mlp")) == pytest.approx(trained("mlp").history_["train_loss"].sum())


def test_the_area_of_gradient_descent_on_one_weight():
    """A network z = (0, wx), one example x = 1 with label 1: the loss is log(1 + e^-w), and w += rate / (1 + e^w) in each step."""

    class OneWeight(nn.Module):
        def __init__(self, image_shape, n_classes):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.cat([torch.zeros_like(x), self.w * x], 1)

    X, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0])
    model = NetworkClassifier(OneWeight, epochs=5, batch_size=2, learning_rate=0.5, momentum=0.0, decay=1.0, standardize="none")
    model.fit(X.numpy(), y.numpy())
    w, area = 0.0, 0.0
    for _ in range(5):
        area += math.log1p(math.exp(-w))
        w += 0.5 / (1 + math.exp(w))
    assert training_loss_area(as_fitted(model, (X.numpy(), y.numpy()))) == pytest.approx(area, rel=1e-6)


def test_a_history_of_ones_own():
    def of(**columns):
        return of_module(small_relu(), *small_data(), history=pd.DataFrame(columns))

    assert steps(of(step=[3, 6], full_train_loss=[0.5, 0.001])) == math.log(6)
    with pytest.raises(NotComputable, match=r"at most 0\.01 before the first update"):
        steps(of(step=[0, 4], full_train_loss=[0.001, 0.001]))
    with pytest.raises(InputError, match=r"history has the type \w+ in its column step, expected numbers"):
        steps(of(step=["a", "b"], full_train_loss=[0.001, 0.001]))
    assert of(learning_rate=[0.1, 0.01]).rate == 0.01
    with pytest.raises(InputError, match="learning_rate of the last row of history is 'a', expected a number of at least 0"):
        of(learning_rate=["a"])
    with pytest.raises(NotComputable, match="train with track_examples"):
        ratt(of(corrupted_accuracy=[0.1]))
    with pytest.raises(NotComputable, match="train with track_examples"):
        forgetting(of_module(small_relu(), *small_data(), examples=pd.DataFrame({"forgetting_events": [1.0]})))
