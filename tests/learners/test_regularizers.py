import numpy as np
import pytest
import torch
from torch import nn

from shattering import NetworkClassifier
from shattering.data.augment import Augmentation, strengths
from shattering.errors import InputError
from shattering.learners.train.batches import batch_rows
from shattering.networks import add_dropout, build_network
from tests.conftest import make_split
from tests.learners.train.test_loop import Stop, stop_after

ALL = {"augment": ["crop", "flip", "rotation", "brightness", "contrast", "saturation", "hue"], "dropout": 0.3}


def fit(split, **params):
    test = make_split(n=8, shape=split.input_shape)
    return NetworkClassifier(**{"epochs": 3, "batch_size": 16, "device": "cpu", "random_state": 1, **params}).fit(split, test=test)


@pytest.mark.parametrize("params", [{"augment": "crop"}, {"dropout": 0.5}, {"weight_decay": 0.1}, {"augment": {"rotation": 10}}])
def test_each_regularizer_changes_the_training_and_repeats_exactly(params):
    split = make_split()
    one, two, plain = fit(split, **params), fit(split, **params), fit(split)
    assert one.history_.drop(columns="seconds").equals(two.history_.drop(columns="seconds"))
    assert one.history_["train_loss"].tolist() != plain.history_["train_loss"].tolist()


def test_a_resumed_fit_with_everything_random_is_bitwise_the_uninterrupted_one(tmp_path):
    split, test = make_split(shape=(3, 8, 8)), make_split(n=10, shape=(3, 8, 8), seed=1)
    make = lambda: NetworkClassifier("small-cnn", epochs=4, batch_size=16, checkpoint_every=0, device="cpu", **ALL)  # noqa: E731
    whole = make().fit(split, test=test)
    with pytest.raises(Stop):
        make().fit(split, test=test, checkpoint=tmp_path / "c.pt", on_epoch=stop_after(2))
    torch.rand(7)  # the state of the global generator must not matter
    resumed = make().fit(split, test=test, checkpoint=tmp_path / "c.pt")
    assert whole.history_.drop(columns="seconds").equals(resumed.history_.drop(columns="seconds"))
    for a, b in zip(whole.module_.state_dict().values(), resumed.module_.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_no_global_generator_is_touched():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fit(make_split(shape=(3, 8, 8)), **ALL)
    assert torch.equal(torch.rand(3), expected)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_every_epoch_sees_its_own_version_of_every_image_with_its_label():
    seen = []

    class Spy(nn.Module):
        def __init__(self, shape, k):
            super().__init__()
            self.layer = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), k))

        def forward(self, images):
            if self.training:
                seen.append(images.detach().clone())
            return self.layer(images)

    split = make_split(n=12)
    net = NetworkClassifier(Spy, epochs=3, batch_size=12, augment="rotation", standardize="none", learning_rate=0.0, device="cpu").fit(
        split
    )
    augmentation = Augmentation(strengths("rotation"), (6, 5))
    for epoch, images in enumerate(seen):
        (rows,) = batch_rows(12, 12, 0, epoch)
        versions = augmentation(split.inputs.float() / 255, augmentation.draw(12, 0, epoch))
        torch.testing.assert_close(images, versions[rows])
        loss = nn.functional.cross_entropy(net.module_.layer(versions), split.labels)
        assert net.history_["train_loss"][epoch] == pytest.approx(loss.item())
    assert len(seen) == 3


def test_the_training_set_is_evaluated_as_it_is():
    split = make_split()
    net = fit(split, augment="rotation", evaluate_train=True)
    assert net.history_["full_train_accuracy"].iloc[-1] == net.train_accuracy_ == net.score(split)
    assert net.history_["full_train_loss"].iloc[-1] == pytest.approx(net.train_loss_)


def test_images_are_cut_to_the_size_of_the_crop_from_the_whole_image():
    net = NetworkClassifier("small-cnn", epochs=1, crop=4, augment="crop", standardize="feature").fit(make_split(n=20))
    assert net.image_shape_ == (3, 4, 4)


def test_dropout_drops_at_its_rate_while_training_alone():
    module = build_network("mlp-3x512", (1, 4, 4), 3, 0)
    add_dropout(module, 0.25)
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    inputs = {}
    for i, layer in enumerate(linear):
        layer.register_forward_pre_hook(lambda _, x, i=i: inputs.__setitem__(i, x[0]))
    images = torch.rand(400, 1, 4, 4)
    module.train()
    module(images)
    assert float((inputs[0] == 0).float().mean()) == 0, "not the network's own input"
    module.eval()
    expected = {i: x for i, x in inputs.items() if i}
    module(images)
    for i in (2, 3):
        rate = ((expected[i] == 0).float().mean() - (inputs[i] == 0).float().mean()) / (inputs[i] != 0).float().mean()
        assert rate.item() == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dropout": 1.5}, r"dropout is 1.5, expected a number in 0…1"),
        ({"augment": "zoom"}, "unknown augmentation 'zoom'"),
        ({"augment": "hue"}, "hue got images with 1 channels"),
        ({"dropout": 0.5, "network": lambda shape, k: nn.Sequential(nn.Flatten(), nn.Linear(64, k))}, "and the network has none"),
    ],
)
def test_bad_regularizers_are_named(params, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(epochs=1, **params).fit(make_split(shape=(1, 8, 8)))


def test_tables_cannot_be_augmented():
    with pytest.raises(InputError, match="augment is 'flip' for inputs of kind 'table', expected none"):
        NetworkClassifier(epochs=1, augment="flip").fit(np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2)


def test_splits_to_watch_must_have_the_shape_of_the_training_images():
    with pytest.raises(InputError, match=r"test images have shape \(3, 6, 4\), expected \(3, 6, 5\) as in the train split"):
        NetworkClassifier(epochs=1).fit(make_split(), test=make_split(shape=(3, 6, 4)))


def test_a_validation_split_is_watched():
    net = NetworkClassifier(epochs=2).fit(make_split(), test=make_split(n=8), validation=make_split(n=16, seed=2))
    assert net.history_["validation_accuracy"].iloc[-1] == net.score(make_split(n=16, seed=2))
    assert net.history_["test_accuracy"].iloc[-1] == net.score(make_split(n=8))


def test_only_full_batches_use_the_compiled_network(monkeypatch):
    calls = []

    def compile(module, **_):
        class Compiled(nn.Module):
            def __init__(self):
                super().__init__()
                self._orig_mod = module

            def forward(self, images):
                calls.append(len(images))
                return module(images)

        return Compiled()

    monkeypatch.setattr(torch, "compile", compile)
    net = fit(make_split(n=40), compile=True)
    assert calls == [16, 16] * 3
    assert net.history_.drop(columns="seconds").equals(fit(make_split(n=40)).history_.drop(columns="seconds"))
