"""Files and folders as they are found: all images are read, or it is said what is not."""

import io
import os
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shattering import InputError, load_dataset
from shattering.data import formats, image_folders, load
from shattering.data.lazy import ImagesOnDisk
from shattering.runs.spec import RunSpec
from shattering.system import machine
from tests.data.test_load import encode, pictures, write_folder, write_parquet

KINDS = {
    "a.png": "PNG",
    "b.PNG": "PNG",
    "c.bmp": "BMP",
    "d.tif": "TIFF",
    "e.TIFF": "TIFF",
    "f.webp": "WEBP",
    "g.ppm": "PPM",
    "below/h.png": "PNG",
    "below/further/i.jpe": "PNG",  # by its content
}


def put(path, image=None, kind="PNG", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    Image.fromarray(pictures(1)[0] if image is None else image).save(out, kind, **options)
    path.write_bytes(out.getvalue())


def two_classes(root, **files):
    """A folder with a train split of two classes, and other files."""
    write_folder(root, splits=("train",), n=5)
    return root


def test_every_format_and_every_folder_below_a_class_is_read(tmp_path):
    images = pictures(2 * len(KINDS))
    for c, label in enumerate(("cat", "dog")):
        for i, (name, kind) in enumerate(KINDS.items()):
            put(tmp_path / "train" / label / name, images[c * len(KINDS) + i], kind, **({"lossless": True} if kind == "WEBP" else {}))
    train = load_dataset(tmp_path, hold_out=False).train
    assert train.labels.tolist() == [0] * len(KINDS) + [1] * len(KINDS)
    order = sorted(range(len(KINDS)), key=lambda i: list(KINDS)[i].split("/"))
    for c in range(2):
        for place, i in enumerate(order):
            assert (train.inputs[c * len(KINDS) + place].permute(1, 2, 0).numpy() == images[c * len(KINDS) + i]).all()


def test_what_systems_leave_in_folders_is_no_image_and_changes_nothing(tmp_path):
    two_classes(tmp_path)
    before = load_dataset(tmp_path).fingerprint()
    identity = load.identity(str(tmp_path))
    for name in ("._0.png", ".DS_Store", ".hidden/x.png", "__MACOSX/x.png", "Thumbs.db", "desktop.ini", "@eaDir/x.png"):
        for folder in ("train/bird", "train"):
            (tmp_path / folder / name).parent.mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(b"no image")
    assert load_dataset(tmp_path).fingerprint() == before
    for name in ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"):
        assert image_folders.is_litter(name)
    for folder in ("train/bird", "train"):
        for name in ("__MACOSX/x.png", "Thumbs.db", "desktop.ini", "@eaDir/x.png"):
            (tmp_path / folder / name).unlink()
    assert load.identity(str(tmp_path)) == identity, "hidden files do not count"


def test_notes_beside_images_are_told(tmp_path):
    two_classes(tmp_path)
    for name in ("bird/boxes.txt", "bird/more/a.xml", "labels.csv", "README"):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_text("")
    with pytest.warns(UserWarning, match=r"train: 4 files beside the images not read \(first: README\)"):
        assert len(load_dataset(tmp_path, hold_out=False).train) == 10


def pipe(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)
        os.chdir(here)


NO_IMAGES = [
    ("x.heic", lambda path: path.write_bytes(b""), r"first: bird/x.heic, of a format that is not read"),
    ("x.npy", lambda path: path.write_bytes(b""), r"of a format that is not read"),
    ("x", lambda path: path.write_bytes(b""), r"first: bird/x, of a format that is not read"),
    ("x.eps", lambda path: path.write_bytes(b""), r"of a format that is not read"),
    ("x.png", pipe, r"first: bird/x.png, a pipe"),
    ("x.png", listening, r"first: bird/x.png, a socket"),
    ("x.png", lambda path: path.symlink_to("/dev/zero"), r"first: bird/x.png, a device"),
    ("x.png", lambda path: path.symlink_to("nowhere.png"), r"first: bird/x.png, a link to nowhere"),
    ("x.png", lambda path: path.symlink_to("x.png"), r"first: bird/x.png, Too many levels of symbolic links"),
    ("\x1b[31mx", lambda path: path.write_bytes(b""), r"first: bird/\\x1b\[31mx, of a format"),
    ("x\udcff.doc", lambda path: path.write_bytes(b""), r"first: bird/x\\udcff.doc, of a format"),
]


@pytest.mark.parametrize(("name", "make", "message"), NO_IMAGES)
def test_a_file_that_is_no_image_is_named_and_counted(tmp_path, name, make, message):
    two_classes(tmp_path)
    make(tmp_path / "train" / "bird" / name)
    with pytest.raises(
        InputError, match=rf"train has 1 file that is no image \(.*{message}.*\), expected formats that Pillow reads"
    ) as caught:
        load_dataset(tmp_path)
    assert caught.value.args[0].isprintable()


def test_links_are_followed_but_not_in_circles(tmp_path):
    two_classes(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "real" / "train")
    one, two = load_dataset(tmp_path / "real"), load_dataset(tmp_path / "linked")
    assert one.fingerprint() == two.fingerprint()
    before = load.identity(str(tmp_path / "linked"))
    put(tmp_path / "real" / "train" / "bird" / "9.png")
    assert load.identity(str(tmp_path / "linked")) != before, "what is read through a link is part of the identity"
    (tmp_path / "real" / "train" / "bird" / "round").symlink_to("..")
    with pytest.raises(InputError, match="train/bird/round/bird is a link to a folder that it lies in, expected none such"):
        load_dataset(tmp_path / "real")


def test_names_that_are_no_text(tmp_path):
    two_classes(tmp_path)
    put(tmp_path / "train" / "bird" / "n\udce9e.png")
    assert len(load_dataset(tmp_path, hold_out=False).train) == 11
    RunSpec(str(tmp_path))._holds_out()
    (tmp_path / "train" / "bird" / "bad\udce9.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"bird/bad\\udce9.png is not a readable image: it is empty"):
        load_dataset(tmp_path)
    (tmp_path / "train" / "bird" / "bad\udce9.png").unlink()
    put(tmp_path / "train" / "n\udce9e" / "a.png")
    with pytest.raises(InputError, match=r"train has the class n\\udce9e, expected names in UTF-8"):
        load_dataset(tmp_path)


def test_images_in_no_class_folder_are_named(tmp_path):
    two_classes(tmp_path)
    for name in ("x.png", "y.png"):
        put(tmp_path / "train" / name)
    with pytest.raises(InputError, match=r"train has 2 files in no class folder \(first: x.png\), expected each in .*train/CLASS/"):
        load_dataset(tmp_path)


def test_files_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    two_classes(tmp_path)
    scandir = os.scandir

    def denied(path, *args):
        if str(path).endswith("bird"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path, *args)

    with monkeypatch.context() as m:
        m.setattr(image_folders.os, "scandir", denied)
        with pytest.raises(InputError, match="train/bird cannot be listed: Permission denied"):
            load_dataset(tmp_path)
    images = load_dataset(tmp_path, image_size=4, skip_corrupt=True)
    assert images.skipped == {"train": 0, "test": 0}
    source = formats.read_image_folder(tmp_path / "train", size=4).inputs
    (tmp_path / "train" / "bird" / "0.jpg").unlink()
    for make, message in (
        (lambda path: None, "No such file"),
        (pipe, "is a pipe, expected a file"),
        (lambda p: p.mkdir(), "Is a dir|a folder"),
    ):
        make(tmp_path / "train" / "bird" / "0.jpg")
        with pytest.raises(InputError, match=rf"bird/0.jpg .*{message}"):
            source[[0]]
        with pytest.raises(InputError, match=rf"bird/0.jpg .*{message}"):
            source.unreadable()
        if (tmp_path / "train" / "bird" / "0.jpg").is_fifo():
            (tmp_path / "train" / "bird" / "0.jpg").unlink()


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    two_classes(tmp_path)
    original = ImagesOnDisk._load

    def slowly(self):
        found = original(self)
        put(tmp_path / "train" / "bird" / "1.png", pictures(1, seed=9)[0])
        return found

    monkeypatch.setattr(ImagesOnDisk, "_load", slowly)
    with pytest.raises(InputError, match=r"0.jpg or others changed while they were read, expected files at rest"):
        load_dataset(tmp_path)


def test_an_old_decoding_never_answers_for_a_changed_file(tmp_path):
    two_classes(tmp_path)
    place = tmp_path / "train" / "bird" / "1.png"
    flat = [np.full((6, 5, 3), value, np.uint8) for value in (7, 9)]
    for value, image in zip((7, 9), flat, strict=True):
        place.write_bytes(encode(image))
        os.utime(place, ns=(10**18, 10**18))
        assert load_dataset(tmp_path, hold_out=False).train.inputs[1].unique().tolist() == [value]


def test_splits_are_found_by_their_names(tmp_path):
    write_folder(tmp_path / "upper", splits=("Train", "TEST"))
    assert (len(load_dataset(tmp_path / "upper").train), len(load_dataset(tmp_path / "upper").test)) == (6, 6)
    write_folder(tmp_path / "both", splits=("train", "Train"))
    with pytest.raises(InputError, match=r"has the folders [Tt]rain and [Tt]rain, expected one of them"):
        load_dataset(tmp_path / "both")
    for name in ("valid", "dev", "testing", "test_images"):
        write_folder(tmp_path / name, splits=("train", name))
        with pytest.raises(InputError, match=f"has the folder {name}, expected a test split to have the name test, validation or val"):
            load_dataset(tmp_path / name)
    write_folder(tmp_path / "extra", splits=("train", "test", "old"))
    with pytest.warns(UserWarning, match="the folder old is not used"):
        assert len(load_dataset(tmp_path / "extra").test) == 6
    write_folder(tmp_path / "mixed", splits=("train",))
    write_parquet(tmp_path / "mixed" / "train.parquet", pictures(4), [0, 1] * 2)
    with pytest.raises(InputError, match=r"has both the folder train and train.parquet, expected one of them"):
        load_dataset(tmp_path / "mixed")


def test_classes_without_a_train_folder(tmp_path):
    write_folder(tmp_path, splits=("flowers",), n=5)
    data = load_dataset(tmp_path / "flowers")
    assert (data.classes, len(data.train), len(data.test)) == (("bird", "cat"), 8, 2)
    assert data.variant == "flowers (a fifth held out)"
    write_folder(tmp_path / "png", splits=("training", "testing"))
    with pytest.raises(InputError, match="has the folder testing, which looks like a split of the data, expected train and test"):
        load_dataset(tmp_path / "png")


def test_the_layout_of_tiny_imagenet(tmp_path):
    for label in ("n01", "n02"):
        for i in range(5):
            put(tmp_path / "train" / label / "images" / f"{label}_{i}.JPEG", kind="JPEG")
        (tmp_path / "train" / label / f"{label}_boxes.txt").write_text("")
        put(tmp_path / "test" / "images" / f"test_{label}.JPEG", kind="JPEG")
    for i, image in enumerate(pictures(3)):
        put(tmp_path / "val" / "images" / f"val_{i}.JPEG", image)
    lines = ["val_0.JPEG\tn02\t0\t0\t62\t62", "val_1.JPEG\tn01\t0\t0\t62\t62", "val_2.JPEG\tn02\t0\t0\t62\t62"]
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="beside the images not read"):
        data = load_dataset(tmp_path)
    assert (len(data.train), data.classes, data.test.labels.tolist()) == (10, ("n01", "n02"), [0, 1, 1])
    assert (data.test.inputs[1].permute(1, 2, 0).numpy() == pictures(3)[0]).all()
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines[:2]))
    (tmp_path / "train" / "n01" / "n01_boxes.txt").unlink()
    (tmp_path / "train" / "n02" / "n02_boxes.txt").unlink()
    with pytest.raises(InputError, match=r"images that val_annotations.txt does not name, or lacks some .*images/val_2.JPEG\)"):
        load_dataset(tmp_path)


