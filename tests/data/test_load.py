import io
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from shattering import Dataset, Split, dataset_from_arrays, load_dataset
from shattering.data import decode, formats, lazy, load
from shattering.errors import InputError
from shattering.system.cache import cache_folder
from tests.conftest import make_split


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(image.squeeze()).save(out, format=kind)
    return out.getvalue()


def write_parquet(path, images, labels, names=None, kind="PNG"):
    rows = [{"bytes": encode(image, kind) if isinstance(image, np.ndarray) else image, "path": None} for image in images]
    table = pa.table({"img": rows, "label": pa.array(labels)})
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def pictures(n, height=6, width=5, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8))


def test_digits_are_embedded_and_fixed():
    data = load_dataset("digits")
    assert (len(data.train), len(data.test)) == (1297, 500)
    assert data.train.inputs.shape == (1297, 1, 8, 8)
    assert data.train.inputs.max() == 255
    assert not set(data.train.ids.tolist()) & set(data.test.ids.tolist())
    assert data.fingerprint() == load_dataset("digits", seed=9).fingerprint()


@pytest.mark.parametrize("seed", range(3))
def test_subsets_are_balanced_seeded_and_keep_ids(seed):
    whole, part = load_dataset("digits"), load_dataset("digits", n_train=205, n_test=50, seed=seed)
    counts = part.train.labels.bincount()
    assert counts.max() - counts.min() <= 1
    assert part.test.labels.bincount().tolist() == [5] * 10
    rows = torch.searchsorted(whole.train.ids, part.train.ids)
    assert torch.equal(whole.train.inputs[rows], part.train.inputs)
    assert torch.equal(part.train.ids, load_dataset("digits", n_train=205, seed=seed).train.ids)
    assert not torch.equal(part.train.ids, load_dataset("digits", n_train=205, seed=seed + 100).train.ids)


def test_an_unbalanced_source_gives_as_equal_classes_as_it_can():
    labels = torch.tensor([0] * 3 + [1] * 50 + [2] * 50)
    split = Split(torch.zeros(103, 2), labels, ("a", "b", "c"))
    data = Dataset(split, split).limit(n_train=43)
    assert data.train.labels.bincount().tolist() == [3, 20, 20]


def test_parquet_by_name_and_by_path_from_one_reader(tmp_path, monkeypatch):
    names = ["cat", "dog"]
    write_parquet(tmp_path / "cifar10" / "train-00000-of-00002.parquet", pictures(6), [0, 1] * 3, names)
    write_parquet(tmp_path / "cifar10" / "train-00001-of-00002.parquet", pictures(4, seed=1), [1, 0] * 2, names)
    write_parquet(tmp_path / "cifar10" / "test-00000-of-00001.parquet", pictures(4, seed=2), [0, 1] * 2, names)
    by_path = load_dataset(tmp_path / "cifar10")
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path))
    by_name = load_dataset("cifar10")
    assert by_name.fingerprint() == by_path.fingerprint()
    assert by_name.classes == ("cat", "dog")
    assert by_name.train.labels.tolist() == [0, 1, 0, 1, 0, 1, 1, 0, 1, 0]
    for got, image in zip(by_name.train.inputs, [*pictures(6), *pictures(4, seed=1)], strict=True):
        assert (got.permute(1, 2, 0).numpy() == image).all()


def test_lossy_copies_are_named_so(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_parquet(tmp_path / "cifar10" / f"{part}.parquet", pictures(4, 8, 8), [0, 1] * 2, kind="JPEG")
    monkeypatch.setenv("SHATTERING_DATA", str(tmp_path))
    assert load_dataset("cifar10").variant == "cifar10 (JPEG)"


def test_hub_files_are_read_like_local_ones(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_parquet(tmp_path / "plain_text" / f"{part}-00000-of-00001.parquet", pictures(4), [0, 1] * 2, ["a", "b"])
    asked = {}

    def snapshot_download(repository, **options):
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert load_dataset("cifar10").variant == "cifar10"
    assert asked == {"repository": "uoft-cs/cifar10", "repo_type": "dataset", "allow_patterns": "plain_text/*.parquet"}


def test_no_hub_is_one_sentence(monkeypatch):
    def snapshot_download(*_, **__):
        raise ConnectionError("no route to host\nand much more")

    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(
        InputError, match=r"^dataset 'mnist' is not in SHATTERING_DATA \(not set\) and cannot be downloaded .*: no route to host$"
    ):
        load_dataset("mnist")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    with pytest.raises(InputError, match=r'the package huggingface-hub, which is not installed: pip install "shattering\[hub\]"$'):
        load_dataset("mnist")


def write_folder(root, splits=("train", "test"), classes=("bird", "cat"), n=3, size=(6, 5)):
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i, image in enumerate(pictures(n, *size, seed=10 * s + c)):
                suffix = "jpg" if i == 0 else "png"
                (root / split / name / f"{i}.{suffix}").write_bytes(encode(image, "JPEG" if suffix == "jpg" else "PNG"))


def test_image_folder(tmp_path):
    write_folder(tmp_path)
    data = load_dataset(tmp_path)
    assert data.classes == ("bird", "cat")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.inputs.shape == (6, 3, 6, 5)
    assert (data.train.inputs[1].permute(1, 2, 0).numpy() == pictures(3)[1]).all()


def test_a_folder_without_a_test_split_holds_out_a_fifth(tmp_path):
    write_folder(tmp_path, splits=("train",), n=10)
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.test)) == (16, 4)
    assert data.variant.endswith("(a fifth held out)")


