import numpy as np
import pytest
import torch

from shattering.data.preprocess import FeatureScaler, center_crop, standardize_images, to_float
from shattering.errors import InputError
from tests import oracles
from tests.conftest import make_split


@pytest.mark.parametrize("seed", range(3))
def test_standardize_agrees_with_the_slow_version(seed):
    images = to_float(make_split(n=5, shape=(3, 28, 28), seed=seed).inputs)
    for image, ours in zip(images, standardize_images(images), strict=True):
        np.testing.assert_allclose(ours.numpy(), oracles.standardize(image.double().numpy()), atol=1e-5)


def test_a_constant_image_becomes_zero_and_the_floor_binds_only_there():
    flat = torch.full((1, 3, 4, 4), 0.7)
    assert standardize_images(flat).abs().max() < 1e-5
    nearly = flat.clone()
    nearly[0, 0, 0, 0] = 0.7 + 1e-3  # deviation far below 1/sqrt(48)
    np.testing.assert_allclose(standardize_images(nearly)[0].numpy(), oracles.standardize(nearly[0].double().numpy()), atol=1e-5)
    real = standardize_images(to_float(make_split().inputs))
    np.testing.assert_allclose(real.flatten(1).std(1, correction=0), 1, atol=1e-5)


def test_the_scale_is_applied_once():
    raw = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    once = to_float(raw)
    assert once.max() == 1
    assert torch.equal(to_float(once), once)


def test_center_crop():
    images = torch.arange(32 * 32).reshape(1, 1, 32, 32)
    cropped = center_crop(images, 28)
    assert cropped.shape == (1, 1, 28, 28)
    assert cropped[0, 0, 0, 0] == 2 * 32 + 2
    assert center_crop(images, None) is images
    with pytest.raises(InputError, match=r"crop is 40, expected 1…32 for images of 32x32 pixels"):
        center_crop(images, 40)


def test_feature_scaler():
    x = torch.randn(200, 3) * torch.tensor([1.0, 100.0, 0.0]) + 5
    scaled = FeatureScaler(x)(x)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0, correction=0), [1, 1, 0], atol=1e-5)
