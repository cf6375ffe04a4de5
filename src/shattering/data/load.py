"""`load_dataset`: a name, a path or arrays → one `Dataset`."""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.data import foreign, formats, hub, image_folders, paths, tables
from shattering.data.arrays import Targets, dataset_from_arrays
from shattering.data.catalog import DATASETS, GIVEN
from shattering.data.channels import check_order
from shattering.data.dataset import Dataset
from shattering.data.kinds import Kind
from shattering.data.lazy import ImagesOnDisk
from shattering.data.numbers import check_no_other_frame
from shattering.data.paths import HoldOut, Reading, existing
from shattering.data.split import Split
from shattering.data.subsets import hold_out as held_out
from shattering.errors import InputError, a_type, printable, reason, shown
from shattering.identity.files import check_unchanged, files_digest
from shattering.parameters import Count, Natural, check_arguments
from shattering.system.progress import QUICK, Progress

DIGITS_TEST = 500  # of 1,797: scikit-learn gives no test split


@dataclass(frozen=True)
class Said:
    """Statements of the caller about inputs and labels; see `load_dataset`."""

    kind: Kind | None = None
    target: str | None = None
    targets: Targets | None = None
    groups: Any = None

    def check_nothing(self, source: Any) -> None:
        """Raise InputError if something is said of a source that says it itself."""
        for name, value in vars(self).items():
            if value is not None:
                what = f"the dataset {source!r}" if isinstance(source, (str, Path)) else a_type(source)
                remedy = "it is for (X, y), DataFrames and files of columns"
                raise InputError(f"{name} is {shown(value)}, expected none beside {what}: {remedy}")


def load_dataset(
    source,
    n_train: Count | None = None,
    n_test: Count | None = None,
    seed: Natural = 0,
    n_validation: Count | None = None,
    hold_out: bool = True,
    image_size: Count | None = None,
    skip_corrupt: bool = False,
    channels: str | None = None,
    *,
    kind: Kind | None = None,
    target: str | None = None,
    targets: Targets | None = None,
    groups: Any = None,
    progress: bool | None = None,
) -> Dataset:
    """Load a dataset whole, or class-balanced subsets of it.

    Named datasets are read from the folder in the environment variable SHATTERING_DATA if they are there
    (``NAME/train*.parquet``, or an image folder ``NAME``), else downloaded from the Hugging Face hub. Images of files and folders
    that would not fit into memory once they are decoded stay on disk, as `ImagesOnDisk`; what fits
    is said by `shattering.system.machine.available_memory`.

    Args:
        source: a name in `DATASETS`; a path, or a name in SHATTERING_DATA, of an image folder (``train/CLASS/…`` and ``test/…``,
            or without a test split ``CLASS/…``; or images beside one CSV file of their names and labels; in every format that
            Pillow reads, and in folders below), an .npz with x_train, y_train,
            x_test, y_test, or Parquet files (one file, or a folder with ``train*.parquet`` and ``test*.parquet``) with an image and
            a label column; a CSV or Parquet file of columns, or a DataFrame, beside `target`; a tuple (X, y) or
            (x_train, y_train, x_test, y_test) of arrays, tensors, DataFrames, sparse matrices, texts or objects, see
            `dataset_from_arrays`; a torch dataset of (image, label) pairs, or a pair of them (train, test); a Hugging Face
            `Dataset` or `DatasetDict`; or a Dataset.
        n_train: size of a class-balanced subset of the train split, drawn by `seed`; None: all of it.
        n_test: the same for the test split.
        seed: also draws the held-out fifth where a source has no test split.
        n_validation: size of a class-balanced validation split, held out of the train split; None: there is none.
        hold_out: hold out a fifth of a source without a test split; if False, its test split is its train split, which
            is for cross-validation within the train split, or for what is to be memorized alone.
        image_size: bring encoded images of any sizes to squares of so many pixels (as RGB), see `decode_square`; None: they
            have one size, and keep it.
        skip_corrupt: leave out the encoded images that cannot be decoded, and count them in `Dataset.skipped`, instead of raising an error;
            this decodes every image of the subsets once. Images that would be changed by reading them are an error all the same.
        channels: "first" or "last", the order of the axes in arrays of images (of four axes; of an .npz and of a torch dataset, too);
            None: the channels are the axis, the second or the last, that has length 1, 3 or 4; if both have, or neither has, it is the
            order that gives square images; where that does not tell, it is an error.
        kind: "sequence", "tokens" or "opaque" for inputs that are no images or tables, see `dataset_from_arrays`.
        target: name of the column of labels, or of targets, of a DataFrame or a file of columns; all other columns are inputs.
        targets: "classes" or "numbers" (a regression). None: numbers where the labels have fractions.
        groups: (n,) values that are equal for examples that belong together, such as those of one patient, or the name of a column;
            for four arrays a pair (of the train split, of the test split). A test split is then held out of whole groups. None: the
            examples are independent of each other.
        progress: see `shattering.system.progress`; shown after a second, while images are decoded.

    Raises:
        InputError: for anything unknown, unreadable or inconsistent: labels that are missing or of two kinds, pictures that 8-bit grey
            or RGB cannot hold (16 bits, transparency, several frames), files in class folders that are no images.

    Warns:
        UserWarning: for what is left out (notes beside images, splits and arrays that are not used) or converted (CMYK).

    Example:
        >>> data = load_dataset("digits", n_train=100, n_test=50)
        >>> len(data.train), data.train.input_shape
        (100, (1, 8, 8))
    """
    names = ("n_train", "n_test", "seed", "n_validation", "hold_out", "image_size", "skip_corrupt")
    if hasattr(n_train, "__len__") and not isinstance(source, (str, Path)):
        raise InputError(f"n_train is {a_type(n_train)}, expected a number of examples; inputs and labels go together, as (X, y)")
    check_arguments(load_dataset, locals(), *names, "progress")
    if isinstance(source, str) and not source:
        raise InputError("dataset is '', expected a name or a path")
    check_order(channels)
    if isinstance(target, (list, dict, set, np.ndarray)):
        raise InputError(f"target is {shown(target)}, expected the name of one column")
    said, name = Said(kind, target, targets, groups), "arrays"
    if not hub.is_hub(source):
        check_no_other_frame(source, "data")
    if isinstance(source, pd.DataFrame) or (target is not None and isinstance(source, (str, Path)) and not _is_folder_of_images(source)):
        name = "DataFrame" if isinstance(source, pd.DataFrame) else Path(source).stem
        source, of_rows = _by_columns(source, said)
        said, target = replace(said, target=None, groups=of_rows), None
    elif isinstance(source, (str, Path)):
        said = replace(said, target=None)
    reading = Reading(image_size, skip_corrupt, channels, target)
    with Progress("data", 1, progress, after=QUICK):
        dataset = _load_any(source, partial(_hold_out, seed=seed if hold_out else None), reading, said, name, (n_train, n_test))
        return _limited(dataset, reading, n_train, n_test, seed, n_validation)


