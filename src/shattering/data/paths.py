"""A path → a `Dataset`: image folders, Parquet files, .npz archives, and the named datasets that are such files."""

import os
import stat
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shattering.data import formats, image_folders, tables
from shattering.data.catalog import DATASETS, GIVEN, HUB, HubSource
from shattering.data.channels import ORDERS
from shattering.data.dataset import Dataset
from shattering.data.encoded import check_shards, kind_of
from shattering.data.image_folders import TESTS
from shattering.data.split import Split
from shattering.errors import InputError, not_installed, printable, reason, unknown

HoldOut = Callable[[Split, str], Dataset]  # makes a dataset of the only split there is, and its name


@dataclass(frozen=True)
class Reading:
    """Options for reading images; see `load_dataset`."""

    size: int | None = None
    skip_corrupt: bool = False
    channels: str | None = None
    target: str | None = None

    def no_arrays(self, what: str) -> None:
        """Raise InputError if an order of channels was given for data that are not arrays."""
        if self.channels:
            raise InputError(f"channels is {self.channels!r}, expected none for {what}, whose images are not arrays")

    def parquet(self, files: list[Path], label: str | None = None, like: Split | None = None) -> tuple[Split, str]:
        check_shards(files)
        return formats.read_parquet(files, label, like, self.size, self.skip_corrupt)

    def folder(self, path: Path, classes: list[str] | None = None) -> Split:
        return formats.read_image_folder(path, classes, self.size, self.skip_corrupt)


def existing(path: Path) -> Path:
    """Return the path itself, or the path of this name in SHATTERING_DATA. Raises InputError if there is neither a file nor a folder."""
    base = os.environ.get("SHATTERING_DATA")
    for found in (path, Path(base) / path) if base else (path,):
        try:
            if not found.exists():
                continue
            status = found.stat()
        except OSError as error:
            raise InputError(f"{printable(str(found))} cannot be looked at: {error.strerror}") from None
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise InputError(f"{printable(str(found))} is {kind_of(status)}, expected a file or a folder")
        return found
    raise unknown("dataset", str(path), DATASETS, "the path of a file or folder, or its name in SHATTERING_DATA")


def has_test_split(path: Path) -> bool:
    """Return whether a path that exists has a test split; looks at names of files alone."""
    if path.is_file():
        return path.suffix.lower() == ".npz"
    parts = image_folders.parquet_parts(path)
    if "train" in parts:
        return any(name in parts for name in TESTS)
    folders = image_folders.split_folders(path)
    return "train" in folders and any(name in folders and image_folders.has_class_folders(folders[name]) for name in TESTS)


def load_path(path: Path, hold_out: HoldOut, reading: Reading, from_arrays: Callable[..., Dataset]) -> Dataset:
    """Load the dataset at a path that exists. from_arrays: `dataset_from_arrays`. Raises InputError as `load_dataset` does."""
    if path.is_file() and path.suffix.lower() == ".npz":
        arrays = formats.read_npz(path)
        four = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        named: dict[str, Any] = {name: arrays.get(name) for name in ("classes", "label_values")}
        named |= {name: str(arrays[name]) for name in ("kind", "targets") if name in arrays}
        groups = [arrays[key] for key in ("groups_train", "groups_test") if key in arrays]
        if len(groups) == 1:
            raise InputError(f"{printable(str(path))} has groups of one split, expected groups_train and groups_test, or neither")
        named["groups"] = tuple(groups) or None
        return from_arrays(*four, **named, channels=_one_order(reading.channels, arrays, path), name=path.stem)
    where = printable(str(path))
    reading.no_arrays(where)
    if path.is_dir() and (table := image_folders.labelled_by_table(path)) is not None:
        return hold_out(formats.read_labelled_images(path, table, reading.target, reading.size, reading.skip_corrupt), path.name)
    if path.is_file():
        if path.suffix.lower() in (".csv", ".tsv"):
            raise tables.without_target(list(tables.read_table(path).columns), where)
        if path.suffix.lower() != ".parquet":
            raise InputError(f"{where} ends in {path.suffix!r}, expected a folder, an .npz or a .parquet file")
        return hold_out(reading.parquet([path])[0], path.stem)
    parts, folders = image_folders.parquet_parts(path), image_folders.split_folders(path)
    if "train" in parts and "train" in folders:
        raise InputError(f"{where} has both the folder train and {parts['train'][0].name}, expected one of them")
    if "train" in parts:
        return _load_parquet(path, parts, hold_out, reading)[0]
    if "train" in folders:
        return _load_folder(path, folders, hold_out, reading)
    if parts:
        raise InputError(f"{where} has Parquet files of {', '.join(parts)}, expected train*.parquet")
    splits = [folder.name for name, folder in folders.items() if image_folders.is_split_name(name)]
    if splits:
        raise InputError(f"{where} has the folder {printable(splits[0])}, which looks like a split of the data, expected train and test")
    if not folders:
        raise InputError(f"{where} has neither train/CLASS/ folders nor train*.parquet files")
    return hold_out(reading.folder(path), path.name)