def test_npz_and_round_trip(tmp_path):
    data = load_dataset("digits", n_train=50, n_test=20)
    again = load_dataset(data.to_npz(tmp_path / "mine.npz"))
    assert torch.equal(again.train.inputs, data.train.inputs)
    assert torch.equal(again.test.labels, data.test.labels)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_arrays(make):
    split = make_split()
    last = split.inputs.permute(0, 2, 3, 1).contiguous().numpy()
    y = split.labels.numpy()
    from_last = load_dataset((make(last), make(y), make(last), make(y)))
    from_first = load_dataset((make(split.inputs.numpy()), make(y), make(split.inputs.numpy()), make(y)))
    assert torch.equal(from_last.train.inputs, split.inputs)
    assert torch.equal(from_first.train.inputs, split.inputs)
    flat = load_dataset((make(last.reshape(len(y), -1) / 255.0), make(y), make(last.reshape(len(y), -1) / 255.0), make(y)))
    assert flat.train.inputs.dtype == torch.float64
    assert load_dataset((make(last[..., 0]), make(y), make(last[..., 0]), make(y))).train.input_shape == (1, 6, 5)


def test_string_labels_become_sorted_classes():
    x = np.zeros((4, 2), dtype=np.float32)
    data = load_dataset((x, np.array(["b", "a", "b", "a"]), x, np.array(["a", "a", "b", "b"])))
    assert data.classes == ("a", "b")
    assert data.train.labels.tolist() == [1, 0, 1, 0]
    assert data.test.labels.tolist() == [0, 0, 1, 1]


def test_decoded_images_are_cached_until_the_file_changes(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}.parquet", pictures(4), [0, 1] * 2)
    first = load_dataset(tmp_path)
    with monkeypatch.context() as m:
        decoded = []
        m.setattr(lazy, "decode_one", lambda *args: decoded.append(1) or decode.decode_one(*args))
        assert load_dataset(tmp_path).fingerprint() == first.fingerprint()
        assert len(decoded) == 2, "the first of each split, for its size"
    write_parquet(tmp_path / "train.parquet", pictures(5, seed=8), [0, 1, 0, 1, 1])
    assert len(load_dataset(tmp_path).train) == 5
    for file in cache_folder().glob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert len(load_dataset(tmp_path).train) == 5


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}.parquet", pictures(4), [0, 1] * 2)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="what is decoded and computed is not kept in .*: Not a directory"):
        assert len(load_dataset(tmp_path).train) == 4


def test_both_jpeg_decoders_agree(monkeypatch):
    simplejpeg = pytest.importorskip("simplejpeg")
    assert decode.simplejpeg is simplejpeg
    data = [encode(image, "JPEG") for image in pictures(5, 32, 32)] + [encode(pictures(1, 32, 32)[0][..., 0], "JPEG")]
    fast = [decode.decode_one(d) for d in data]
    monkeypatch.setattr(decode, "simplejpeg", None)
    for one, two in zip(fast, [decode.decode_one(d) for d in data], strict=True):
        assert one.shape == two.shape
        assert np.abs(one.astype(int) - two).max() <= 1


def test_grey_images_join_coloured_ones(tmp_path):
    grey, colour = pictures(1)[0][..., 0], pictures(1)[0]
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}.parquet", [grey, colour], [0, 1])
    images = load_dataset(tmp_path).train.inputs
    assert images.shape == (2, 3, 6, 5)
    assert (images[0].numpy() == grey).all()


