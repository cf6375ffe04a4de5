"""Label smoothing and the auxiliary classifier: what is minimized, and what is recorded."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering import InputError, NetworkClassifier
from shattering.data.preprocess import to_float
from tests.conftest import make_split

ONE_STEP = {"epochs": 1, "batch_size": 24, "learning_rate": 0.1, "momentum": 0.0, "standardize": "range", "device": "cpu"}


class TwoHeads(nn.Module):
    """Linear, with a second output in training mode."""

    def __init__(self, shape, k):
        super().__init__()
        n = shape[0] * shape[1] * shape[2]
        self.fc, self.second = nn.Linear(n, k), nn.Linear(n, k)

    def forward(self, images):
        flat = images.flatten(1)
        return (self.fc(flat), self.second(flat)) if self.training else self.fc(flat)


def smoothed(logits, labels, epsilon):
    """Szegedy et al. (2016), section 7: the targets are (1 - ε) onehot + ε / k."""
    k = logits.shape[1]
    targets = (1 - epsilon) * F.one_hot(labels, k) + epsilon / k
    return -(targets * torch.log_softmax(logits, 1)).sum(1).mean()


@pytest.mark.parametrize(("label_smoothing", "auxiliary"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.4), (0.2, 0.3), (1.0, 0.0)])
def test_one_update_follows_the_formula_and_the_plain_loss_is_recorded(label_smoothing, auxiliary):
    split = make_split(n=24, n_classes=6)
    start = NetworkClassifier(TwoHeads, **{**ONE_STEP, "learning_rate": 0.0}).fit(split).module_
    fitted = NetworkClassifier(TwoHeads, label_smoothing=label_smoothing, auxiliary=auxiliary, **ONE_STEP).fit(split)
    start.zero_grad()
    images = 2 * to_float(split.inputs) - 1
    logits, second = start.train()(images)
    plain = F.cross_entropy(logits, split.labels)
    objective = smoothed(logits, split.labels, label_smoothing) + auxiliary * smoothed(second, split.labels, label_smoothing)
    objective.backward()
    for name, parameter in start.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(fitted.module_.get_parameter(name), parameter.detach() - 0.1 * gradient, atol=1e-6, rtol=1e-4)
    moved = not torch.equal(fitted.module_.second.weight, start.second.weight)
    assert moved == (auxiliary > 0)
    assert fitted.history_["train_loss"][0] == pytest.approx(plain.item(), rel=1e-5)
    assert fitted.history_["train_accuracy"][0] == (logits.argmax(1) == split.labels).double().mean()


def test_evaluation_is_without_smoothing():
    split = make_split(n=24, n_classes=6)
    net = NetworkClassifier(label_smoothing=0.3, evaluate_train=True, epochs=2, device="cpu").fit(split)
    expected = F.cross_entropy(net.logits(split), split.labels).item()
    assert net.train_loss_ == pytest.approx(expected)
    assert net.history_["full_train_loss"].iloc[-1] == pytest.approx(expected)


def test_smoothing_keeps_the_logits_apart_by_less():
    """At its optimum (1 - ε + ε/k) / (ε/k) is the ratio of the probabilities."""
    split = make_split(n=12, n_classes=4)
    hyperparameters = {"epochs": 300, "batch_size": 12, "learning_rate": 0.02, "decay": 1.0, "standardize": "range", "device": "cpu"}
    net = NetworkClassifier("mlp-1x64", label_smoothing=0.2, **hyperparameters).fit(split)
    proba = torch.tensor(net.predict_proba(split))
    assert proba.amax(1).numpy() == pytest.approx(0.85, abs=0.02)
    assert net.interpolated_


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"label_smoothing": 1.1}, r"label_smoothing is 1.1, expected a number in 0…1"),
        ({"auxiliary": -0.4}, r"auxiliary is -0.4, expected a number of at least 0"),
        ({"auxiliary": True}, r"auxiliary is True, expected a number"),
        ({"auxiliary": 0.4, "network": "mlp-1x512"}, "auxiliary needs a network with an auxiliary classifier, found 'mlp-1x512'"),
        (
            {"auxiliary": 0.4, "network": lambda shape, k: nn.Sequential(nn.Flatten(), nn.Linear(90, k))},
            "the network gives no auxiliary logits",
        ),
        ({"network": "inception-v3"}, "'inception-v3' got images of 5x6 pixels, expected at least 75x75"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(epochs=1, **params).fit(make_split())


def test_inception_v3_trains_on_small_images_with_everything_on(tmp_path):
    split = make_split(n=6, shape=(3, 75, 80), n_classes=6)
    params = {"batch_size": 3, "auxiliary": 0.4, "dropout": 0.2, "label_smoothing": 0.1, "device": "cpu"}
    net = NetworkClassifier("inception-v3", epochs=1, augment=["resized-crop", "stretch", "flip"], **params).fit(split, test=split)
    assert net.n_parameters_ == 27_161_264 - 994 * (2049 + 769), "six classes"
    assert net.history_["learning_rate"][0] == 0.045
    assert net.history_["test_top5_accuracy"].notna().all()
    net.save(tmp_path / "m.safetensors")
    again = NetworkClassifier("inception-v3", **params).load(tmp_path / "m.safetensors")
    assert torch.equal(again.logits(split), net.logits(split))


def test_pixels_are_scaled_to_the_range_of_published_weights():
    seen = []

    class Spy(TwoHeads):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    split = make_split(n=8)
    NetworkClassifier(Spy, standardize="range", epochs=1, device="cpu").fit(split)
    torch.testing.assert_close(seen[-1], split.inputs.float() / 127.5 - 1)