def load_named(name: str, hold_out: HoldOut, reading: Reading) -> Dataset:
    """Load a named dataset from its files. Raises InputError if they cannot be loaded."""
    base = os.environ.get("SHATTERING_DATA")
    folder = Path(base) / name if base else None
    if name in GIVEN:
        if folder is None or not folder.exists():
            where = f"is not in SHATTERING_DATA ({base or 'not set'}), expected it there"
            raise InputError(f"dataset {name!r} {where} as an image folder or train*.parquet: {GIVEN[name]}")
        return load_path(folder, hold_out, reading, _no_arrays)
    source = HUB[name]
    tests = tuple(dict.fromkeys((source.test, *TESTS)))
    if folder is not None and folder.is_dir():
        folders, parts = image_folders.split_folders(folder), image_folders.parquet_parts(folder)
        if "train" in folders:
            return replace(_load_folder(folder, folders, hold_out, reading), name=name)
        if "train" in parts and any(test in parts for test in tests):
            return _named(name, *_load_parquet(folder, parts, hold_out, reading, source.label, tests))
    downloaded = _download(name, source)
    return _named(name, *_load_parquet(downloaded, image_folders.parquet_parts(downloaded), hold_out, reading, source.label, tests))


def _named(name: str, data: Dataset, encoding: str) -> Dataset:
    lossy = encoding == "JPEG" and name != "imagenet"  # re-encoded: the originals are not JPEG
    return replace(data, name=name, variant=f"{name} (JPEG)" if lossy else name)


def _no_arrays(*_, name: str, **__) -> Dataset:
    raise InputError(f"dataset {name!r} is an archive of arrays, expected images")


def _download(name: str, source: HubSource) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        where = os.environ.get("SHATTERING_DATA", "not set")
        what = f"dataset {name!r} is not in SHATTERING_DATA ({where}), and its download from the Hugging Face hub"
        raise not_installed(what, "huggingface-hub", "hub") from None
    try:
        folder = Path(snapshot_download(source.repository, repo_type="dataset", allow_patterns=f"{source.folder}/*.parquet"))
    except Exception as error:  # the hub's client raises many kinds; all mean that the files are not to be had
        raise InputError(
            f"dataset {name!r} is not in SHATTERING_DATA ({os.environ.get('SHATTERING_DATA', 'not set')}) "
            f"and cannot be downloaded from the Hugging Face hub: {reason(error)}"
        ) from None
    parts = image_folders.parquet_parts(folder / source.folder) if (folder / source.folder).is_dir() else {}
    if not ("train" in parts and source.test in parts):
        raise InputError(f"{source.repository} on the Hugging Face hub has no {source.folder}/train*.parquet and {source.test}*.parquet")
    return folder / source.folder


def _load_parquet(
    path: Path,
    parts: dict[str, list[Path]],
    hold_out: HoldOut,
    reading: Reading,
    label: str | None = None,
    tests: Sequence[str] = TESTS,
) -> tuple[Dataset, str]:
    """Return the dataset of Parquet files by split, and the encoding of its images. The test split is the first of `tests` with labels."""
    where = printable(str(path))
    rest = [name for name in parts if name not in ("train", *tests)]
    alike = next((name for name in rest if name.startswith(("train", "test", "val"))), None)
    if alike:
        raise InputError(
            f"{where} has {parts[alike][0].name}, expected names such as train.parquet, train-00000-of-00001.parquet or test.parquet"
        )
    if rest:
        warnings.warn(f"{where}: the Parquet files of {', '.join(rest)} are not used", stacklevel=2)
    train, encoding = reading.parquet(parts["train"], label)
    formats.check_no_empty_class(train, f"the train split of {path.name}")
    found = [name for name in tests if name in parts]
    test = next((name for name in found if formats.has_labels(parts[name], label, train)), None)
    if test is None:
        if found:
            warnings.warn(f"{where}: {found[0]} has no labels, and is not used", stacklevel=2)
        return hold_out(train, path.name), encoding
    return Dataset(train, reading.parquet(parts[test], label, train)[0], path.name), encoding


def _load_folder(path: Path, folders: dict[str, Path], hold_out: HoldOut, reading: Reading) -> Dataset:
    """Load folders by split. The test split is the first of `TESTS` that has labels: class folders."""
    where = printable(str(path))
    found = [folders[name] for name in TESTS if name in folders]
    test = next((folder for folder in found if image_folders.has_class_folders(folder)), None)
    rest = [folder.name for name, folder in folders.items() if name not in ("train", *TESTS)]
    split = next((name for name in rest if image_folders.is_split_name(name)), None)
    if split and test is None:
        raise InputError(f"{where} has the folder {printable(split)}, expected a test split to have the name test, validation or val")
    if rest:
        warnings.warn(f"{where}: the folder {printable(rest[0])} {'and others are' if rest[1:] else 'is'} not used", stacklevel=2)
    train = reading.folder(folders["train"])
    if test is None:
        if found:
            warnings.warn(f"{where}: {found[0].name} has no class folders, and is not used", stacklevel=2)
        return hold_out(train, path.name)
    return Dataset(train, reading.folder(test, list(train.classes)), path.name)


def _one_order(channels: str | None, arrays: dict[str, np.ndarray], path: Path) -> str | None:
    """Return the order of channels that is asked for, or that the archive says of its own."""
    said = str(arrays["channels"]) if "channels" in arrays else None
    if said is not None and (said not in ORDERS or said != (channels or said)):
        raise InputError(f"channels is {channels!r}, and {said!r} in {path}, expected 'first' or 'last', the same in both")
    return said or channels
