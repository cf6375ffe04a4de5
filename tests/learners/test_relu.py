import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.learners.relu import ReluInterpolator, ReluInterpolatorClassifier
from shattering.relu.networks import n_parameters
from shattering.relu.points import distinct, survey

DEPTHS = (2, 3, 4, 5, 8, 64)


def plain(model, X) -> np.ndarray:
    with torch.no_grad():
        return model.module()(torch.as_tensor(np.asarray(X))).numpy()


@parametrize_with_checks([ReluInterpolator(), ReluInterpolatorClassifier(), ReluInterpolator(depth=8), ReluInterpolatorClassifier(depth=5)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
def test_interpolates_with_the_exact_number_of_weights(depth, dtype):
    generator = np.random.default_rng(depth)
    X = generator.normal(size=(200, 30)) if dtype.startswith("f") else generator.integers(0, 255, (200, 30))
    X, y = X.astype(dtype), generator.normal(size=200)
    model = ReluInterpolator(depth).fit(X, y)
    module = model.module()
    assert model.n_parameters_ == sum(p.numel() for p in module.parameters()) == n_parameters(200, 30, depth)
    if depth == 2:
        assert model.n_parameters_ == 2 * 200 + 30
    else:
        assert model.n_parameters_ <= 2 * 200 + 30 + 2 * depth
        assert module.width <= -(-200 // max(depth - 3, 1)) + 4
    np.testing.assert_allclose(plain(model, X), y, atol=1e-8)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-9)
    assert model.max_error_ <= 1e-8
    assert model.n_checked_ == 200
    assert model.interpolated_
    assert model.exact_projections_ == (not dtype.startswith("f"))


@pytest.mark.parametrize("depth", DEPTHS)
def test_predictions_are_the_networks_everywhere(depth):
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(100, 6)), generator.normal(size=100)
    model, new = ReluInterpolator(depth).fit(X, y), 3 * generator.normal(size=(500, 6))
    np.testing.assert_allclose(plain(model, new), model.predict(new), atol=1e-7)


def dense(module) -> nn.Sequential:
    """The network of depth k >= 4 written out as k ordinary linear layers with ReLU between them."""
    layers, G = [], module.groups
    d, w = module.direction.detach(), module.weights.detach().split(module.sizes)
    b, right, length = module.thresholds.detach().split(module.sizes), module.rights.detach(), module.lengths.detach()

    def linear(before, rows, n_in=None):
        layer = nn.Linear(n_in or len(before), len(rows), dtype=torch.float64)
        with torch.no_grad():
            layer.weight.zero_()
            for i, (terms, bias) in enumerate(rows):
                layer.bias[i] = bias
                for name, value in terms.items():
                    layer.weight[i, before.index(name)] = value
        return layer

    units = ["v0", "t"] if G > 1 else ["v0"]
    first = nn.Linear(len(d), len(units), dtype=torch.float64)
    with torch.no_grad():
        first.weight.copy_(torch.stack([-d, d])[: len(units)])
        first.bias.copy_(torch.stack([right[0] + module.start.detach(), -module.start.detach()])[: len(units)])
    layers += [first, nn.ReLU()]
    for layer in range(2, G + 3):
        rows, now = ([({"t": 1.0}, 0.0)], ["t"]) if layer < G else ([], [])
        if layer - 1 < G:
            rows.append(({"t": -1.0}, right[layer - 1]))
            now.append(f"v{layer - 1}")
        if 0 <= layer - 2 < G:
            rows.append(({f"v{layer - 2}": -1.0}, length[layer - 2]))
            now.append(f"u{layer - 2}")
        if 0 <= layer - 3 < G:
            g = layer - 3
            for j in range(len(b[g])):
                rows.append(({f"u{g}": 1.0}, -b[g][j]))
                now.append(f"h{g},{j}")
        if 0 <= layer - 4 < G:
            g = layer - 4
            terms = {f"h{g},{j}": w[g][j] for j in range(len(w[g]))} | ({"acc": 1.0} if "acc" in units else {})
            rows.append((terms, 0.0))
            now.append("acc")
        layers += [linear(units, rows), nn.ReLU()]
        units = now
    terms = {f"h{G - 1},{j}": w[G - 1][j] for j in range(len(w[G - 1]))} | ({"acc": 1.0} if "acc" in units else {})
    return nn.Sequential(*layers, linear(units, [(terms, module.offset.detach())]))


@pytest.mark.parametrize("depth", [4, 5, 9])
def test_a_deep_network_is_ordinary_layers(depth):
    generator = np.random.default_rng(2)
    X, y = generator.normal(size=(40, 5)), generator.normal(size=40)
    model = ReluInterpolator(depth).fit(X, y)
    network = dense(model.module())
    assert sum(isinstance(layer, nn.Linear) for layer in network) == depth
    widths = [layer.out_features for layer in network if isinstance(layer, nn.Linear)]
    assert max(widths) == model.module().width
    new = torch.from_numpy(np.concatenate([X, 3 * generator.normal(size=(100, 5))]))
    with torch.no_grad():
        np.testing.assert_allclose(network(new)[:, 0].numpy(), model.module()(new).numpy(), atol=1e-9)


@given(st.integers(0, 10_000), st.sampled_from(["random", "clustered", "line", "integer", "large", "tiny"]), st.sampled_from(DEPTHS))
def test_adversarial_points(seed, kind, depth):
    generator = np.random.default_rng(seed)
    X, y = generator.normal(size=(60, 8)), generator.integers(0, 10, 60).astype(float)
    if kind == "clustered":
        X = generator.normal(size=(3, 8))[generator.integers(0, 3, 60)] + 1e-6 * X
    elif kind == "line":
        X = np.outer(np.arange(60.0), X[0]) + 1e-9 * X
    elif kind == "integer":
        X = np.unique(generator.integers(0, 3, (200, 8)), axis=0)[:60]
    elif kind == "large":
        X = 1e12 * X
    elif kind == "tiny":
        X = 1e-12 * X
    y = y[: len(X)]
    model = ReluInterpolator(depth).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-4)
    assert np.abs(plain(model, X) - y).max() <= max(1e-4, 10 * model.max_error_)
    assert model.interpolated_
    assert model.largest_weight_ <= model.weight_bound_ * (1 + 1e-9) or depth > 2