X, Y = np.zeros((6, 4, 4, 3), dtype=np.uint8), np.array([0, 1] * 3)


@pytest.mark.parametrize("numbers", [[1, 10, 2], [-1, 0, 1], [0.0, 2.0, 5.0], [0, 1, 3]])
def test_labels_that_are_other_numbers(numbers):
    y, test = np.array(numbers * 2), np.array(numbers[::-1] * 2)
    data = dataset_from_arrays(X, y, X, test)
    assert data.train.classes == tuple(str(int(k)) for k in sorted(numbers))
    assert [int(data.train.classes[k]) for k in data.train.labels] == y.tolist()
    assert [int(data.test.classes[k]) for k in data.test.labels] == test.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((X, Y[:5], X, Y), r"x_train has 6 examples and y_train has 5 labels, expected as many"),
        (
            (X, np.array([0, 1, 3] * 2), X, np.array([0, 1, 3, 0, 1, 2])),
            r"y_test has class 2 \(first: row 5\), expected one of 0, 1, 3",
        ),
        (
            (X, np.array([0, 1, 3, 4, 7, 3]), X, Y),
            r"y_train has 5 different numbers for 6 examples, expected classes; numbers to predict go with a regressor",
        ),
        ((X, np.array([0, 1, np.nan, 0, 1, 1]), X, Y), r"y_train has 1 rows without a label \(first: row 2\), expected none"),
        ((X, np.array(["a", "b", None] * 2, dtype=object), X, Y), r"y_train has 2 rows without a label"),
        ((X, np.zeros(6, dtype=int), X, Y), r"y_train has 1 class, expected at least two"),
        ((X, Y, X, np.array([0, 1, 2, 0, 1, 2])), r"y_test has class 2 \(first: row 2\), expected one of 0, 1"),
        ((X, np.array(list("ababab")), X, np.array(list("abcabc"))), r"y_test has class 'c' \(first: row 2\), expected one of 'a', 'b'"),
        ((X, np.eye(6), X, Y), r"y_train has shape \(6, 6\), expected one label .*; of columns that mark one class each, give"),
        ((X.astype(np.int64), Y, X, Y), r"x_train have type torch.int64, expected uint8 \(0…255\) or floats"),
        ((X, Y, X[:, :2], Y), r"test images have shape \(3, 2, 4\), expected that of the train images, \(3, 4, 4\)"),
        ((X[:0], Y[:0], X, Y), r"y_train has shape \(0,\), expected one label an example, and at least one"),
        ((X[:, 0, 0, 0], Y, X, Y), r"x_train has shape \(6,\), expected \(n, features\)"),
    ],
)
def test_bad_arrays(arrays, message):
    with pytest.raises(InputError, match=message):
        load_dataset(arrays)


def test_bad_names_and_sizes(tmp_path):
    with pytest.raises(InputError, match=r"unknown dataset 'cifar11'; did you mean 'cifar10'\? \(known: .*, or the path of a file"):
        load_dataset("cifar11")
    with pytest.raises(InputError, match=r"unknown dataset 'nowhere'; known: cifar10, .*, or its name in SHATTERING_DATA"):
        load_dataset("nowhere")
    with pytest.raises(InputError, match=r"n_train is 5000, expected 1…1297"):
        load_dataset("digits", n_train=5000)
    with pytest.raises(InputError, match=r"n_test is 0, expected a whole number of at least 1 or none"):
        load_dataset("digits", n_test=0)
    with pytest.raises(InputError, match="dataset is an int"):
        load_dataset(3)
    with pytest.raises(InputError, match="has neither train/CLASS/ folders nor"):
        load_dataset(tmp_path)
    (tmp_path / "x.xyz").write_text("")
    with pytest.raises(InputError, match=r"x.xyz ends in '.xyz', expected"):
        load_dataset(tmp_path / "x.xyz")


