import numpy as np
import pytest
from scipy.signal import convolve2d

from shattering.errors import InputError
from shattering.features.gabor import GaborFeatures


def waves(angle, length=5.0, n=6, size=28):
    """Images of plane waves in a direction, of different phases."""
    y, x = np.mgrid[:size, :size]
    phases = np.linspace(0, np.pi, n, endpoint=False)[:, None, None]
    return np.cos(2 * np.pi / length * (x * np.cos(angle) + y * np.sin(angle)) + phases).reshape(n, -1).astype(np.float32)


@pytest.mark.parametrize("k", range(8))
def test_a_wave_is_seen_by_its_own_orientation_in_every_phase(k):
    X = waves(k * np.pi / 8)
    maps = GaborFeatures().fit_transform(X).reshape(6, 9, 14, 14)
    middle = maps[:, 1:, 5:9, 5:9].mean((2, 3))
    assert (middle.argmax(1) == k).all()
    np.testing.assert_allclose(middle[:, k], middle[0, k], rtol=0.02)


def test_energies_agree_with_scipy():
    X = np.random.default_rng(0).random((2, 144), dtype=np.float32)
    features = GaborFeatures(wavelengths=(4.0, 7.0), orientations=3, pool=1.0).fit(X)
    found = features.transform(X).reshape(2, 7, 12, 12)
    smooth = np.exp(-0.5 * np.arange(-2, 3) ** 2.0)
    smooth = np.outer(smooth, smooth) / smooth.sum() ** 2
    for image, maps in zip(X.reshape(2, 12, 12), found, strict=True):
        planes = [image]
        for bank in features.bank_:
            kernels = bank[:, 0].numpy()[:, ::-1, ::-1]
            real, imaginary = kernels[:3], kernels[3:]
            planes += [abs(convolve2d(image, a + 1j * b, mode="same")) for a, b in zip(real, imaginary, strict=True)]
        expected = np.stack([convolve2d(plane, smooth, mode="same") for plane in planes])
        np.testing.assert_allclose(maps, expected / np.linalg.norm(expected), atol=1e-5)


def test_wavelets_have_no_mean_and_unit_energy():
    for bank in GaborFeatures(wavelengths=(3.0, 8.0)).fit(np.zeros((1, 64), dtype=np.float32)).bank_:
        real, imaginary = bank.chunk(2)
        assert bank.sum((1, 2, 3)).abs().max() < 1e-4
        np.testing.assert_allclose((real.square() + imaginary.square()).sum((1, 2, 3)), 1, rtol=1e-5)


def test_colours_and_given_shapes():
    X = np.random.default_rng(0).random((3, 3 * 64), dtype=np.float32)
    assert GaborFeatures().fit_transform(X).shape == (3, 3 * 9 * 16)
    assert GaborFeatures(image_shape=(1, 12, 16)).fit_transform(X).shape == (3, 9 * 6 * 8)
    with pytest.raises(InputError, match="rows have 60 features, expected square images"):
        GaborFeatures().fit(X[:, :60])
    with pytest.raises(InputError, match="image_shape is"):
        GaborFeatures(image_shape=(3, 4, 4)).fit(X)
    assert np.isfinite(GaborFeatures().fit_transform(0 * X)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wavelengths": 5.0}, "wavelengths is 5.0, expected a list of wavelengths in pixels"),
        ({"wavelengths": [1.0]}, "wavelengths is 1.0, expected a wavelength in pixels of at least 2"),
        ({"wavelengths": np.array([np.nan])}, "wavelengths is"),
        ({"orientations": 0}, "orientations is 0"),
        ({"orientations": 2.5}, "orientations is 2.5"),
        ({"bandwidth": 0}, "bandwidth is 0"),
        ({"bandwidth": 0.01}, "bandwidth is 0.01, expected at least 0.05 at a wavelength of 5"),
        ({"pool": -1}, "pool is -1"),
    ],
)
def test_parameters_out_of_range_are_said(wrong, message):
    with pytest.raises(InputError, match=message):
        GaborFeatures(**wrong).fit(np.zeros((2, 64)))


def test_wavelengths_may_be_an_array():
    X = np.random.default_rng(0).random((2, 64))
    found = GaborFeatures(np.array([3.0, 5.0])).fit_transform(X)
    np.testing.assert_array_equal(found, GaborFeatures([3, 5]).fit_transform(X))
    assert np.isfinite(GaborFeatures([2.0], bandwidth=0.125).fit_transform(X)).all()