def _limited(dataset: Dataset, reading: Reading, n_train: int | None, n_test: int | None, seed: int, n_validation: int | None) -> Dataset:
    """Check the images and the classes of a dataset, and return its subsets: in memory if they fit."""
    image_size, skip_corrupt = reading.size, reading.skip_corrupt
    if image_size and not isinstance(dataset.train.inputs, ImagesOnDisk):
        raise InputError(f"image_size is {image_size}, expected none for {dataset.name}, whose images are not encoded files")
    where = f"the train split of {dataset.name}"
    if dataset.train.is_regression:
        formats.check_targets_differ(dataset.train, where)
    else:
        formats.check_no_empty_class(dataset.train, where)
    dataset = dataset.limit(n_train, n_test, seed, n_validation)
    return _in_memory_if_it_fits(_without_unreadable(dataset) if skip_corrupt else dataset)


def _without_unreadable(dataset: Dataset) -> Dataset:
    """Leave out the images on disk that cannot be decoded, and count them."""
    kept: dict[str, Split] = {}
    skipped: dict[str, int] = {}
    for name in ("train", "test", "validation"):
        split = getattr(dataset, name)
        if split is not None and isinstance(split.inputs, ImagesOnDisk):
            bad = split.inputs.unreadable()
            good, labels = np.setdiff1d(np.arange(len(split)), bad), split.labels.numpy()
            lost = np.setdiff1d(labels, labels[good])
            if len(lost) and name == "train":
                first = split.inputs.describe(int((labels == lost[0]).argmax()))
                raise InputError(f"none of the train images of class {split.classes[lost[0]]!r} can be decoded (first: {first})")
            skipped[name] = len(bad)
            kept[name] = split.subset(torch.from_numpy(good)) if bad else split
    return replace(dataset, **kept, skipped=skipped)


