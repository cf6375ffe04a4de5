import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from shattering import NetworkClassifier, Randomization, load_dataset, randomize
from shattering.errors import InputError
from tests.conftest import make_split

# One check is skipped by scikit-learn itself (array API inputs need SCIPY_ARRAY_API); none is excluded here.
QUICK = NetworkClassifier(epochs=30, batch_size=16, learning_rate=0.05)


@parametrize_with_checks([QUICK])
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("seed", range(3))
def test_it_fits_random_labels_and_says_so(seed):
    data = randomize(load_dataset("digits", n_train=200, seed=seed), Randomization(1.0), seed)
    net = NetworkClassifier(epochs=80, batch_size=20, learning_rate=0.05, stop_when_fitted=True, random_state=seed)
    net.fit(data.train, test=data.test)
    assert net.interpolated_
    assert net.score(data.train) == 1
    assert net.epochs_to_fit_ == net.n_iter_ < 80
    assert not net.diverged_
    assert 0.0 <= net.score(data.test) < 0.25


class Draws(nn.Module):
    """Draws a tensor that is not stored with its weights: with torch, or with NumPy, which a network's seed does not seed."""

    def __init__(self, source="torch"):
        super().__init__()
        self.last = nn.Linear(64, 10)
        self.register_buffer("scale", torch.rand(64), persistent=False)
        self.shift = torch.rand(64) if source == "torch" else torch.from_numpy(np.random.rand(64).astype(np.float32))  # noqa: NPY002

    def forward(self, images):
        return self.last(images.flatten(1) * self.scale + self.shift)


def test_what_a_constructor_draws_is_the_same_in_a_loaded_network_or_is_told(tmp_path):
    data = load_dataset("digits", n_train=50)
    net = NetworkClassifier(lambda shape, k: Draws(), epochs=1, random_state=3).fit(data.train)
    net.save(tmp_path / "m")
    again = NetworkClassifier(lambda shape, k: Draws(), epochs=1, random_state=3).load(tmp_path / "m")
    assert torch.equal(again.logits(data.test), net.logits(data.test))
    assert net.notes_ == ()
    (note,) = NetworkClassifier(lambda shape, k: Draws("numpy"), epochs=1).fit(data.train).notes_
    assert note.startswith("shift of Draws is not stored with its weights, and other values when it is built again")


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"version": 1}


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 10, dtype=torch.complex64))

    def forward(self, images):
        return (images.flatten(1).to(torch.complex64) @ self.weight).abs()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(64, 10, device="meta"), "weight of Linear is on the meta device, where tensors have no values"),
        (Complex, "weight of Complex is complex, expected real parameters"),
        (lambda: Extra(64, 10), "state_dict of Extra has a dict at '_extra_state', which is not stored with the weights"),
    ],
)
def test_modules_that_cannot_be_trained_or_stored_are_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}"):
        NetworkClassifier(lambda shape, k: make(), epochs=10**6).fit(load_dataset("digits", n_train=50).train)


def test_it_goes_on_after_fitting_unless_told_to_stop():
    data = load_dataset("digits", n_train=100)
    net = NetworkClassifier(epochs=30, batch_size=10, learning_rate=0.05).fit(data.train)
    assert net.epochs_to_fit_ < net.n_iter_ == 30


def test_not_fitting_is_a_result():
    net = NetworkClassifier(epochs=1, learning_rate=1e-6).fit(make_split())
    assert (net.interpolated_, net.epochs_to_fit_, net.diverged_) == (False, None, False)


def test_diverging_is_a_result():
    net = NetworkClassifier(epochs=50, learning_rate=1e25, network="mlp-3x512").fit(make_split(n=300))
    assert net.diverged_
    assert net.n_iter_ < 50
    assert net.epochs_to_fit_ is None
    assert not net.interpolated_
    assert net.predict(make_split()).shape == (40,)


def test_cifar_images_are_cropped_as_in_the_paper():
    net = NetworkClassifier("inception", epochs=1).fit(make_split(n=10, shape=(3, 32, 32), n_classes=10))
    assert net.image_shape_ == (3, 28, 28)
    assert net.n_parameters_ == 1_649_402
    assert NetworkClassifier(epochs=1, crop=None).fit(make_split(n=10, shape=(3, 32, 32))).image_shape_ == (3, 32, 32)
    assert NetworkClassifier(epochs=1, crop=4).fit(make_split(n=10)).image_shape_ == (3, 4, 4)


@pytest.mark.parametrize("network", ["small-cnn", "inception", "mlp-1x512"])
def test_save_and_load(tmp_path, network):
    split = make_split(n=30, shape=(1, 8, 8))
    net = NetworkClassifier(network, epochs=2).fit(split)
    net.save(tmp_path / "m.safetensors")
    again = clone(net).load(tmp_path / "m.safetensors")
    assert (again.predict_proba(split) == net.predict_proba(split)).all()
    assert (again.classes_ == net.classes_).all()
    (tmp_path / "bad").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is not a model that `save` wrote"):
        clone(net).load(tmp_path / "bad")


def test_save_and_load_keep_feature_scaling_and_class_names(tmp_path):
    x, y = np.random.default_rng(0).normal(5, 10, (60, 4)), np.array(["no", "yes"] * 30)
    net = NetworkClassifier(epochs=5).fit(x, y)
    net.save(tmp_path / "m")
    again = clone(net).load(tmp_path / "m")
    assert (again.predict(x) == net.predict(x)).all()
    assert set(again.predict(x)) <= {"no", "yes"}


