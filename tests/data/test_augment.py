import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from shattering.data.augment import AUGMENTATIONS, Augmentation, from_hsv, strengths, to_hsv
from shattering.errors import InputError


def images(n=6, shape=(3, 12, 10), seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def augmented(what, x, size=None, seed=0, epoch=0):
    augmentation = Augmentation(strengths(what), size or tuple(x.shape[2:]))
    return augmentation(x, augmentation.draw(len(x), seed, epoch))


def test_nothing_on_is_the_central_window():
    x = images()
    torch.testing.assert_close(augmented(None, x), x)
    torch.testing.assert_close(augmented([], x, (8, 6)), x[:, :, 2:10, 2:8])


def test_every_window_of_a_crop_is_as_likely():
    x = torch.arange(7 * 6, dtype=torch.float32).view(1, 1, 7, 6).expand(6000, 1, 7, 6)
    cut = augmented("crop", x, (5, 4))
    corner = cut[:, 0, 0, 0].round().int()
    top, left = corner // 6, corner % 6
    expected = torch.stack([x[i, :, t : t + 5, s : s + 4] for i, (t, s) in enumerate(zip(top.tolist(), left.tolist(), strict=True))])
    torch.testing.assert_close(cut, expected, atol=1e-4, rtol=0)
    counts = torch.bincount(top * 3 + left, minlength=9)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_images_no_larger_than_the_crop_are_padded_by_an_eighth():
    x = torch.ones(4000, 1, 8, 8)
    cut = augmented("crop", x)
    kept = {(int(image.sum(0).amax()), int(image.sum(1).amax())) for image in cut[:, 0].round()}
    assert kept == {(7, 7), (7, 8), (8, 7), (8, 8)}
    assert augmented({"crop": 0}, x[:9]).min() > 0.999
    assert augmented({"crop": 4}, x).flatten(1).sum(1).min() == pytest.approx(16, abs=1e-3)


def test_flips_happen_with_their_probability_and_are_exact():
    x = images(n=2000, shape=(1, 4, 4))
    flipped = (augmented("flip", x) - x.flip(3)).abs().flatten(1).amax(1) < 1e-5
    same = (augmented("flip", x) - x).abs().flatten(1).amax(1) < 1e-5
    assert bool((flipped ^ same).all())
    assert stats.binomtest(int(flipped.sum()), 2000, 0.5).pvalue > 1e-3
    torch.testing.assert_close(augmented({"flip": 1.0}, x), x.flip(3))


@pytest.mark.parametrize("angle", [10, 25, 90, 180])
def test_rotation_is_scipys(angle):
    x = images(n=40, shape=(2, 13, 13))
    augmentation = Augmentation({"rotation": float(angle)}, (13, 13))
    draws = augmentation.draw(40, 3, 1)
    turned = augmentation(x, draws)
    degrees = (2 * draws[:, 3].double() - 1) * angle
    for image, out, degree in zip(x.numpy(), turned.numpy(), degrees.tolist(), strict=True):
        expected = ndimage.rotate(image, degree, axes=(2, 1), reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(out, expected, atol=2e-3)
    assert stats.kstest(augmentation.draw(2000, 0, 0)[:, 3], "uniform").pvalue > 1e-3


@given(st.integers(0, 2**31), st.floats(-1, 2))
def test_colour_conversions_are_colorsys(seed, shift):
    x = torch.rand(1, 3, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    hue, saturation, value = to_hsv(x)
    for i in range(2):
        for j in range(3):
            h, s, v = colorsys.rgb_to_hsv(*x[0, :, i, j].tolist())
            assert (saturation[0, i, j].item(), value[0, i, j].item()) == pytest.approx((s, v))
            expected = colorsys.hsv_to_rgb((h + shift) % 1, s, v)
            assert from_hsv(hue + shift, saturation, value)[0, :, i, j].tolist() == pytest.approx(expected, abs=1e-6)


def test_grey_pixels_have_no_hue_and_stay():
    grey = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(augmented({"hue": 0.5, "saturation": 1.0}, grey), grey)


def test_brightness_and_contrast_are_their_formulas():
    x = 0.25 + images(shape=(2, 3, 3)) / 2
    augmentation = Augmentation({"brightness": 0.1}, (3, 3))
    draws = augmentation.draw(6, 0, 0)
    torch.testing.assert_close(augmentation(x, draws), x + 0.1 * (2 * draws[:, 4] - 1)[:, None, None, None])
    contrast = Augmentation({"contrast": 0.5}, (3, 3))(x, draws)
    factor = (0.5 + draws[:, 5])[:, None, None]
    for c in range(2):
        mean = x[:, c].mean((1, 2))[:, None, None]
        torch.testing.assert_close(contrast[:, c], mean + factor * (x[:, c] - mean))
    strong = augmented({"brightness": 1.0}, x)
    assert strong.min() == 0
    assert strong.max() == 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_images_anew_every_epoch_by_seed_and_not_by_the_others(name):
    x = images(n=8, shape=(3, 16, 16))
    one = augmented(name, x, seed=1, epoch=1)
    assert one.shape == x.shape
    assert torch.equal(one, augmented([name], x, seed=1, epoch=1))
    for seed, epoch in ((1, 2), (2, 1)):
        assert not torch.equal(one, augmented(name, x, seed=seed, epoch=epoch))
    other = "flip" if name != "flip" else "crop"
    never = {"flip": 0.0, "crop": 0.0}[other]
    torch.testing.assert_close(augmented({name: None, other: never}, x, seed=1, epoch=1), one)


def test_draws_touch_no_global_generator_and_do_not_depend_on_the_batch():
    augmentation = Augmentation(strengths(list(AUGMENTATIONS)), (16, 16))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    draws, x = augmentation.draw(8, 0, 0), images(n=8, shape=(3, 16, 16))
    assert torch.equal(torch.rand(2), expected)
    order = torch.tensor([5, 2, 7])
    torch.testing.assert_close(augmentation(x, draws)[order], augmentation(x[order], draws[order]))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("zoom", "unknown augmentation 'zoom'; known: brightness"),
        (["flip", "zoom"], "unknown augmentation 'zoom'"),
        ({"flip": 2}, r"augmentation flip is 2, expected a number in 0…1"),
        ({"rotation": "far"}, r"augmentation rotation is 'far', expected a number in 0…180"),
        ({"hue": True}, r"augmentation hue is True"),
        ({"hue": float("nan")}, r"augmentation hue is nan"),
    ],
)
def test_bad_augmentations_are_named(augment, message):
    with pytest.raises(InputError, match=message):
        strengths(augment)


def test_images_that_cannot_be_augmented_so():
    with pytest.raises(InputError, match="hue got images with 1 channels, expected 3"):
        Augmentation(strengths("hue"), (4, 4)).check((1, 4, 4))
    with pytest.raises(InputError, match=r"augmentation got examples of shape \(20,\), expected images"):
        Augmentation(strengths("flip"), (4, 4)).check((20,))
