"""Images that stay on disk: `ImagesOnDisk`, and what `load_dataset` makes of large sources."""

import io
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from shattering import InputError, Randomization, load_dataset, randomize
from shattering.data import decode, formats, lazy
from shattering.data import row_groups as row_groups
from shattering.data.encoded import ParquetRows
from shattering.data.lazy import ImagesOnDisk
from shattering.data.loader import Loader
from shattering.learners.train.batches import batch_rows
from tests.data.test_load import encode, pictures, write_folder, write_parquet

NOISE = [Randomization(pixels=pixels) for pixels in ("true", "shuffled", "random", "gaussian")]


@pytest.fixture
def on_disk_always(monkeypatch):
    """As if no image fitted into memory."""
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)


def mixed(n, seed=0):
    """JPEGs of many sizes."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(20, 60, (n, 2))
    return [encode(generator.integers(0, 256, (h, w, 3), dtype=np.uint8), "JPEG") for h, w in sizes]


def write_mixed(root: Path, n=12):
    for s, part in enumerate(("train", "test")):
        for shard in range(2):
            write_parquet(root / f"{part}-{shard:05d}-of-00002.parquet", mixed(n, 10 * s + shard), [0, 1, 2] * (n // 3))


def test_what_is_on_disk_is_what_would_be_in_memory(tmp_path, monkeypatch):
    write_mixed(tmp_path)
    held = load_dataset(tmp_path, n_train=9, seed=3, image_size=16)
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    lazy = load_dataset(tmp_path, n_train=9, seed=3, image_size=16)
    assert isinstance(held.train.inputs, torch.Tensor)
    assert isinstance(lazy.train.inputs, ImagesOnDisk)
    assert lazy.train.input_shape == held.train.input_shape == (3, 16, 16)
    assert torch.equal(lazy.train.ids, held.train.ids)
    for name in ("train", "test"):
        assert torch.equal(getattr(lazy, name).inputs[:], getattr(held, name).inputs)


@pytest.mark.parametrize("noise", NOISE, ids=lambda r: r.pixels)
def test_noise_is_the_same_on_disk_and_in_memory(tmp_path, monkeypatch, noise):
    write_mixed(tmp_path)
    held = randomize(load_dataset(tmp_path, 9, image_size=16), noise, seed=5)
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    lazy = randomize(load_dataset(tmp_path, 9, image_size=16), noise, seed=5)
    for name in ("train", "test"):
        got, expected = getattr(lazy, name).inputs[:], getattr(held, name).inputs
        assert got.dtype == expected.dtype == getattr(lazy, name).inputs.dtype
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("noise", NOISE[2:], ids=lambda r: r.pixels)
def test_randomized_bytes_do_not_depend_on_the_workers(tmp_path, on_disk_always, noise, workers):
    write_mixed(tmp_path)
    images = randomize(load_dataset(tmp_path, image_size=16), noise, seed=1).train.inputs
    before = torch.get_rng_state()
    order = list(torch.randperm(24, generator=torch.Generator().manual_seed(0)).split(5))
    loader = Loader(images, workers, persistent=True)
    for _ in range(2):
        for rows, batch in zip(order, loader.batches(order), strict=True):
            assert torch.equal(batch, images[rows])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_write_again_into_few_batches_and_never_into_the_one_in_use(tmp_path, on_disk_always, workers):
    write_folder(tmp_path, n=40)
    images = load_dataset(tmp_path, image_size=16).train.inputs
    order = list(torch.arange(len(images)).split(3))
    places = []
    for rows, batch in zip(order, Loader(images, workers).batches(order), strict=True):
        time.sleep(0.02)  # the workers have made all that they may by now
        assert torch.equal(batch, images[rows])
        places.append(os.fstat(batch.untyped_storage()._share_fd_cpu_()[0]).st_ino)
    assert len(order) > 20
    assert len(set(places)) <= workers * 3, "of each worker: two ahead, and one in use"


def test_subsets_keep_their_noise(tmp_path, on_disk_always):
    write_folder(tmp_path, n=6)
    data = randomize(load_dataset(tmp_path, image_size=5), Randomization(0.5, "random"), seed=2)
    rows = torch.tensor([7, 2, 11])
    part = data.train.subset(rows)
    assert torch.equal(part.inputs[:], data.train.inputs[rows])
    assert part.ids.tolist() == [7, 2, 11]
    assert torch.equal(pickle.loads(pickle.dumps(part.inputs))[1:], part.inputs[1:])
    assert (part.labels != part.true_labels).tolist() == (data.train.labels != data.train.true_labels)[rows].tolist()


def test_row_groups_are_read_once_where_they_fit_and_few_are_kept(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train.parquet", pictures(40), [0, 1] * 20)
    pq.write_table(pq.read_table(tmp_path / "train.parquet"), tmp_path / "grouped.parquet", row_group_size=5)
    source = ParquetRows.of([tmp_path / "grouped.parquet"], "img.bytes")
    images = ImagesOnDisk(source, None, np.arange(0, 40, 2))
    reads = []
    read = ParquetRows.read_group
    monkeypatch.setattr(
        ParquetRows, "read_group", lambda self, group, rows: reads.append((int(group), list(rows))) or read(self, group, rows)
    )
    for image, picture in zip(images[:], pictures(40)[::2], strict=True):
        assert (image.permute(1, 2, 0).numpy() == picture).all()
    assert [group for group, _ in reads] == list(range(8))
    assert reads[1] == (1, [6, 8]), "only the wanted rows are kept"
    monkeypatch.setattr(row_groups, "CACHE", 400)
    images = ImagesOnDisk(source, None, np.arange(0, 40, 2))
    images[[0, 19, 0, 19, 5, 7]]
    assert sum(len(v) for _, values in images._groups.kept.values() for v in values) <= 400 or len(images._groups.kept) == 1


def test_large_data_are_shuffled_within_windows_of_row_groups(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train.parquet", pictures(60), [0, 1] * 30)
    pq.write_table(pq.read_table(tmp_path / "train.parquet"), tmp_path / "grouped.parquet", row_group_size=5)
    images = ImagesOnDisk(ParquetRows.of([tmp_path / "grouped.parquet"], "img.bytes"), None)
    assert images.windows is None
    monkeypatch.setattr(lazy, "LARGE", 100)
    monkeypatch.setattr(row_groups, "CACHE", images.source.size_of(images.rows) // 4 + 1)
    assert images.window_size == 3
    groups = torch.from_numpy(images.windows)
    order = torch.cat(batch_rows(60, 8, 0, 1, windows=(groups, images.window_size)))
    assert sorted(order.tolist()) == list(range(60))
    for window in groups[order].split(15):
        assert len(window.unique()) == 3
    assert order[:15].tolist() != sorted(order[:15].tolist())
    assert order.tolist() != torch.cat(batch_rows(60, 8, 0, 2, windows=(groups, images.window_size))).tolist()


def test_images_are_resized_on_the_short_side_and_cropped_at_the_centre(monkeypatch):
    ramp = np.tile(np.arange(80, dtype=np.uint8)[None, :, None] * 3, (40, 1, 3))
    square = decode.decode_square(encode(ramp), 20)
    assert square.shape == (20, 20, 3)
    np.testing.assert_allclose(square[10, :, 0], 3 * (20 + 2 * np.arange(20) + 0.5), atol=1)
    exact = pictures(1, 20, 20)[0]
    assert (decode.decode_square(encode(exact), 20) == exact).all()
    grey = decode.decode_square(encode(ramp[..., 0]), 20)
    assert (grey == square).all()
    data = encode(np.tile(ramp, (6, 6, 1)), "JPEG")
    fast = decode.decode_square(data, 30)
    monkeypatch.setattr(decode, "simplejpeg", None)
    assert np.abs(decode.decode_square(data, 30).astype(int) - fast).max() <= 1, "reduced while decoding, by either decoder"


def test_moments_are_computed_once(tmp_path, on_disk_always, monkeypatch):
    write_mixed(tmp_path)
    images = load_dataset(tmp_path, image_size=16).train.inputs
    mean, std = images.moments()
    values = images[:].double() / 255
    torch.testing.assert_close(torch.tensor(mean), values.mean((0, 2, 3)).float())
    torch.testing.assert_close(torch.tensor(std), values.std((0, 2, 3), correction=0).float())
    again = load_dataset(tmp_path, image_size=16).train.inputs
    monkeypatch.setattr(lazy, "decode_square", None)
    assert again.moments() == (mean, std)


def test_a_corrupt_image_is_named_or_skipped_and_counted(tmp_path):
    write_mixed(tmp_path)
    images = mixed(12)
    images[7] = images[7][: len(images[7]) // 2]
    write_parquet(tmp_path / "train-00000-of-00002.parquet", images, [0, 1, 2] * 4)
    with pytest.raises(InputError, match=r"row 7 of column 'img' of .*train-00000-of-00002.parquet is not a readable image: "):
        load_dataset(tmp_path, image_size=16)
    data = load_dataset(tmp_path, image_size=16, skip_corrupt=True)
    assert data.skipped == {"train": 1, "test": 0}
    assert (len(data.train), 7 in data.train.ids) == (23, False)


def test_a_corrupt_image_in_a_worker_is_one_sentence(tmp_path, on_disk_always):
    write_folder(tmp_path)
    (tmp_path / "train" / "cat" / "1.png").write_bytes(b"\x89PNG and no more")
    images = load_dataset(tmp_path, image_size=4).train.inputs
    with pytest.raises(InputError, match=r"^.*cat/1.png is not a readable image: [^\n]*$"):
        list(Loader(images, 1).batches(list(torch.arange(6).split(2))))


def test_missing_shards_are_named(tmp_path):
    write_mixed(tmp_path)
    (tmp_path / "train-00000-of-00002.parquet").rename(tmp_path / "train-00000-of-00004.parquet")
    (tmp_path / "train-00001-of-00002.parquet").rename(tmp_path / "train-00002-of-00004.parquet")
    with pytest.raises(InputError, match=r"lacks 2 of 4 shards \(first: train-00001-of-00004.parquet\), expected all"):
        load_dataset(tmp_path, image_size=16)


def test_bad_folders(tmp_path, on_disk_always):
    write_folder(tmp_path / "a")
    (tmp_path / "a" / "train" / "dog").mkdir()
    with pytest.raises(InputError, match=r"no example of 1 of 3 classes \(such as 'dog'\)"):
        load_dataset(tmp_path / "a", image_size=4)
    for size in (0, 2.5, True):
        with pytest.raises(InputError, match=r"image_size is .*, expected a whole number of at least 1"):
            load_dataset(tmp_path / "a", image_size=size)
    with pytest.raises(InputError, match="image_size is 8, expected none for digits, whose images are not encoded files"):
        load_dataset("digits", image_size=8)


def test_images_of_one_size_may_be_left_as_they_are(tmp_path, on_disk_always, monkeypatch):
    write_folder(tmp_path)
    lazy = load_dataset(tmp_path).train
    assert isinstance(lazy.inputs, ImagesOnDisk)
    assert lazy.input_shape == (3, 6, 5)
    assert (lazy.inputs[[4]][0].permute(1, 2, 0).numpy() == pictures(3, seed=1)[1]).all()
    (tmp_path / "train" / "cat" / "2.png").write_bytes(encode(pictures(1, 9, 9)[0]))
    with pytest.raises(
        InputError, match=r"mixed sizes: .*cat/2.png is 9x9 pixels and .*bird/0.jpg is 5x6, expected one size, or an image_size"
    ):
        load_dataset(tmp_path).train.inputs[:]


def test_imagenet_by_name_from_a_folder_or_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path))
    write_folder(tmp_path / "imagenet", splits=("train", "val"), classes=("n01440764", "n01443537"))
    (tmp_path / "imagenet" / "test").mkdir()
    (tmp_path / "imagenet" / "test" / "0.jpg").write_bytes(mixed(1)[0])
    data = load_dataset("imagenet", image_size=8)
    assert (data.variant, data.classes, len(data.test)) == ("imagenet", ("n01440764", "n01443537"), 6)
    for name in ("train", "val"):
        (tmp_path / "imagenet" / name).rename(tmp_path / name)
    for name, labels in (("train", [0, 1]), ("validation", [1, 0]), ("test", [-1, -1])):
        write_parquet(tmp_path / "imagenet" / f"{name}-00000-of-00001.parquet", mixed(2), labels)
    data = load_dataset("imagenet", image_size=8)
    assert (data.variant, data.test.labels.tolist()) == ("imagenet", [1, 0])


def test_fingerprints(tmp_path, on_disk_always):
    write_mixed(tmp_path)
    prints = {load_dataset(tmp_path, n, image_size=size).fingerprint() for n, size in ((None, 16), (9, 16), (9, 15), (None, 16))}
    assert len(prints) == 3


def test_what_needs_memory_says_so(tmp_path, on_disk_always):
    write_mixed(tmp_path)
    data = load_dataset(tmp_path, image_size=16)
    with pytest.raises(InputError, match=r"24 images of 16x16 pixels stay on disk, .* expected fewer \(n_train, n_test\) or smaller ones"):
        data.to_npz(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"pixels 'within-class' permutes among all images of a class"):
        randomize(data, Randomization(pixels="within-class"))


def test_a_limit_of_memory_counts(monkeypatch):
    assert formats.fits_into_memory(0)
    assert not formats.fits_into_memory(lazy.LARGE + 1)
    monkeypatch.setattr(formats, "available_memory", lambda: 1000)
    assert formats.fits_into_memory(100)
    assert not formats.fits_into_memory(101)


def test_real_imagenet_sample(real_data, on_disk_always):
    data = load_dataset(real_data / "imagenet-sample", image_size=64, hold_out=False)
    assert (len(data.train), data.train.n_classes, data.train.input_shape) == (1000, 1000, (3, 64, 64))
    assert 0.35 < np.mean(data.train.inputs.moments()[0]) < 0.55
    picture = Image.open(io.BytesIO(data.train.inputs._encoded(3)))
    assert min(picture.size) <= 320