def test_seeds_of_initialization_and_order_are_separate():
    split = make_split()

    def start_and_end(**seeds):
        first = NetworkClassifier(epochs=1, learning_rate=0.0, batch_size=8, **seeds).fit(split).module_[1].weight.detach()
        return first, NetworkClassifier(epochs=1, batch_size=8, **seeds).fit(split).module_[1].weight.detach()

    init, end = start_and_end(random_state=1)
    same_init, other_end = start_and_end(random_state=1, order_seed=2)
    other_init, _ = start_and_end(random_state=2, order_seed=1)
    assert torch.equal(init, same_init)
    assert not torch.equal(end, other_end)
    assert not torch.equal(init, other_init)


def test_global_generators_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    NetworkClassifier("small-cnn", epochs=1).fit(make_split(shape=(3, 8, 8)))
    assert torch.equal(torch.rand(2), expected[0])
    assert (np.random.rand(2) == expected[1]).all()  # noqa: NPY002


def test_any_factory_and_raw_images():
    factory = lambda shape, k: nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], k))  # noqa: E731
    split = make_split()
    net = NetworkClassifier(factory, epochs=2).fit(split.inputs, split.labels)
    assert net.predict(split.inputs.numpy()).shape == (40,)
    assert net.n_parameters_ == 90 * 4 + 4


def test_bfloat16_trains():
    data = load_dataset("digits", n_train=200)
    net = NetworkClassifier(epochs=10, batch_size=20, learning_rate=0.05, precision="bfloat16").fit(data.train)
    assert net.score(data.train) > 0.95


def test_compile_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **_: asked.append(module) or module)
    net = NetworkClassifier(epochs=1, compile=True).fit(make_split())
    assert asked == [net.module_]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"network": "vgg"}, "unknown network 'vgg'; known: alexnet"),
        ({"network": 3}, "network is 3, expected a name or a factory"),
        ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
        ({"epochs": 1.5}, r"epochs is 1.5, expected a whole number"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1, expected a number of at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"momentum": 2}, "momentum is 2, expected a number in 0…1"),
        ({"decay": 1.1}, "decay is 1.1, expected a number in 0…1"),
        ({"decay_steps": 0}, "decay_steps is 0, expected a whole number of at least 1"),
        ({"weight_decay": "much"}, "weight_decay is 'much'"),
        ({"stop_when_fitted": "no"}, "stop_when_fitted is 'no', expected true or false"),
        ({"crop": 99}, "crop is 99, expected 1…5"),
        ({"standardize": "zca"}, "unknown standardize 'zca'"),
        ({"precision": "int4"}, "unknown precision 'int4'; known: auto, bfloat16, float32"),
        ({"device": "abacus"}, "device is 'abacus', expected a device of torch such as 'cpu' or 'cuda:0', or 'auto'"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(**params).fit(make_split())


def test_bad_data():
    split = make_split()
    net = NetworkClassifier(epochs=1).fit(split)
    with pytest.raises(InputError, match=r"images have shape \(3, 8, 8\), expected \(3, 6, 5\) as in fit"):
        net.predict(make_split(shape=(3, 8, 8)))
    with pytest.raises(InputError, match="X has 40 examples and y has 3 labels"):
        NetworkClassifier().fit(split.inputs, [0, 1, 2])
    with pytest.raises(ValueError, match="NaN"):
        NetworkClassifier().fit(np.array([[np.nan, 1.0], [0.0, 1.0]]), [0, 1])


def test_labels_beside_a_split_are_refused():
    split, y = make_split(), np.zeros(40, int)
    net = NetworkClassifier(epochs=1).fit(split)
    for call in (net.fit, net.score, net.prepared):
        with pytest.raises(InputError, match="y is a ndarray beside a Split, which has labels of its own, expected none"):
            call(split, y)


def test_a_crop_of_a_table_is_refused():
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    with pytest.raises(InputError, match="crop is 5 for inputs of kind 'table', expected none: only images are cropped"):
        NetworkClassifier(epochs=1, crop=5).fit(x, y)
    for standardize in ("auto", "range", "image"):
        NetworkClassifier("mlp-1x4", epochs=1, crop=None, standardize=standardize).fit(x, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("network", ["mlp-1x512", "small-cnn", "inception"])
def test_cuda_agrees_with_the_cpu(network):
    data = load_dataset("digits", n_train=256)
    cpu, gpu = (NetworkClassifier(network, epochs=2, device=d).fit(data.train, test=data.test) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(cpu.history_["train_loss"], gpu.history_["train_loss"], rtol=2e-2)
    assert gpu.device_.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("network", ["inception", "alexnet"])
def test_cuda_graphs_and_augmentation_on_the_device_agree_with_plain_training(network):
    data = load_dataset("digits", n_train=300)  # two full batches, which are compiled, and one that is not
    common = {"epochs": 3, "device": "cuda", "augment": ["crop", "rotation"], "precision": "bfloat16"}
    plain, compiled = (NetworkClassifier(network, compile=c, **common).fit(data.train, test=data.test) for c in (False, True))
    np.testing.assert_allclose(plain.history_["train_loss"], compiled.history_["train_loss"], rtol=5e-2)
    again = NetworkClassifier(network, compile=True, dropout=0.2, **common).fit(data.train)
    once_more = NetworkClassifier(network, compile=True, dropout=0.2, **common).fit(data.train)
    np.testing.assert_allclose(again.history_["train_loss"], once_more.history_["train_loss"], rtol=5e-2)