def truncated_parquet(root):
    write_parquet(root / "train.parquet", pictures(4), [0, 1] * 2)
    data = (root / "train.parquet").read_bytes()
    (root / "train.parquet").write_bytes(data[: len(data) // 2])


def truncated_image(root):
    png = encode(pictures(1)[0])
    write_parquet(root / "train.parquet", [*pictures(3), png[: len(png) // 2]], [0, 1] * 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated_parquet, r"train.parquet is not a readable Parquet file: "),
        (truncated_image, r"row 3 of column 'img' of .*train.parquet is not a readable image: "),
        (lambda p: write_parquet(p / "train.parquet", [b"", *pictures(3)], [0, 1] * 2), "row 0 of column 'img' .* is not a readable image"),
        (
            lambda p: write_parquet(p / "train.parquet", [*pictures(3), *pictures(1, 7, 7)], [0, 1] * 2),
            r"mixed sizes: row 3 .* is 7x7 pixels and row 0 .* is 5x6, expected one size",
        ),
        (lambda p: write_parquet(p / "train.parquet", pictures(4), [0, None, 1, None]), r"has 2 rows without a label \(first: row 1\)"),
        (
            lambda p: write_parquet(p / "train.parquet", pictures(4), [0, 2] * 2, list("abc")),
            r"has no example of 1 of 3 classes",
        ),
        (
            lambda p: write_parquet(p / "train.parquet", pictures(4), [0, 5] * 2, ["a", "b"]),
            r"has class 5 .*, expected one of 0, 1",
        ),
        (lambda p: write_parquet(p / "train.parquet", pictures(4), [0] * 4), r"has 1 class, expected at least two"),
        (lambda p: write_parquet(p / "train.parquet", [None, *pictures(3)], [0, 1] * 2), r"row 0 .* is not a readable image: it is empty"),
        (lambda p: write_parquet(p / "train.parquet", [], pa.array([], pa.int64())), r"has no rows|found columns"),
        (
            lambda p: pq.write_table(pa.table({"a": [1], "b": [2]}), p / "train.parquet"),
            r"found columns \['a', 'b'\], expected exactly one with encoded images",
        ),
    ],
)
def test_bad_parquet(tmp_path, make, message):
    make(tmp_path)
    write_parquet(tmp_path / "test.parquet", pictures(4), [0, 1] * 2)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_folders_and_archives(tmp_path):
    write_folder(tmp_path / "one", classes=("cat",))
    with pytest.raises(InputError, match="has 1 class folder, expected at least two"):
        load_dataset(tmp_path / "one")
    write_folder(tmp_path / "strange")
    (tmp_path / "strange" / "test" / "dog").mkdir()
    with pytest.raises(InputError, match="has class 'dog', which the train split lacks"):
        load_dataset(tmp_path / "strange")
    (tmp_path / "none" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="has no images, expected"):
        load_dataset(tmp_path / "none")
    write_folder(tmp_path / "mixed")
    (tmp_path / "mixed" / "train" / "cat" / "2.png").write_bytes(encode(pictures(1, 9, 9)[0]))
    with pytest.raises(InputError, match=r"mixed sizes: .*2.png is 9x9 pixels and .*0.jpg is 5x6, expected"):
        load_dataset(tmp_path / "mixed")
    np.savez(tmp_path / "a.npz", x_train=X)
    with pytest.raises(InputError, match=r"a.npz has arrays \['x_train'\], expected x_train, y_train, x_test, y_test"):
        load_dataset(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x_train=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"b.npz is not a readable .npz of plain arrays"):
        load_dataset(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"is not a readable \.npz"):
        load_dataset(tmp_path / "c.npz")


def test_identity_of_a_path_is_its_content(tmp_path):
    for name in ("one", "two"):
        write_folder(tmp_path / name)
    assert load.identity(str(tmp_path / "one")) == load.identity(str(tmp_path / "two"))
    (tmp_path / "two" / "train" / "cat" / "9.png").write_bytes(encode(pictures(1)[0]))
    assert load.identity(str(tmp_path / "one")) != load.identity(str(tmp_path / "two"))
    assert load.identity("digits") == "digits"


def test_real_cifar10(real_data):
    data = load_dataset("cifar10", n_train=1000)
    assert data.variant == "cifar10 (JPEG)"
    assert data.train.labels.bincount().tolist() == [100] * 10
    assert data.test.inputs.shape == (10000, 3, 32, 32)
    assert "airplane" in data.classes


def test_real_mnist(real_data, monkeypatch):
    """Its images stay on disk, of which every twentieth is decoded."""
    monkeypatch.setattr(formats, "fits_into_memory", lambda _: False)
    data = load_dataset("mnist")
    assert (len(data.train), len(data.test), data.train.input_shape) == (60000, 10000, (1, 28, 28))
    assert data.train.labels.bincount().tolist()[:3] == [5923, 6742, 5958]
    assert 0.129 < data.train.inputs[range(0, 60000, 20)].double().mean() / 255 < 0.132  # its well-known mean, 0.1307