def test_turning_the_direction_moves_the_closest_points_apart():
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (1500, 400), dtype=np.uint8), generator.integers(0, 10, 1500)
    before = ReluInterpolatorClassifier(rounds=0, candidates=1).fit(X, y)
    after = ReluInterpolatorClassifier(candidates=1).fit(X, y)
    assert after.rounds_ > 0
    assert after.max_error_ < before.max_error_ / 3
    assert (after.predict(X) == y).all()


def test_what_float64_cannot_hold_is_said():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [1.0 + 1e-15, 0.0], [1e9, 5.0]])
    with pytest.warns(ConvergenceWarning, match="too close for float64"):
        model = ReluInterpolator().fit(X, [0.0, 1.0, 0.0, 1.0])
    assert not model.interpolated_
    assert model.max_error_ > 1e-4


def test_points_that_coincide_along_the_direction_are_wrong_in_predict_too_and_it_is_said():
    X = [[1.0, 1e-17], [1.0, 2e-17], [1e-17, 1.0], [2e-17, 1.0]]
    with pytest.warns(ConvergenceWarning, match=r"tell points of different targets apart .* nor does predict\(\): bring the features"):
        model = ReluInterpolator().fit(X, [0.0, 1.0, 0.0, 1.0])
    assert np.abs(model.predict(X) - [0.0, 1.0, 0.0, 1.0]).max() == 1
    assert not model.interpolated_


@pytest.mark.parametrize("X", [[[2**53], [2**53 + 1]], [[-(2**53) - 1], [0]]])
def test_the_first_whole_number_that_float64_rounds_is_refused(X):
    with pytest.raises(InputError, match=r"which float64 cannot hold exactly, expected at most 2\^53"):
        ReluInterpolator().fit(np.array(X), [0, 1])


@pytest.mark.parametrize("unit", [2.0**50, 1e17, 1e300])
def test_whole_numbers_that_leave_no_grid_keep_the_direction(unit):
    model = ReluInterpolator().fit(unit / 4 * np.array([[1.0], [2.0], [3.0]]), [0, 1, 5])
    assert not model.exact_projections_
    np.testing.assert_allclose(model.hinges_.values, [0, 1, 5])
    X = unit * np.random.default_rng(0).integers(0, 9, (30, 4)) / 64
    y = np.arange(30.0)
    np.testing.assert_allclose(ReluInterpolator().fit(X, y).predict(X), y, atol=1e-4)


def test_the_tolerance_of_the_classifier_is_in_units_of_the_range_of_its_targets():
    X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
    error = ReluInterpolatorClassifier().fit(X, y).max_error_
    assert error > 0
    with pytest.warns(ConvergenceWarning, match="of the distance between two classes"):
        ReluInterpolatorClassifier(tol=error / 1.5).fit(X, y)
    with warnings.catch_warnings(action="error"):
        ReluInterpolatorClassifier(tol=error).fit(X, y)


def test_duplicates():
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (50, 9), dtype=np.uint8), generator.integers(0, 3, 50)
    again = np.concatenate([X, X[:5], X[:1]])
    model = ReluInterpolatorClassifier().fit(again, np.concatenate([y, y[:5], y[:1]]))
    assert model.n_points_ == 50
    assert model.n_parameters_ == 2 * 50 + 9
    wrong = np.concatenate([y, y[:5], (y[:1] + 1) % 3])
    with pytest.raises(InputError, match=r"equal rows have different targets: 50 and 55 \("):
        ReluInterpolatorClassifier().fit(again, wrong)


