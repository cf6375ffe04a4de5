import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import euclidean_distances

from shattering.errors import InputError
from shattering.features import random_conv
from shattering.features.conv_gram import accumulate_gram, accumulate_products, gram_key, gram_parts, merge_grams, products_key
from shattering.features.random_conv import RECIPES, RandomConvFeatures
from shattering.learners.random_conv import RandomConvClassifier
from shattering.learners.random_conv_kernel import RandomConvKernelClassifier
from shattering.linalg import stored
from shattering.linalg.stored import StoredGram, StoredProducts
from shattering.system import machine
from tests import oracles

SIDE = 14  # of the images: as in those of up to 20 pixels, one window pools them whole
D = 3 * SIDE**2


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Few filters in a block, few rows in a tile, and few patches for the whitening where a test or a classifier does not say how many."""
    monkeypatch.setattr(random_conv, "FILTERS", 8)
    monkeypatch.setattr(stored, "_ROWS", 30)
    monkeypatch.setitem(RandomConvFeatures.__init__.__kwdefaults__, "n_patches", 500)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((70, D), dtype=np.float32)


def fitted(images, n_filters=20, **params):
    return RandomConvFeatures(n_filters, **params).fit(images)


@pytest.mark.parametrize("recipe", ["a", "b"])
def test_features_agree_with_the_slow_obvious_version(recipe):
    """On images of 32 pixels, which several windows pool."""
    images = np.random.default_rng(0).random((6, 3 * 32 * 32), dtype=np.float32)
    features = fitted(images, 3, recipe=recipe, random_state=4)
    patches = features._draw_patches("patches", 0, 500).double().numpy()
    filters = features._draw_patches("filters", 0, 8)[:3].double().numpy()
    expected = np.stack([oracles.random_conv(x.reshape(3, 32, 32) * 255.0, patches, filters, RECIPES[recipe]) for x in images])
    if recipe == "b":
        expected = (expected - expected.mean(0)) / expected.std(0)
    found = features.transform(images)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_the_sizes_of_the_recipe_on_cifar():
    images = np.random.default_rng(0).random((5, 3072), dtype=np.float32)
    for recipe, per_filter in (("a", 18), ("b", 8)):
        features = fitted(images, 4, recipe=recipe)
        assert features.features_per_filter_ == per_filter
        assert features.transform(images).shape == (5, 4 * per_filter)


def test_features_are_the_same_on_any_number_of_threads(images):
    features = fitted(images)
    one = features.block(0, features.training_images_)
    try:
        torch.set_num_threads(3)
        three = features.block(0, features.training_images_)
        assert torch.get_num_threads() == 3
        threads = []
        other = threading.Thread(target=lambda: threads.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert threads == [3]
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, three)


def test_features_are_computed_on_devices_other_than_the_cpu_and_cuda(images):
    features = fitted(images)
    found = features.block(0, features.training_images_.to("meta"))
    assert found.device.type == "meta"
    assert found.shape == features.block(0, features.training_images_).shape


def test_more_filters_extend_fewer(images):
    few, many = fitted(images, 16).transform(images), fitted(images, 40).transform(images)
    np.testing.assert_array_equal(many[:, : few.shape[1]], few)
    assert not np.array_equal(fitted(images, 16, random_state=1).transform(images), few)


@pytest.mark.parametrize("colour", [0.0, 0.3, 0.7, 1.0])
def test_a_patch_of_one_colour_has_no_response(images, colour):
    features = fitted(images)
    flat = torch.full((1, D), colour)
    for number in range(3):
        _, offsets = features._filters[number]
        expected = torch.cat([torch.relu(-offsets - 1), torch.relu(offsets - 1)])  # of a patch of zeros
        found = features.block(number, flat).view(len(expected), -1)
        torch.testing.assert_close(found, expected[:, None].expand(found.shape))


@pytest.mark.parametrize("recipe", ["a", "b"])
def test_a_transform_costs_the_images_it_is_given(images, recipe, monkeypatch):
    features = fitted(images[:60], recipe=recipe)
    z = features.transform(images)
    seen = []
    block = RandomConvFeatures.block
    with monkeypatch.context() as patch:
        patch.setattr(RandomConvFeatures, "block", lambda self, number, x: seen.append(len(x)) or block(self, number, x))
        patch.setattr(RandomConvFeatures, "_draw_patches", lambda *_: pytest.fail("drawn again"))
        np.testing.assert_array_equal(features.transform(images[60:]), z[60:])
    assert seen == 3 * [10]
    model = RandomConvClassifier(20, recipe=recipe, ridge=0.1)
    model.fit(images[:60], np.arange(60) % 3)
    other = RandomConvFeatures(20, recipe=recipe).fit(images[:60])
    np.testing.assert_array_equal(model.features_.transform(images[60:]), other.transform(images[60:]))
    np.testing.assert_array_equal(RandomConvFeatures(20, recipe=recipe).fit_transform(images[:60]), other.transform(images[:60]))


@pytest.mark.parametrize("recipe", ["a", "b"])
def test_the_gram_matrix_by_blocks(images, recipe):
    features = fitted(images, recipe=recipe)
    z = features.transform(images).astype(np.float64)
    gram = accumulate_gram(features)
    everything = slice(0, 70)
    np.testing.assert_allclose(gram.block(everything, everything, torch.float64), z @ z.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gram.columns(torch.tensor([3, 50]), torch.float64), (z @ z.T)[:, [3, 50]], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gram.diagonal(), (z**2).sum(1), rtol=1e-4)


def _accumulate_and_die(images, path, after):
    random_conv.FILTERS = 8

    def say(text):
        if text.startswith(f"Gram matrix: {after + 1} "):
            os.kill(os.getpid(), signal.SIGKILL)

    accumulate_gram(fitted(images), path, save_every=0, say=say)


def test_a_kill_resumes_to_the_same_matrix(images, tmp_path):
    whole = accumulate_gram(fitted(images))
    path = tmp_path / "sum.gram"
    for after in (1, 2):
        process = multiprocessing.get_context("fork").Process(target=_accumulate_and_die, args=(images, path, after))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert StoredGram.parts_in(path) == gram_parts(fitted(images))[:after]
    resumed = accumulate_gram(fitted(images), path)
    assert all(map(torch.equal, resumed.panels, whole.panels))
    assert all(map(torch.equal, StoredGram.load(path, gram_key(fitted(images))).panels, whole.panels))


def test_blocks_spread_over_machines_add_up(images, tmp_path):
    features = fitted(images)
    paths = [tmp_path / f"{k}.gram" for k in range(3)]
    for k, path in enumerate(paths):
        accumulate_gram(fitted(images), path, blocks=range(k, 3, 3))
    merged = merge_grams(paths, tmp_path / "all.gram", features)
    torch.testing.assert_close(merged.panels, accumulate_gram(features).panels)
    again = accumulate_gram(features, tmp_path / "all.gram")
    assert all(map(torch.equal, again.panels, merged.panels))
    with pytest.raises(InputError, match=r"both Gram matrices have the part \(1, 8\)"):
        merge_grams([paths[1], paths[1]], tmp_path / "twice.gram", features)


def test_files_that_do_not_fit_are_refused(images, tmp_path):
    path = tmp_path / "a.gram"
    accumulate_gram(fitted(images), path)
    with pytest.raises(InputError, match="holds the products of other features, images or precision"):
        accumulate_gram(fitted(images, random_state=1), path)
    with pytest.raises(InputError, match="has filter block 1, which is not among those asked for"):
        accumulate_gram(fitted(images, 8), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="does not hold products of features, or is damaged"):
        accumulate_gram(fitted(images), path)


@pytest.mark.parametrize("recipe", ["a", "b"])
@pytest.mark.parametrize(("ridge", "precision", "off"), [(0.0, "float64", 1e-6), (0.1, "float64", 1e-6), (0.1, "float32", 1e-3)])
def test_the_classifier_is_the_linear_model_on_its_features(images, recipe, ridge, precision, off):
    labels = np.arange(70) % 3
    model = RandomConvClassifier(60, recipe=recipe, ridge=ridge, precision=precision).fit(images[:60], labels[:60])
    z, new = (model.features_.transform(x).astype(np.float64) for x in (images[:60], images[60:]))
    scale = 1 / (z**2).sum(1).mean()
    constant = float(recipe == "b")
    dual = np.linalg.solve(scale * z @ z.T + constant + ridge * np.eye(60), np.eye(3)[labels[:60]])
    weights, intercept = scale * z.T @ dual, constant * dual.sum(0)
    np.testing.assert_allclose(model.coef_, weights, atol=off * abs(weights).max())
    np.testing.assert_allclose(model.decision_function(images[60:]), new @ weights + intercept, atol=10 * off)
    assert model.norm_ == pytest.approx(np.sqrt(np.linalg.norm(weights) ** 2 / scale + (constant * dual.sum(0) ** 2).sum()), rel=off)
    assert model.interpolated_ == (ridge == 0)
    assert (model.train_predictions_ == model.predict(images[:60])).all()


@pytest.mark.parametrize("recipe", ["a", "b"])
@pytest.mark.parametrize(("ridge", "precision", "off"), [(0.0, "float64", 1e-4), (0.1, "float64", 1e-5), (0.1, "float32", 1e-4)])
def test_the_kernel_on_features_is_scikit_learns_on_explicit_standardized_features(images, recipe, ridge, precision, off):
    labels = np.arange(60) % 3
    model = RandomConvKernelClassifier(20, recipe=recipe, ridge=ridge, bandwidth=0.5, precision=precision).fit(images[:60], labels)
    explicit = RandomConvFeatures(20, recipe=recipe, standardize=False).fit(images[:60])
    z, new = (explicit.transform(x).astype(np.float64) for x in (images[:60], images[60:]))
    mean, deviation = z.mean(0), z.std(0)
    z, new = ((features - mean) / np.where(deviation > 0, deviation, 1) for features in (z, new))
    median = np.median(euclidean_distances(z, squared=True)[~np.eye(60, dtype=bool)])
    assert model.gamma_ == pytest.approx(0.5 / median, rel=1e-4)
    theirs = KernelRidge(alpha=ridge or 1e-12, kernel="rbf", gamma=0.5 / median).fit(z, np.eye(3)[labels])
    np.testing.assert_allclose(model.decision_function(images[60:]), theirs.predict(new), atol=off)
    np.testing.assert_allclose(model.decision_function(images[:60]), theirs.predict(z), atol=off)
    assert model.interpolated_ == (ridge == 0)
    assert (model.train_predictions_ == model.predict(images[:60])).all()
    norm = np.sqrt((theirs.dual_coef_ * (theirs.predict(z))).sum())
    assert model.norm_ == pytest.approx(norm, rel=1e-3)


def test_the_kernel_uses_a_cache_for_other_ridges_and_predictions(images, tmp_path, monkeypatch):
    labels = np.arange(60) % 3

    def values(**params):
        return RandomConvKernelClassifier(20, **params).fit(images[:60], labels).decision_function(images[60:])

    fresh = values(ridge=0.1, bandwidth=1.0)
    values(cache=tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gram", ".products"]
    monkeypatch.setattr(RandomConvFeatures, "block", lambda *_: pytest.fail("computed again"))
    np.testing.assert_allclose(values(ridge=0.1, bandwidth=1.0, cache=tmp_path), fresh, atol=1e-5)


def _predict_and_die(images, path, after):
    random_conv.FILTERS = 8

    def say(text):
        if f": {after + 1} of" in text:
            os.kill(os.getpid(), signal.SIGKILL)

    features = fitted(images[:60], standardize=True)
    accumulate_products(features, torch.from_numpy(images[60:]), path, save_every=0, say=say)


def test_a_kill_resumes_to_the_same_products(images, tmp_path):
    features, new, path = fitted(images[:60], standardize=True), torch.from_numpy(images[60:]), tmp_path / "sum.products"
    whole = accumulate_products(features, new)
    process = multiprocessing.get_context("fork").Process(target=_predict_and_die, args=(images, path, 2))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert StoredProducts.load(path, products_key(features, new)).parts == gram_parts(features)[:2]
    resumed = accumulate_products(features, new, path)
    assert torch.equal(resumed.values, whole.values)
    z, new_z = features.transform(images[:60]), features.transform(images[60:])
    np.testing.assert_allclose(whole.values, new_z @ z.T, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(whole.squares, (new_z.astype(np.float64) ** 2).sum(1), rtol=1e-5)
    with pytest.raises(InputError, match="holds the products of other features, images or precision"):
        accumulate_products(features, new[:5], path)
    with pytest.raises(InputError, match="has filter block 1, which is not among those asked for"):
        accumulate_products(fitted(images[:60], 8, standardize=True), new, path)


def test_standardized_features_have_a_gram_matrix_of_their_own(images):
    plain, standardized = fitted(images), fitted(images, standardize=True)
    assert gram_key(plain) != gram_key(standardized)
    assert gram_key(fitted(images, recipe="b")) == gram_key(fitted(images, recipe="b", standardize=True))
    z = standardized.transform(images)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(0)[z.std(0) > 0], 1, atol=1e-4)


def test_images_of_another_shape_have_a_gram_matrix_of_their_own(images):
    """The same numbers in another order of pixels and channels."""
    assert gram_key(fitted(images)) == gram_key(fitted(images, image_shape=(3, SIDE, SIDE)))
    assert gram_key(fitted(images)) != gram_key(fitted(images, image_shape=(1, SIDE, 3 * SIDE)))


def test_whole_numbers_of_numpy_are_those_of_python(images, tmp_path):
    params = {"patch": 3, "random_state": 2, "image_shape": (3, SIDE, SIDE)}
    numpys = {name: tuple(map(np.int64, value)) if name == "image_shape" else np.int64(value) for name, value in params.items()}
    for n_filters, given in ((8, params), (np.int64(8), numpys)):
        RandomConvClassifier(n_filters, ridge=0.1, cache=tmp_path, **given).fit(images, np.arange(70) % 3)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("most", [16, 255])
def test_pixels_of_another_scale_are_refused_and_gaussian_ones_are_not(images, most):
    model, expected = RandomConvClassifier(8, ridge=0.1), rf"X has a pixel of {most}, expected pixels in 0…1: divide X by the most that"
    with pytest.raises(InputError, match=expected):
        model.fit(np.round(most * images / images.max()), np.arange(70) % 3)
    noise = np.random.default_rng(0).normal(0.5, 0.5, images.shape)
    model.fit(noise, np.arange(70) % 3)
    for call in (model.predict, model.features_.transform):
        call(noise)
        with pytest.raises(InputError, match=expected):
            call(np.round(most * images / images.max()))


def test_a_cache_is_used_extended_and_never_spoiled(images, tmp_path):
    labels = np.arange(70) % 3
    values = {}
    for n_filters in (8, 24, 16):  # computed, extended, and from zero beside the file that has more
        kept = RandomConvClassifier(n_filters, ridge=0.1, cache=tmp_path).fit(images, labels).decision_function(images)
        values[n_filters] = kept
        np.testing.assert_allclose(
            kept, RandomConvClassifier(n_filters, ridge=0.1).fit(images, labels).decision_function(images), atol=1e-5
        )
    (file,) = tmp_path.iterdir()
    assert len(StoredGram.parts_in(file)) == 3


def test_the_plan_has_the_gram_matrix_and_the_features_in_it(images):
    model = RandomConvClassifier(20)
    plan = model.plan(len(images), D, 3)
    features = fitted(images)
    a_block = features.block(0, torch.from_numpy(images))
    gram = accumulate_gram(features)
    filters = sum(tensor.numel() for pair in features._filters for tensor in pair)
    coefficients = 2 * 8 * features.count(D)[0] * 3
    assert plan.beside == 4 * (filters + images.size + sum(panel.numel() for panel in gram.panels)) + coefficients
    assert plan.memory >= max(plan.beside + 4 * 2 * a_block.numel(), features.whitening_memory(D))
    assert features.count(D) == (features.transform(images).shape[1], a_block.shape[1])
    assert RandomConvClassifier(20_000).plan(*images.shape).seconds > plan.seconds


def test_the_plan_of_the_kernel_has_the_gram_matrix_and_leaves_the_weights_out(images):
    kernel, linear = (model(20).plan(*images.shape, 3) for model in (RandomConvKernelClassifier, RandomConvClassifier))
    assert linear.beside - kernel.beside == 2 * 8 * fitted(images).count(D)[0] * 3
    with pytest.raises(InputError, match=r"of memory, and .* are available: use fewer images"):
        RandomConvKernelClassifier(20, memory_limit=10**5).fit(images, np.arange(70) % 3)


def test_nothing_is_allocated_before_the_plan_can_refuse(images, monkeypatch):
    monkeypatch.setattr(RandomConvFeatures, "prepared", lambda *_: pytest.fail("begun"))
    for limit in (10**5, RandomConvClassifier(20).plan(*images.shape).memory - 1):
        with pytest.raises(InputError, match=r"of memory, and .* are available: use fewer images"):
            RandomConvClassifier(20, memory_limit=limit).fit(images, np.arange(70) % 3)
    monkeypatch.setattr(machine, "_main_memory", lambda: 10**5)
    with pytest.raises(InputError, match="and 100 kB are available: use fewer images"):
        RandomConvClassifier(20).fit(images, np.arange(70) % 3)


def test_every_step_asks_for_its_memory(images, monkeypatch):
    features, labels = fitted(images), np.arange(70) % 3
    model = RandomConvClassifier(20, ridge=0.1).fit(images, labels)
    monkeypatch.setattr(machine, "_main_memory", lambda: 10**6)
    with pytest.raises(InputError, match=r"the whitening of 100,000 patches needs about 43. MB of memory, and 1 MB are available"):
        RandomConvFeatures(20, n_patches=100_000).fit(images)
    with pytest.raises(InputError, match=r"the Gram matrix of 70 images needs .* 10 kB are available: use fewer images"):
        accumulate_gram(features, memory_limit=10_000)
    with pytest.raises(InputError, match=r"the prediction of 70 images needs .* predict fewer at once"):
        model.set_params(memory_limit=10_000).predict(images)
    monkeypatch.setattr(machine, "_main_memory", lambda: 10_000)
    with pytest.raises(
        InputError, match=r"the array of 40 features of 70 images needs about .* use fewer filters, or fewer images at once"
    ):
        features.transform(images)


def test_fewer_features_than_images_are_least_squares(images):
    labels = np.arange(70) % 3
    with pytest.warns(ConvergenceWarning, match="of 70 points is singular, of rank 40 "):
        model = RandomConvClassifier(20, precision="float64").fit(images, labels)
    z = model.features_.transform(images).astype(np.float64)
    np.testing.assert_allclose(model.decision_function(images), z @ np.linalg.lstsq(z, np.eye(3)[labels])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"recipe": "c"}, "unknown recipe 'c'; known: a, b"),
        ({"n_filters": 0}, "n_filters is 0, expected a whole number of at least 1"),
        ({"patch": 15}, r"patch is 15, expected 1…14 for images of 14x14 pixels"),
        ({"image_shape": (1, 5, 5)}, "image_shape is"),
        ({"ridge": -1}, "ridge is -1"),
        ({"recipe": ["a"]}, r"unknown recipe \['a'\]"),
        ({"random_state": -1}, "random_state is -1, expected a whole number of at least 0"),
        ({"image_shape": 3}, "image_shape is 3, expected 3 values or none"),
        ({"image_shape": (-3, -SIDE, SIDE)}, "image_shape is"),
    ],
)
def test_bad_parameters(images, params, message):
    with pytest.raises(InputError, match=message):
        RandomConvClassifier(**{"n_filters": 8, **params}).fit(images, np.arange(70) % 3)
