import numpy as np
import pytest

from shattering import InputError
from shattering.experiments import corollary1, theorem1
from shattering.experiments.relu_points import NoiseImages


def test_noise_images_do_not_depend_on_how_they_are_read():
    images = NoiseImages(1000, 64, seed=1)
    rows = images[0:1000]
    assert rows.shape == (1000, 64)
    assert (images[17:40] == rows[17:40]).all()
    assert (images[[3, 500, 999]] == rows[[3, 500, 999]]).all()
    assert abs(rows.mean() - 127.5) < 2
    assert not (rows[0] == rows[1]).all()
    assert not (NoiseImages(5, 64, seed=2)[0:5] == rows[:5]).all()


def test_the_corollary_too_refuses_duplicates_and_networks_of_one_layer(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    twice = np.concatenate([images[:20], images[:20]])
    for name, points in (("once", images), ("twice", twice)):
        np.savez(tmp_path / f"{name}.npz", x_train=points, y_train=np.arange(40) % 4, x_test=images[:5], y_test=np.arange(5) % 4)
    assert corollary1.run_study(0, dataset=str(tmp_path / "once.npz"), depths=[2, 4])[1]["labels_right"].tolist() == [1, 1]
    for study in (corollary1.run_study, theorem1.run_study):
        with pytest.raises(InputError, match="equal rows have different targets"):
            study(0, dataset=str(tmp_path / "twice.npz"))
        with pytest.raises(InputError, match="20 duplicates of images"):
            study(0, dataset=str(tmp_path / "twice.npz"), classes=1)
    with pytest.raises(InputError, match="depth is 1"):
        corollary1.run_study(0, dataset="noise", n=20, d=32, depths=[1])