def _in_memory_if_it_fits(dataset: Dataset) -> Dataset:
    """Decode the images of all splits if all of them fit into memory."""
    splits = {name: split for name in ("train", "test", "validation") if (split := getattr(dataset, name)) is not None}
    on_disk = {name: split for name, split in splits.items() if isinstance(split.inputs, ImagesOnDisk)}
    if not formats.fits_into_memory(sum(split.inputs.nbytes for split in on_disk.values())):
        return dataset
    return replace(dataset, **{name: replace(split, inputs=split.inputs.load()) for name, split in on_disk.items()})  # type: ignore[arg-type]  # those on disk


def takes_targets(source: Any, target: str | None) -> bool:
    """Return whether `targets` may be said of a source, which does not say itself whether its labels are numbers. target: as it is said."""
    if isinstance(source, (str, Path)):
        return target is not None
    parts = source if isinstance(source, (tuple, list)) else [source]
    return not any(isinstance(part, Dataset) or foreign.is_torch(part) for part in parts)


def _is_folder_of_images(source: str | Path) -> bool:
    """Return whether a source is a folder of images whose labels are in a table beside them."""
    path = Path(source) if source in DATASETS else existing(Path(source))
    return path.is_dir() and image_folders.labelled_by_table(path) is not None


def _by_columns(source: Any, said: Said) -> tuple[tuple[Any, Any], Any]:
    """Return (X, y) and groups of a DataFrame, or of a file of columns."""
    where, frame, path = "the DataFrame", source, None
    if not isinstance(source, pd.DataFrame):
        if source in DATASETS:
            raise InputError(f"target is {said.target!r}, expected none beside the dataset {source!r}, which has its labels")
        path = existing(Path(source))
        where = printable(str(path))
        if path.suffix.lower() not in tables.SUFFIXES:
            raise InputError(f"target is {said.target!r} for {where}, expected a file that ends in {', '.join(tables.SUFFIXES)}")
        frame = tables.read_table(path)
    if said.target is None:
        raise tables.without_target(list(frame.columns), "the DataFrame", ", or (X, y)")
    X, y, groups = tables.columns_of(frame, said.target, said.groups, where)
    if path is not None and path.suffix.lower() != ".parquet":
        if said.targets != "numbers":
            tables.check_written_alike(path, y, ", or targets='numbers' (--targets numbers) for a regression")
        if isinstance(said.groups, str):
            tables.check_written_alike(path, groups)
    return (X, y), groups


def _load_any(source: Any, hold_out: HoldOut, reading: Reading, said: Said, name: str, sizes: tuple[int | None, int | None]) -> Dataset:
    if foreign.is_torch(source) or (isinstance(source, (tuple, list)) and all(map(foreign.is_torch, source))):
        replace(said, kind=None).check_nothing(source)
    elif not (isinstance(source, (tuple, list)) and len(source) in (2, 4)) and not hub.is_hub(source):
        said.check_nothing(source)
    if said.target is not None and isinstance(source, (tuple, list)):
        remedy = "y has the labels; take the column out of X, or give the DataFrame alone"
        raise InputError(f"target is {shown(said.target)}, expected none beside (X, y): {remedy}")
    if isinstance(source, Dataset):
        reading.no_arrays(source.name)
        size = getattr(source.train.inputs, "size", None)
        if reading.size and isinstance(source.train.inputs, ImagesOnDisk) and size != reading.size:
            raise InputError(f"image_size is {reading.size}, expected {size or 'none'}, that of the dataset which is given")
        return source
    if isinstance(source, (str, Path)):
        return _load_text(str(source), hold_out, reading)
    if hub.is_hub(source):
        reading.no_arrays("a Hugging Face dataset")
        return hub.from_hub(source, hold_out, _of_hub(reading, said, sizes))
    given = source if isinstance(source, (tuple, list)) and len(source) in (2, 4) else ()
    for part in (part for part in given if foreign.instead(part)):
        raise InputError(f"dataset has {a_type(part)} in it, expected arrays or torch datasets{foreign.instead(part)}")
    if isinstance(source, (tuple, list)) and len(source) == 4:
        return dataset_from_arrays(*source, channels=reading.channels, kind=said.kind, targets=said.targets, groups=said.groups)
    if isinstance(source, (tuple, list)) and len(source) == 2:
        if all(foreign.is_torch(part) for part in source):
            return _from_torch(source[0], source[1], reading, said.kind)
        both = None if said.groups is None else (said.groups, said.groups)
        both_are_one = dataset_from_arrays(
            *source, *source, channels=reading.channels, kind=said.kind, targets=said.targets, groups=both, name=name
        )
        return hold_out(both_are_one.train, name)
    if foreign.is_torch(source):
        return hold_out(_from_torch(source, source, reading, said.kind).train, type(source).__name__)
    raise InputError(
        f"dataset is {a_type(source)}, expected a name, a path, (X, y), (x_train, y_train, x_test, y_test), "
        f"a Dataset, or a torch or Hugging Face dataset{foreign.instead(source)}"
    )