def test_a_test_split_without_labels_is_not_used(tmp_path):
    two_classes(tmp_path / "folder")
    put(tmp_path / "folder" / "test" / "0.png")
    with pytest.warns(UserWarning, match="folder: test has no class folders, and is not used"):
        assert load_dataset(tmp_path / "folder").variant == "folder (a fifth held out)"
    write_folder(tmp_path / "folder", splits=("val",), n=2)
    assert len(load_dataset(tmp_path / "folder").test) == 4, "the first that has labels"
    for labels in ([-1, -1, -1], pa.array([None] * 3, pa.int64())):
        root = tmp_path / str(type(labels))
        write_parquet(root / "train.parquet", pictures(10), [0, 1] * 5)
        write_parquet(root / "test.parquet", pictures(3), labels)
        with pytest.warns(UserWarning, match="test has no labels, and is not used"):
            assert len(load_dataset(root).test) == 2
        write_parquet(root / "validation.parquet", pictures(4), [1, 0] * 2)
        assert load_dataset(root).test.labels.tolist() == [1, 0, 1, 0]


def test_parquet_files_that_do_not_go_together(tmp_path):
    def both(name, **files):
        for file, (labels, names) in files.items():
            write_parquet(tmp_path / name / f"{file.replace('_', '-')}.parquet", pictures(len(labels)), labels, names)
        return tmp_path / name

    y = [0, 1] * 3
    cases = [
        (
            both("order", **{"train-00000-of-00002": (y, ["a", "b"]), "train-00001-of-00002": (y, ["b", "a"])}),
            "names the classes of .* otherwise",
        ),
        (both("doubled", **{"train": (y, None), "train-00000-of-00001": (y, None)}), "may hold the same rows, expected one set of parts"),
        (
            both("twice", **{"train-00000-of-00001": (y, None), "train-00000-of-00002": (y, None), "train-00001-of-00002": (y, None)}),
            "the same rows",
        ),
        (both("alike", **{"train": (y, None), "train-extra": (y, None)}), r"has train-extra.parquet, expected names such as train.parquet"),
        (both("none", data=(y, None)), "has Parquet files of data, expected train"),
    ]
    for path, message in cases:
        with pytest.raises(InputError, match=message):
            load_dataset(path)
    path = both("rest", train=(y, None), unsupervised=(y, None))
    with pytest.warns(UserWarning, match="rest: the Parquet files of unsupervised are not used"):
        load_dataset(path)
    rows = [{"bytes": encode(image), "path": None} for image in pictures(6)]
    pq.write_table(pa.table({"img": rows, "label": y, "labels": y}), tmp_path / "two.parquet")
    with pytest.raises(InputError, match=r"of which 'label' and 'labels' may be the labels, expected one named 'label'"):
        load_dataset(tmp_path / "two.parquet")
    pq.write_table(pa.table({"other": rows, "label": y}), tmp_path / "order" / "train-00001-of-00002.parquet")
    with pytest.raises(InputError, match=r"has columns \['other', 'label'\], expected those of train-00000-of-00002.parquet"):
        load_dataset(tmp_path / "order")
    write_parquet(tmp_path / "order" / "train-00001-of-00002.parquet", pictures(2), ["x", "y"], ["a", "b"])
    with pytest.raises(InputError, match="column 'label' has other types in"):
        load_dataset(tmp_path / "order")
    os.rename(both("upper", train=(y, None)) / "train.parquet", tmp_path / "upper" / "Train.PARQUET")
    assert len(load_dataset(tmp_path / "upper", hold_out=False).train) == 6


