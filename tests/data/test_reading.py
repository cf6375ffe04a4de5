"""What `load_dataset` makes of pictures, from whatever holds them: the same answer everywhere, and a word where something is changed."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from shattering import InputError, load_dataset
from shattering.data import formats
from shattering.data.lazy import ImagesOnDisk
from tests.data.test_load import encode, pictures, write_folder, write_parquet

RGB = pictures(6)
GREY = [image[..., 0] for image in RGB]
Y = [0, 1] * 3


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class Pictures(TorchDataset):
    """Pairs of a picture, decoded from these bytes, and a label."""

    def __init__(self, encoded):
        self.encoded = encoded

    def __len__(self):
        return len(self.encoded)

    def __getitem__(self, i):
        image = Image.open(io.BytesIO(self.encoded[i]))
        image.load()
        return image, Y[i % 6]


def by_folder(encoded, folder, **options):
    for i, data in enumerate(encoded):
        (folder / "train" / "ab"[Y[i % 6]]).mkdir(parents=True, exist_ok=True)
        (folder / "train" / "ab"[Y[i % 6]] / f"{i}.png").write_bytes(data)
    return load_dataset(folder, hold_out=False, **options).train


def by_parquet(encoded, folder, **options):
    write_parquet(folder / "train.parquet", encoded, [Y[i % 6] for i in range(len(encoded))])
    return load_dataset(folder, hold_out=False, **options).train


def by_torch(encoded, folder, **options):
    return load_dataset(Pictures(encoded), hold_out=False, **options).train


def hub_of(encoded, **columns):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    images = [data if isinstance(data, dict) else {"bytes": data, "path": None} for data in encoded]
    rows = {"image": images, "label": [Y[i % 6] for i in range(len(encoded))], **columns}
    named = {name: datasets.ClassLabel(names=["a", "b"]) for name in ("label", *columns)}
    return datasets.Dataset.from_dict(rows, datasets.Features({"image": datasets.Image(), **named}))


def by_hub(encoded, folder, **options):
    return load_dataset(hub_of(encoded), hold_out=False, **options).train


ROUTES = [by_folder, by_parquet, by_torch, by_hub]


@pytest.mark.parametrize("route", ROUTES)
def test_pictures_are_read_exactly_or_refused_wherever_they_come_from(tmp_path, route):
    mixed = [
        saved(Image.fromarray(GREY[0])),
        *map(encode, RGB[1:5]),
        saved(Image.fromarray(np.dstack([RGB[5], np.full((6, 5), 255, "u1")]))),
    ]
    images = route(mixed, tmp_path / "mixed").inputs.permute(0, 2, 3, 1).numpy()
    order = [0, 2, 4, 1, 3, 5] if route is by_folder else range(6)
    expected = [np.repeat(GREY[0][..., None], 3, 2), *RGB[1:]]
    assert all((image == expected[i]).all() for image, i in zip(images, order, strict=True))
    assert route([saved(Image.fromarray(grey)) for grey in GREY], tmp_path / "grey").input_shape == (1, 6, 5)
    for name, image, message in (
        ("deep", Image.fromarray(GREY[0].astype(np.uint16) * 257), "(16 bits or floats|float32)"),
        ("glass", Image.fromarray(np.dstack([RGB[0], GREY[0]])), "has transparent pixels"),
        ("lab", None, "is of mode LAB, expected grey or RGB"),
    ):
        data = saved(image) if image else saved(Image.new("LAB", (5, 6)), "TIFF")
        with pytest.raises(InputError, match=rf"(item|row|\.png).*{message}"):
            route([*map(encode, RGB[:5]), data], tmp_path / name)
    cmyk = [saved(Image.fromarray(image).convert("CMYK"), "TIFF") for image in RGB]
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=r"6 of 6 images (of the torch dataset )?are CMYK, read as RGB by Pillow's formula"):
            images = route(cmyk, tmp_path / "cmyk").inputs
    assert len(images) == 6


@pytest.mark.parametrize("route", [by_folder, by_parquet, by_hub])
def test_encoded_images_may_be_brought_to_a_size_and_corrupt_ones_skipped(tmp_path, route):
    encoded = [b"", *map(encode, RGB[1:]), encode(RGB[0]), b"no image"]
    with pytest.raises(InputError, match="is not a readable image: it is empty"):
        route(encoded, tmp_path)
    for options, shape in (({}, (3, 6, 5)), ({"image_size": 4}, (3, 4, 4))):
        train = route(encoded, tmp_path, skip_corrupt=True, **options)
        assert (len(train), train.input_shape) == (6, shape)


def test_only_what_cannot_be_decoded_is_skipped(tmp_path):
    rest = [*map(encode, RGB[:5])]
    with pytest.raises(InputError, match="mixed sizes"):
        by_folder([*rest, encode(pictures(1, 9, 9)[0])], tmp_path / "sizes", skip_corrupt=True)
    with pytest.raises(InputError, match="has transparent pixels"):
        by_folder([*rest, saved(Image.fromarray(np.dstack([RGB[0], GREY[0]])))], tmp_path / "glass", skip_corrupt=True, image_size=4)
    for size in (None, 4):
        bad = [b"" if i % 2 else encode(RGB[i]) for i in range(6)]
        with pytest.raises(InputError, match=r"none of the train images of class 'b' can be decoded \(first: .*train/b/1.png\)"):
            by_folder(bad, tmp_path / "class", skip_corrupt=True, image_size=size)
        with pytest.raises(InputError, match=r"none of (6 images|the train images of class 'a') can be decoded \(first: .*train/a/0.png\)"):
            by_folder([b""] * 6, tmp_path / "all", skip_corrupt=True, image_size=size)


def test_a_class_whose_test_images_are_all_unreadable_is_counted(tmp_path):
    write_folder(tmp_path)
    for path in (tmp_path / "test" / "cat").iterdir():
        path.write_bytes(b"")
    data = load_dataset(tmp_path, skip_corrupt=True)
    assert data.skipped == {"train": 0, "test": 3}
    assert data.test.labels.tolist() == [0] * 3


def test_images_that_stay_on_disk_have_the_shape_that_they_have_in_memory(tmp_path, monkeypatch):
    grey = [saved(Image.fromarray(image)) for image in GREY]
    held = by_folder(grey, tmp_path / "grey")
    mixed = by_folder([encode(RGB[0]), *grey[1:]], tmp_path / "mixed")
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    lazy = by_folder(grey, tmp_path / "grey")
    assert isinstance(lazy.inputs, ImagesOnDisk)
    assert torch.equal(lazy.inputs[:], held.inputs)
    assert len(lazy.inputs.moments()[0]) == 1
    assert torch.equal(by_folder([encode(RGB[0]), *grey[1:]], tmp_path / "mixed").inputs[:], mixed.inputs)
    colours = by_folder([grey[0], *map(encode, RGB[1:])], tmp_path / "colours").inputs
    with pytest.raises(InputError, match=r"2.png is in colour and .*0.png is grey, expected .*, or an image_size, which makes all RGB"):
        colours[:]
    cmyk = by_folder([saved(Image.fromarray(image).convert("CMYK"), "TIFF") for image in RGB], tmp_path / "cmyk").inputs
    with pytest.warns(UserWarning, match=r"0.png, and perhaps others, are CMYK, read as RGB") as told:
        cmyk[:]
    assert len(told) == 1


def test_the_fingerprint_of_images_on_disk_is_their_content(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    flat = [np.full((6, 5, 3), value, np.uint8) for value in range(40)]
    one = by_folder(map(encode, flat), tmp_path / "one").inputs
    flat[21][:] = 200  # not among the 16 whose pixels are looked at
    assert len(encode(flat[21])) == len(encode(np.full((6, 5, 3), 21, np.uint8)))
    two = by_folder(map(encode, flat), tmp_path / "two").inputs
    assert one.fingerprint() != two.fingerprint()
    assert by_folder(map(encode, flat), tmp_path / "again").inputs.fingerprint() == two.fingerprint()


def test_what_the_cache_holds_is_made_anew_if_it_is_damaged(tmp_path, monkeypatch):
    from shattering.system.cache import cache_folder

    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "cache"))
    encoded = [b"", *map(encode, RGB[1:]), encode(RGB[0])]
    expected = by_folder(encoded, tmp_path / "data", skip_corrupt=True)
    moments = formats.read_image_folder(tmp_path / "data" / "train", size=4, skip_corrupt=True).inputs.subset(expected.ids.numpy())
    before = moments.moments()
    kept = sorted(cache_folder().iterdir())
    assert kept
    assert not [path for path in kept if path.suffix in (".lock", ".tmp")]
    for damage in (b"", b"{}", b"null", b"[[1]]", b'"x"', b"[0, 999]", b"\xff" * 100):
        for path in kept:
            path.write_bytes(damage)
        again = by_folder(encoded, tmp_path / "data", skip_corrupt=True)
        assert torch.equal(again.inputs, expected.inputs)
        assert moments.moments() == before


class Items(TorchDataset):
    def __init__(self, *images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], i % 2


def test_items_of_a_torch_dataset_are_of_one_type_and_one_shape():
    picture, pixels = Image.fromarray(RGB[0]), RGB[1].transpose(2, 0, 1)
    for items, message in (
        ((pixels, pixels / 255), r"are uint8 \(item 0\) and float64 \(item 1\), expected one type"),
        ((picture, pixels), "are pictures and arrays, expected one type"),
        ((pixels, picture), "are pictures and arrays, expected one type"),
        ((pixels, pixels[:, 1:]), r"have shapes \[\(3, 5, 5\), \(3, 6, 5\)\], expected one shape"),
        ((), "expected one shape, and at least one image"),
        ((Image.fromarray(RGB[0]).convert("HSV"),) * 2, "item 0 of the torch dataset is of mode HSV, expected grey or RGB"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset(Items(*items), hold_out=False)
    whole = torch.from_numpy(pixels).float()
    found = load_dataset(Items(whole.bfloat16(), whole.bfloat16()), hold_out=False).train.inputs
    assert torch.equal(found[0], whole)


def test_a_dataset_on_disk_keeps_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    by_folder(map(encode, RGB), tmp_path)
    data = load_dataset(tmp_path, image_size=4)
    assert load_dataset(data, image_size=4).train.input_shape == (3, 4, 4)
    with pytest.raises(InputError, match="image_size is 5, expected 4, that of the dataset which is given"):
        load_dataset(data, image_size=5)
    with pytest.raises(InputError, match="image_size is 5, expected none, that of the dataset which is given"):
        load_dataset(load_dataset(tmp_path), image_size=5)


def test_splits_and_columns_of_a_hugging_face_dataset(tmp_path):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    encoded = [*map(encode, RGB)]
    plain = hub_of(encoded)
    with pytest.warns(UserWarning, match="the splits 'unsupervised' are not used"):
        data = load_dataset(datasets.DatasetDict(train=plain, test=plain, unsupervised=plain))
    assert len(data.test) == 6
    unlabelled = hub_of(encoded, label=[-1] * 6)
    with pytest.warns(UserWarning, match="the split 'test' has no labels, and is not used"):
        assert len(load_dataset(datasets.DatasetDict(train=plain, test=unlabelled)).test) == 1
    other = hub_of(encoded, label=[1, 0] * 3)
    found = load_dataset(datasets.DatasetDict(train=plain, test=unlabelled, validation=other)).test
    assert found.labels.tolist() == [1, 0] * 3
    with pytest.raises(InputError, match="has columns 'label' and 'labels', each of which may be the labels, expected target, one of them"):
        load_dataset(hub_of(encoded, labels=Y))
    two = hub_of(encoded, fine=Y, coarse=Y).remove_columns("label")
    with pytest.raises(InputError, match="has columns 'fine' and 'coarse', each of which may be the labels"):
        load_dataset(two)
    assert load_dataset(two.remove_columns("fine"), hold_out=False).train.labels.tolist() == Y
    with pytest.warns(UserWarning, match="the columns 'fine' are not used"):
        assert load_dataset(hub_of(encoded, fine=Y), hold_out=False).train.labels.tolist() == Y, "the one that is named so"
    with pytest.raises(InputError, match=r"is a stream, expected n_train \(and n_test\) beside it"):
        load_dataset(plain.to_iterable_dataset())


def test_a_hugging_face_dataset_of_paths(tmp_path):
    rows = []
    for i, image in enumerate(RGB):
        (tmp_path / f"{i}.png").write_bytes(encode(image))
        rows.append({"bytes": None, "path": str(tmp_path / f"{i}.png")})
    source = hub_of(rows)
    assert (load_dataset(source, hold_out=False).train.inputs.permute(0, 2, 3, 1).numpy() == np.stack(RGB)).all()
    (tmp_path / "3.png").unlink()
    with pytest.raises(InputError, match=r"3.png cannot be read: No such file"):
        load_dataset(source)