def test_zero_and_minus_zero_are_equal_rows():
    X = np.array([[0.0, 1.0], [-0.0, 1.0]])
    hashes, largest = survey(X)
    assert hashes[0] == hashes[1]
    assert largest == 1
    with pytest.raises(InputError, match="0 and 1"):
        distinct(X, np.array([0.0, 1.0]), hashes)


def test_projections_of_whole_numbers_are_exact():
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (300, 500), dtype=np.uint8), generator.normal(size=300)
    model = ReluInterpolator().fit(X, y)
    exact = [sum(int(x) * int(a * 2.0**52) for x, a in zip(row, model.direction_, strict=True)) for row in X]
    knots = [int(z * 2.0**52) for z in model.hinges_.knots]
    assert sorted(exact) == knots


class Lazy:
    def __init__(self, X):
        self.X, self.shape, self.dtype, self.largest = X, X.shape, X.dtype, 0

    def __getitem__(self, index):
        got = self.X[index]
        self.largest = max(self.largest, got.size)
        return got


def test_rows_read_in_blocks_give_the_same_network():
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (6000, 1000), dtype=np.uint8), generator.integers(0, 10, 6000)
    lazy = Lazy(X)
    model, streamed = ReluInterpolatorClassifier().fit(X, y), ReluInterpolatorClassifier().fit(lazy, y)
    assert (model.hinges_.weights == streamed.hinges_.weights).all()
    assert (streamed.predict(lazy) == y).all()
    assert lazy.largest <= 2**21
    with pytest.raises(InputError, match="1000 features"):
        streamed.predict(Lazy(X[:, :10]))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"candidates": 0}, "candidates"),
        ({"rounds": -1}, "rounds"),
        ({"tol": -1.0}, "tol"),
        ({"depth": 1}, "depth"),
        ({"depth": 2.5}, "depth"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError, match=message):
        ReluInterpolator(**params).fit(np.eye(3), [0.0, 1.0, 2.0])


def test_bad_data():
    with pytest.raises(ValueError, match="NaN"):
        ReluInterpolator().fit([[0.0], [np.nan]], [0.0, 1.0])
    with pytest.raises(InputError, match=r"NaN or infinity"):
        ReluInterpolator().fit(Lazy(np.array([[0.0], [np.inf]])), [0.0, 1.0])
    with pytest.raises(InputError, match=r"2\^53"):
        ReluInterpolator().fit(np.array([[0], [2**60]]), [0.0, 1.0])


def test_random_labels_on_real_images(real_data):
    data = load_dataset("cifar10", n_train=1500)
    X, y = data.train.inputs.flatten(1).numpy(), np.random.default_rng(0).integers(0, 10, 1500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ReluInterpolatorClassifier().fit(X, y)
    assert model.n_parameters_ == 2 * 1500 + 3072
    assert model.max_error_ < 1e-7
    assert (np.rint(plain(model, X)) == y).all()


@pytest.mark.parametrize("depth", [2, 5])
def test_the_rounding_of_points_far_from_zero_is_in_the_largest_error(depth):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(50, 6)), generator.normal(size=50)
    near, far = ReluInterpolator(depth).fit(X, y), ReluInterpolator(depth).fit(X + 1e8, y)
    assert near.max_error_ < 1e-9
    assert far.max_error_ >= np.abs(far.predict(X + 1e8) - y).max() / 3
    assert 1e-8 < far.max_error_ < 1e-4
    with pytest.warns(ConvergenceWarning, match="subtract the mean of each feature") as warned:
        farther = ReluInterpolator(depth).fit(X + 1e12, y)
    assert not farther.interpolated_
    assert warned[0].filename == __file__


def test_lazy_rows_that_are_no_numbers_are_not_predicted():
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = ReluInterpolatorClassifier().fit(Lazy(X), np.arange(20) % 2)
    for strange in (np.nan, np.inf):
        with pytest.raises(InputError, match="X contains NaN, infinity"):
            model.predict(Lazy(np.where(X > 1, strange, X)))


@pytest.mark.parametrize(("points", "targets"), [(1e-310, 1.0), (1.7e308, 1.0), (1.0, 1.7e308)])
def test_slopes_beyond_all_numbers_are_refused(points, targets):
    X, y = np.random.default_rng(0).uniform(-1, 1, size=(20, 2)), np.linspace(-1, 1, 20) ** 3
    with warnings.catch_warnings(action="ignore"), pytest.raises(InputError, match="scale them"):
        ReluInterpolator().fit(points * X, targets * y)