def _of_hub(reading: Reading, said: Said, sizes: tuple[int | None, int | None]) -> hub.HubReading:
    if said.kind is not None:
        raise InputError(f"kind is {shown(said.kind)}, expected none beside a Hugging Face dataset, whose columns say it")
    if said.groups is not None and not isinstance(said.groups, str):
        raise InputError(f"groups is {shown(said.groups)}, expected the name of a column of the Hugging Face dataset")
    numbers = None if said.targets is None else said.targets == "numbers"
    return hub.HubReading(reading.size, reading.skip_corrupt, said.target, numbers, said.groups, *sizes)


def _load_text(source: str, hold_out: HoldOut, reading: Reading) -> Dataset:
    if source not in DATASETS:
        return paths.load_path(existing(Path(source)), hold_out, reading, dataset_from_arrays)
    reading.no_arrays(source)
    return _digits() if source == "digits" else paths.load_named(source, hold_out, reading)


def _from_torch(train: object, test: object, reading: Reading, kind: Kind | None = None) -> Dataset:
    pairs = {id(part): foreign.read_torch(part, reading.channels, kind) for part in (train, test)}  # once, if they are one
    (x_train, y_train), (x_test, y_test) = pairs[id(train)], pairs[id(test)]
    channels = "first" if getattr(x_train, "ndim", 1) == 4 and kind is None else None
    return dataset_from_arrays(x_train, y_train, x_test, y_test, channels=channels, kind=kind, name=type(train).__name__)


def identity(source: str) -> str:
    """Return what identifies a dataset in a run: its name, or the digest of its files, wherever they lie.

    Raises InputError for what is neither a known name nor a path.
    """
    if source in DATASETS:
        return source
    path = existing(Path(source))
    try:
        return f"sha256:{files_digest(path)}"
    except OSError as error:
        raise InputError(f"{printable(error.filename or str(path))} cannot be read: {error.strerror or reason(error)}") from None


def check_identity(source: str) -> None:
    """Raise InputError if a dataset that is files has changed since its identity was asked for in this `read_once`."""
    if source not in DATASETS:
        check_unchanged(existing(Path(source)))


def has_test_split(source: str) -> bool:
    """Return whether a dataset's name or path has a test split of its own, by the names of files alone.

    If not, `load_dataset` holds one out.
    """
    if source in DATASETS:
        return source not in GIVEN
    return paths.has_test_split(existing(Path(source)))


@cache  # reading the file of text takes as long as a small run
def _digit_pixels() -> tuple[np.ndarray, np.ndarray]:
    """Return pixels, (n, 64) of 0…16, and labels, (n,), which nobody may change."""
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    return pixels, target  # type: ignore[return-value]  # arrays, as asked for


def _digits() -> Dataset:
    pixels, target = _digit_pixels()
    images = torch.from_numpy((pixels * (255 / 16)).round().astype(np.uint8)).view(-1, 1, 8, 8)
    whole = Split(images, torch.from_numpy(target.astype(np.int64)), tuple(str(k) for k in range(10)))
    order = torch.from_numpy(seeds.generator(0, "data/digits").permutation(len(whole)))
    test, train = order[:DIGITS_TEST].sort()[0], order[DIGITS_TEST:].sort()[0]
    return Dataset(whole.subset(train), whole.subset(test), "digits")


def _hold_out(split: Split, name: str, seed: int | None) -> Dataset:
    """Return a dataset whose test split is a fifth of the only split there is, see `subsets.hold_out`; seed None: that split itself."""
    if seed is None:
        return Dataset(split, split, name)
    if len(split) < 5:
        raise InputError(f"{name} has {len(split)} examples and no test split, expected at least 5 to hold out a fifth")
    return Dataset(*held_out(split, len(split) // 5, seed), name, f"{name} (a fifth held out)")
