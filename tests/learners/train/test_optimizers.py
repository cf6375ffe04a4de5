"""AdamW, optimizers and losses of the user's: their updates, their resume, what counts of them, and what is refused."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering import InputError, NetworkClassifier, RunSpec
from shattering.identity.digest import digest
from shattering.learners.train.batches import batch_rows
from tests.conftest import make_split

SPLIT, TWO = make_split(n=24), make_split(n=24, n_classes=2)
QUICK = {"epochs": 3, "batch_size": 8, "device": "cpu", "standardize": "range", "random_state": 4}


def linear(shape, k):
    return nn.Sequential(nn.Flatten(), nn.Linear(90, k))


def adam_by_groups(parameters, rate):
    weight, bias = parameters
    return torch.optim.Adam([{"params": [weight]}, {"params": [bias], "lr": 10 * rate}], lr=rate)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.module_.parameters()])


def by_hand(make, loss=F.cross_entropy, decay=0.5, rate=0.01):
    """Plain torch on the same batches, with a rate that is halved after every epoch."""
    start = NetworkClassifier(linear, **{**QUICK, "epochs": 1, "learning_rate": 0.0}).fit(SPLIT).module_
    optimizer, images = make(list(start.parameters()), rate), SPLIT.inputs.float() / 127.5 - 1
    first = [group["lr"] for group in optimizer.param_groups]
    for epoch in range(3):
        for group, lr in zip(optimizer.param_groups, first, strict=True):
            group["lr"] = lr * decay**epoch
        for rows in batch_rows(24, 8, 4, epoch):
            optimizer.zero_grad()
            loss(start(images[rows]), SPLIT.labels[rows]).backward()
            optimizer.step()
    return torch.cat([p.detach().flatten() for p in start.parameters()])


@pytest.mark.parametrize(
    ("params", "make"),
    [
        (
            {"optimizer": "adamw", "momentum": 0.8, "weight_decay": 0.1},
            lambda p, lr: torch.optim.AdamW(p, lr=lr, betas=(0.8, 0.999), weight_decay=0.1),
        ),
        ({"optimizer": torch.optim.RMSprop}, torch.optim.RMSprop),
        ({"optimizer": adam_by_groups}, adam_by_groups),
    ],
)
def test_updates_are_those_of_torch_with_rates_that_decay_for_all_groups_alike(params, make):
    ours = NetworkClassifier(linear, **QUICK, learning_rate=0.01, decay=0.5, decay_steps=None, **params).fit(SPLIT)
    torch.testing.assert_close(weights(ours), by_hand(make), atol=1e-6, rtol=1e-4)
    assert ours.history_["learning_rate"].tolist() == [0.01, 0.005, 0.0025]


def test_the_default_rate_is_the_optimizers():
    rates = {name: NetworkClassifier(optimizer=name).hyperparameters(10, 0).learning_rate for name in ("sgd", "adamw")}
    assert rates == {"sgd": 0.01, "adamw": 0.001}


class Stop(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adamw", adam_by_groups])
def test_a_resumed_fit_is_bitwise_the_uninterrupted_one(tmp_path, optimizer):
    def stop(row):
        if row["epoch"] == 2:
            raise Stop

    def make():
        return NetworkClassifier(linear, **{**QUICK, "epochs": 4}, optimizer=optimizer, checkpoint_every=0)

    whole = make().fit(SPLIT)
    with pytest.raises(Stop):
        make().fit(SPLIT, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    seen = []
    resumed = make().fit(SPLIT, checkpoint=tmp_path / "c.pt", on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [3, 4]
    assert whole.history_.drop(columns="seconds").equals(resumed.history_.drop(columns="seconds"))
    assert torch.equal(weights(whole), weights(resumed))
    with pytest.raises(InputError, match="belongs to other data or parameters"):
        NetworkClassifier(linear, **QUICK, checkpoint_every=0).fit(SPLIT, checkpoint=tmp_path / "c.pt")


@pytest.mark.parametrize("loss", [nn.MultiMarginLoss(), nn.MultiMarginLoss(reduction="none"), F.multi_margin_loss])
def test_a_loss_of_the_users_is_minimized_and_the_cross_entropy_recorded(loss):
    ours = NetworkClassifier(linear, **QUICK, learning_rate=0.01, decay=0.5, decay_steps=None, momentum=0.0, loss=loss).fit(SPLIT)
    torch.testing.assert_close(weights(ours), by_hand(torch.optim.SGD, F.multi_margin_loss), atol=1e-6, rtol=1e-4)
    assert ours.train_loss_ == pytest.approx(F.cross_entropy(ours.logits(SPLIT), SPLIT.labels).item())


def test_a_loss_of_each_example_works_in_parts():
    def make(**more):
        return NetworkClassifier(linear, **QUICK, loss=nn.MultiMarginLoss(reduction="none"), **more).fit(SPLIT)

    torch.testing.assert_close(weights(make(accumulate=3)), weights(make()), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_one_logit_with_the_binary_cross_entropy_of_torch_is_the_default(shape):
    def make(loss, **more):
        net = lambda s, k: nn.Sequential(nn.Flatten(), nn.Linear(90, 1), nn.Unflatten(1, (1,)) if len(shape) > 1 else nn.Flatten(0))  # noqa: E731
        return weights(NetworkClassifier(net, **QUICK, loss=loss, **more).fit(TWO))

    torch.testing.assert_close(make(nn.BCEWithLogitsLoss()), make(None), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(make(nn.BCEWithLogitsLoss(reduction="none")), make(None), atol=1e-6, rtol=1e-4)
    parts = make(nn.BCEWithLogitsLoss(reduction="none"), accumulate=2)
    torch.testing.assert_close(parts, make(None), atol=1e-6, rtol=1e-4)


def test_defaults_are_left_out_of_ids_and_others_count():
    plain = RunSpec("digits", n_train=100)
    assert RunSpec("digits", n_train=100, params={"optimizer": "sgd", "loss": None}).run_id == plain.run_id
    assert RunSpec("digits", n_train=100, params={"optimizer": "adamw"}).run_id != plain.run_id
    assert "optimizer" not in json.dumps(plain.identity())

    def of(**params):
        return digest(NetworkClassifier(**params), context="cloned")

    assert of(optimizer="sgd", loss=None) == of()
    others = [of(), of(optimizer="adamw"), of(optimizer=adam_by_groups), of(loss=nn.MultiMarginLoss()), of(loss=nn.MultiMarginLoss(p=2))]
    assert len(set(others)) == 5


class Learnable(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; did you mean 'adamw'"),
        ({"optimizer": 3}, "optimizer is 3, expected 'sgd', 'adamw' or a function"),
        ({"optimizer": "adamw", "momentum": 1.0}, "momentum is 1 beside optimizer 'adamw', expected a number in 0…1, below 1"),
        ({"optimizer": torch.optim.Adam, "weight_decay": 0.1}, "weight_decay is 0.1 beside an optimizer of your own"),
        ({"optimizer": torch.optim.Adam, "momentum": 0.5}, "momentum is 0.5 beside an optimizer of your own"),
        ({"optimizer": lambda p, lr: "adam"}, "optimizer returned a str, expected an optimizer of torch"),
        ({"optimizer": lambda p: None}, "optimizer <lambda> raised '.*' for the parameters and the learning rate, expected a function of"),
        ({"optimizer": torch.optim.LBFGS}, "optimizer returned LBFGS, which evaluates the loss by itself"),
        (
            {"optimizer": lambda p, lr: torch.optim.Adam(p[:1], lr)},
            "optimizer returned an optimizer of 1 of the 2 parameters that are trained",
        ),
        ({"optimizer": "adamw", "asynchronous": 2}, "optimizer is 'adamw' where asynchronous is 2, expected 'sgd' beside it"),
        ({"loss": F.mse_loss, "asynchronous": 2}, "loss is .* where asynchronous is 2, expected none of your own beside it"),
        ({"loss": F.cross_entropy, "label_smoothing": 0.1}, "label_smoothing is 0.1 beside a loss of your own"),
        ({"loss": F.cross_entropy, "accumulate": 2}, "loss returned one number where batches are passed through the network in parts"),
        ({"loss": nn.CrossEntropyLoss}, "loss is the class CrossEntropyLoss, expected an instance of it"),
        ({"loss": lambda z, y: 3.0}, "loss returned a float for 8 examples, expected one number"),
        ({"loss": lambda z, y: z}, r"loss returned shape \(8, 4\) for 8 examples, expected one number, or one for each example: \(8,\)"),
        ({"loss": Learnable()}, "loss Learnable has parameters of its own, which would not be trained"),
    ],
)
def test_bad_optimizers_and_losses(params, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(linear, **QUICK, **params).fit(SPLIT)