def test_archives(tmp_path):
    x, y = np.zeros((4, 2)), [0, 1, 0, 1]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y, x_val=x, y_val=y)
    with pytest.warns(UserWarning, match="a.npz: the arrays x_val, y_val are not used"):
        load_dataset(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", x_train=np.zeros((1 << 20, 8)), y_train=y, x_test=x, y_test=y)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(machine, "_main_memory", lambda: 1 << 20)
        with pytest.raises(InputError, match=r"b.npz needs about 67 MB of memory, and 1 MB are available: take a part of it"):
            load_dataset(tmp_path / "b.npz")


def test_what_is_called_parquet_and_is_no_file(tmp_path):
    for name, make, message in (("pipe", os.mkfifo, "a pipe"), ("folder", os.mkdir, "a folder")):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "train.parquet")
        with pytest.raises(InputError, match=f"train.parquet is {message}, expected a Parquet file"):
            load_dataset(tmp_path / name)


def test_a_row_group_that_memory_does_not_hold(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train.parquet", [b"\0" * (1 << 22), *pictures(3)], [0, 1] * 2)
    assert (tmp_path / "train.parquet").stat().st_size < 1 << 20
    monkeypatch.setattr(machine, "_main_memory", lambda: 1 << 20)
    with pytest.raises(InputError, match=r"row group 0 of .*train.parquet needs about 4.2 MB .*: write it in smaller row groups"):
        load_dataset(tmp_path)


def test_a_link_to_a_whole_disk_is_not_walked_through(tmp_path, monkeypatch):
    two_classes(tmp_path)
    monkeypatch.setattr(image_folders, "_ENOUGH", 3)
    for i in range(9):
        (tmp_path / "train" / "bird" / str(i)).mkdir()
        (tmp_path / "train" / "bird" / str(i) / "x.bin").write_bytes(b"")
    with pytest.raises(InputError, match="train has 3 files or more that are no images"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["pipe", "pipe.npz", "pipe.parquet", "zero.npz"])
def test_a_path_that_leads_to_no_file(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/zero") if "zero" in name else os.mkfifo(tmp_path / name)
    for ask in (load_dataset, lambda path: load.identity(str(path)), lambda path: RunSpec(str(path)).run_id):
        with pytest.raises(InputError, match=r"is a (pipe|device), expected a file or a folder"):
            ask(tmp_path / name)
