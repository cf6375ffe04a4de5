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
