import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from shattering import seeds
from shattering.data.augment import _DRAWS, AUGMENTATIONS, Augmentation, from_hsv, strengths, to_hsv
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


def slow_window(image, size, top, left, height, width):
    """The window resized, pixel by pixel: (c, *size); pixels beyond the border are those at it."""
    c, whole_height, whole_width = image.shape
    out = np.zeros((c, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max(top + (i + 0.5) * height / size[0] - 0.5, 0), whole_height - 1)
            x = min(max(left + (j + 0.5) * width / size[1] - 0.5, 0), whole_width - 1)
            for row, column in ((int(y), int(x)), (int(y) + 1, int(x)), (int(y), int(x) + 1), (int(y) + 1, int(x) + 1)):
                share = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
                if share:
                    out[:, i, j] += share * image[:, row, column]
    return out


@pytest.mark.parametrize("stretch", [0.0, 1 / 3])
def test_a_resized_crop_is_a_window_of_the_image(stretch):
    x, size = images(n=12, shape=(2, 11, 14)), (6, 5)
    augmentation = Augmentation({"resized-crop": 0.1, "stretch": stretch}, size)
    draws = augmentation.draw(12, 0, 0)
    of = dict(zip(_DRAWS, draws.unbind(1), strict=True))
    heights, widths = augmentation._window(torch.Size((11, 14)), of)
    for i, out in enumerate(augmentation(x, draws)):
        top, left = (float(draws[i, k]) * (whole - float(part[i])) for k, whole, part in ((0, 11, heights), (1, 14, widths)))
        np.testing.assert_allclose(out, slow_window(x[i].numpy(), size, top, left, float(heights[i]), float(widths[i])), atol=1e-4)


@pytest.mark.parametrize("size", [(6, 5), (24, 30)])
def test_the_whole_image_resized_is_torchs(size):
    x = images(shape=(3, 12, 10))
    expected = torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(augmented({"resized-crop": 1.0}, x, size), expected, atol=1e-5, rtol=1e-5)


def windows(what, full, size, n=4000):
    augmentation = Augmentation(strengths(what), size)
    of = dict(zip(_DRAWS, augmentation.draw(n, 0, 0).unbind(1), strict=True))
    heights, widths = augmentation._window(torch.Size(full), of)
    return augmentation, of, heights.double(), widths.double()


@pytest.mark.parametrize(("full", "size"), [((320, 320), (299, 299)), ((320, 427), (299, 299)), ((50, 40), (20, 30))])
def test_windows_have_the_distribution_that_is_said(full, size):
    _, of, heights, widths = windows(["resized-crop", "stretch"], full, size)
    assert float((heights / full[0]).max()) <= 1 + 1e-5
    assert float((widths / full[1]).max()) <= 1 + 1e-5
    area = heights * widths / (full[0] * full[1])
    assert stats.kstest(area.numpy(), stats.uniform(0.05, 0.95).cdf).pvalue > 1e-3
    change = widths * size[0] / (heights * size[1])
    aspect = full[1] * size[0] / (full[0] * size[1])  # of the whole image, as a change
    small = area < 0.3  # all changes fit
    assert stats.kstest((change[small].log() / np.log(4 / 3)).numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    fits = (aspect * area <= 4 / 3) & (aspect / area >= 3 / 4)
    assert bool(((change[fits] >= 3 / 4 - 1e-5) & (change[fits] <= 4 / 3 + 1e-5)).all())
    assert float(of["top"].mean()) == pytest.approx(0.5, abs=0.03)


def test_windows_are_anywhere_within_the_image():
    augmentation, of, heights, widths = windows({"resized-crop": 0.25}, (64, 48), (10, 10))
    for name, whole, part in (("top", 64, heights), ("left", 48, widths)):
        start = augmentation._start(name, whole, 10, part.float(), of).double()
        assert float(start.min()) >= 0
        assert float((start + part).max()) <= whole + 1e-3
        room = whole - part
        free = room > 1
        assert stats.kstest((start / room)[free].numpy(), "uniform").pvalue > 1e-3


def test_without_stretch_windows_keep_their_shape_where_they_can():
    _, _, heights, widths = windows({"resized-crop": 0.05}, (60, 80), (30, 30))
    fits = heights * widths <= 60 * 60 * (1 - 1e-5)
    torch.testing.assert_close(widths[fits], heights[fits], atol=1e-3, rtol=1e-5)
    assert bool((heights[~fits] > 60 - 1e-3).all()), "as high as the image"


def test_a_stretch_alone_leaves_the_centre_and_the_area():
    x = images(n=300, shape=(1, 9, 9))
    out = augmented({"stretch": 1.0}, x)
    torch.testing.assert_close(out[:, :, 4, 4], x[:, :, 4, 4], atol=1e-5, rtol=1e-5)
    _, _, heights, widths = windows({"stretch": 1.0}, (9, 9), (9, 9))
    torch.testing.assert_close(heights * widths, torch.full_like(heights, 81.0), atol=1e-3, rtol=1e-5)
    assert stats.kstest(((widths / heights).log() / np.log(2)).numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_with_crop_windows_reach_into_its_padding():
    x = torch.ones(2000, 1, 16, 16)
    inside, padded = (augmented(what, x, (8, 8)) for what in ({"resized-crop": 0.25}, {"resized-crop": 0.25, "crop": 4}))
    assert inside.min() > 0.999
    assert padded.flatten(1).amin(1).eq(0).double().mean() > 0.5


def test_older_augmentations_draw_what_they_drew():
    """Stored runs depend on it."""
    draws = Augmentation(strengths(None), (4, 4)).draw(3, 5, 2)
    generator = torch.Generator().manual_seed(seeds.integer(5, "augment", 2))
    assert torch.equal(draws[:, :8], torch.rand(3, 8, generator=generator))
    assert draws.shape == (3, 10)


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
        ({"resized-crop": 1.5}, r"augmentation resized-crop is 1.5, expected a number in 0…1"),
        ({"stretch": -0.1}, r"augmentation stretch is -0.1, expected a number in 0…3"),
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
