"""Datasets of torch and of Hugging Face."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

from shattering.data.load import load_dataset
from shattering.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(30) % 3


class Pictures(TorchDataset):
    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return Image.fromarray(IMAGES[i].transpose(1, 2, 0)), int(LABELS[i])


def test_torch_tensors_and_pictures():
    tensors = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    for source in (tensors, Pictures()):
        data = load_dataset((source, source))
        assert torch.equal(data.train.inputs, torch.from_numpy(IMAGES))
        assert data.train.labels.tolist() == LABELS.tolist()
    assert (len(load_dataset(tensors).train), len(load_dataset(tensors).test)) == (24, 6)


def test_two_arrays_have_a_fifth_held_out():
    data = load_dataset((IMAGES.reshape(30, -1).astype(np.float32), LABELS), seed=1)
    assert (len(data.train), len(data.test)) == (24, 6)
    assert not set(data.train.ids.tolist()) & set(data.test.ids.tolist())


def test_tables_of_integers_are_taken_as_they_are():
    table = np.arange(60).reshape(30, 2) - 7
    assert torch.equal(load_dataset((table, LABELS, table, LABELS)).train.inputs, torch.from_numpy(table).float())
    with pytest.raises(InputError, match="int64, expected uint8"):
        load_dataset((IMAGES.astype(np.int64), LABELS, IMAGES.astype(np.int64), LABELS))


class Odd(TorchDataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_bad_torch_datasets():
    with pytest.raises(InputError, match="item 0 of the torch dataset is an int, expected a pair"):
        load_dataset(Odd([3]))
    with pytest.raises(InputError, match="have shapes"):
        load_dataset(Odd([(np.zeros((1, 2, 2)), 0), (np.zeros((1, 3, 2)), 1)]))
    sparse = Odd([(torch.eye(4)[i].to_sparse(), i % 2) for i in range(4)] * 5)
    for kind in (None, "opaque", "tokens"):
        with pytest.raises(
            InputError, match=r"the input of item 0 of the torch dataset is a tensor of layout torch\.sparse_coo, expected a"
        ):
            load_dataset(sparse, kind=kind)


def test_labels_that_are_arrays_without_axes_and_inputs_of_bfloat16():
    items = [(torch.full((3,), float(i)).bfloat16(), np.array(i % 2)) for i in range(20)]
    for kind in (None, "opaque"):
        assert sorted(load_dataset(Odd(items), kind=kind).train.y.tolist()) == [0] * 8 + [1] * 8
    with pytest.raises(InputError, match="labels of type datetime64"):
        load_dataset(Odd([(torch.zeros(3), np.array("2020-01-01", "datetime64[ns]"))] * 20))


def hub(n=30, **columns):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")

    def encoded(pixels):
        png = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0)).save(png, format="PNG")
        return {"bytes": png.getvalue(), "path": None}

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    rows = {"image": [encoded(p) for p in IMAGES[:n]], "label": LABELS[:n].tolist(), **columns}
    extra = {name: datasets.Value("string") for name in columns}
    return datasets.Dataset.from_dict(rows, datasets.Features({**features, **extra}))


def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    with pytest.warns(UserWarning, match="the columns 'note' are not used"):
        both = load_dataset(datasets.DatasetDict(train=hub(), test=hub(12, note=["x"] * 12)))
    assert torch.equal(both.train.inputs, torch.from_numpy(IMAGES))
    assert both.classes == ("a", "b", "c")
    assert len(both.test) == 12
    alone = load_dataset(hub())
    assert (len(alone.train), len(alone.test)) == (24, 6)


def test_bad_hugging_face_datasets():
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    with pytest.raises(InputError, match="expected 'train'"):
        load_dataset(datasets.DatasetDict(test=hub()))
    with pytest.raises(InputError, match="expected one named 'label', or target, its name"):
        load_dataset(hub().remove_columns("label"))


def test_lists_of_pictures_are_read_as_the_pictures_of_a_torch_dataset_are():
    rng = np.random.default_rng(0)
    colours = [Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)).quantize(8) for _ in range(10)]
    expected = np.stack([np.asarray(image.convert("RGB")).transpose(2, 0, 1) for image in colours])
    for images in (colours, tuple(colours)):
        assert np.array_equal(load_dataset((images, [0, 1] * 5), hold_out=False).train.inputs.numpy(), expected)
    deep = [Image.fromarray(np.full((4, 6), i * 6000, dtype=np.uint16)) for i in range(10)]
    found = load_dataset((deep, [0, 1] * 5), hold_out=False).train.inputs
    assert found.shape == (10, 1, 4, 6)
    assert np.allclose(found[:, 0, 0, 0], np.arange(10) * 6000 / 65535)
    with pytest.raises(InputError, match="item 1 of x_train is of mode HSV, expected grey or RGB"):
        load_dataset(([colours[0], colours[1].convert("HSV")] * 5, [0, 1] * 5))
    with pytest.raises(InputError, match="channels is 'last', expected none for x_train, whose images are pictures"):
        load_dataset((colours, [0, 1] * 5), channels="last")


class Inputs(TorchDataset):
    """Inputs without labels, of any items. It never raises IndexError."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return self.item(i % len(IMAGES))


def test_a_torch_dataset_of_inputs_alone_has_its_labels_beside_it():
    data = load_dataset((Inputs(lambda i: torch.from_numpy(IMAGES[i])), LABELS), hold_out=False, channels="first")
    assert torch.equal(data.train.inputs, torch.from_numpy(IMAGES))
    for source in (Pictures(), TensorDataset(torch.from_numpy(IMAGES))):
        with pytest.raises(InputError, match=r"x_train is a \w+ whose items are tuples of \d, expected items that are inputs alone"):
            load_dataset((source, LABELS))


def test_several_arrays_are_never_made_one_input():
    table = IMAGES.reshape(30, -1)
    pairs = Inputs(lambda i: ((table[i], table[i]), int(LABELS[i])))
    with pytest.raises(InputError, match="the input of item 0 of the torch dataset is a tuple, expected a picture, an array"):
        load_dataset(pairs)
    assert len(load_dataset(pairs, kind="opaque", hold_out=False).train.inputs.content[3]) == 2
