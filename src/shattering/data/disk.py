"""Datasets on disk: Parquet files, image folders, .npz archives. Each reader gives (images, labels, classes)."""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shattering.data import layout
from shattering.data.dataset import Split
from shattering.data.encoded import Encoded, ImageFiles, ParquetRows, open_parquet
from shattering.data.on_disk import LARGE, ImagesOnDisk
from shattering.data.targets import check_names, check_names_differ, plain_labels
from shattering.errors import InputError, printable, reason
from shattering.machine import available_memory, require_memory

LABELS = ("label", "labels", "class", "target", "y")  # names of a column of labels


def read_parquet(
    files: list[Path],
    label_column: str | None = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    skip_corrupt: bool = False,
) -> tuple[Split, str]:
    """Parquet files with an image and a label column, as the Hugging Face hub serves them.

    label_column: its name; None: the only one of a usual name. classes: those of the train split, for a test split. size: of the
    squares that images are brought to. skip_corrupt: some images may be unreadable. With either, or if the images would not fit into
    memory, they are left on disk.

    Returns the split and the encoding of its images ("JPEG", "PNG", …). Raises InputError for files that
    cannot be read or do not go together, columns that cannot be found, and labels with holes.
    """
    schema = _common_schema(files)
    image_column, label_column = _columns(schema, files[0], label_column)
    kind = schema.field(image_column).type
    leaf = f"{image_column}.bytes" if pa.types.is_struct(kind) else image_column
    source = ParquetRows.of(files, leaf)
    if len(source) == 0:
        raise InputError(f"{files[0]} has no rows, expected at least one example")
    names = _class_names(schema, label_column) or classes
    labels, found = encode_labels(_read_column(files, label_column), names, f"column {label_column!r} of {files[0]}")
    first = (source.read_group(0, np.array([0]))[0] or b"")[:4]
    encoding = "JPEG" if first[:2] == b"\xff\xd8" else "PNG" if first == b"\x89PNG" else "other"
    return Split(images_of(source, size, skip_corrupt), labels, found), encoding


def has_labels(files: list[Path], label_column: str | None = None) -> bool:
    """Whether Parquet files have labels: some that are neither null nor -1."""
    names = open_parquet(files[0]).schema_arrow.names
    if not any(name in names for name in ([label_column] if label_column else LABELS)):
        return False
    column = _read_column(files, _label_column(names, files[0], label_column))
    return bool((column.notna() & (column != -1)).any())


def _common_schema(files: list[Path]) -> pa.Schema:
    """The schema of the first file. Raises InputError if another has other columns, or names its classes otherwise."""
    schema = open_parquet(files[0]).schema_arrow
    for file in files[1:]:
        other = open_parquet(file).schema_arrow
        if other.names != schema.names:
            raise InputError(f"{file} has columns {other.names}, expected those of {files[0].name}, {schema.names}")
        for name in schema.names:
            if _class_names(other, name) != _class_names(schema, name):
                raise InputError(f"{file} names the classes of column {name!r} otherwise than {files[0].name}, expected the same names")
    return schema


def _read_column(files: list[Path], column: str) -> pd.Series:
    """Raises InputError for a file that cannot be read, and for files whose columns have types that do not go together."""
    parts = []
    for file in files:
        try:
            parts.append(pq.read_table(file, columns=[column]))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{printable(str(file))} is not a readable Parquet file: {reason(error)}") from None
    try:
        return pa.concat_tables(parts, promote_options="permissive")[column].to_pandas()
    except pa.ArrowException as error:
        raise InputError(f"column {column!r} has other types in {files[0]} than in the files beside it: {reason(error)}") from None


def fits_into_memory(nbytes: int) -> bool:
    """Whether decoded images of so many bytes may live in memory: at most `LARGE`, and, as float32 beside it, half of what is available."""
    return nbytes <= LARGE and 5 * nbytes <= available_memory() / 2


def _columns(schema: pa.Schema, file: Path, label_column: str | None) -> tuple[str, str]:
    def is_image(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return any(is_kind(kind) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary))

    found = f"found columns {schema.names}"
    image = [field.name for field in schema if is_image(field.type) and field.name not in (label_column, *LABELS)]
    if len(image) != 1:
        raise InputError(f"{file}: {found}, expected exactly one with encoded images")
    return image[0], _label_column(schema.names, file, label_column)


def _label_column(names: list[str], file: Path, wanted: str | None) -> str:
    found = [name for name in ([wanted] if wanted else LABELS) if name in names]
    if len(found) != 1:
        several = f"of which {' and '.join(map(repr, found))} may be the labels, " if found else ""
        raise InputError(f"{file}: found columns {names}, {several}expected one named {wanted or 'label'!r}")
    return found[0]


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names in the hub's schema metadata, if there are any."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def encode_labels(given: Any, names: Sequence[str] | None, where: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Labels as 0…k-1 with class names. Integers keep their value; other values become their place among the names.

    given: labels that `plain_labels` takes. names: of the classes, if they are known; else integers are named by themselves, other values
    sorted. Raises InputError for labels that are missing, fractional, out of range, unknown, or of fewer than two classes.
    """
    values = plain_labels(given, where)
    if values.dtype.kind in "ifb":
        labels = values.astype(np.int64)
        classes = names or [str(k) for k in range(int(labels.max()) + 1 if labels.max() < 10**6 else 0)]
        if labels.min() == -1 and labels.max() >= 0:
            marked = labels == -1
            found = f"{where} has {marked.sum()} labels of -1 (first: row {marked.argmax()}), the mark of a missing label"
            raise InputError(f"{found}, expected 0…{max(len(classes) - 1, 1)}")
        if labels.min() < 0 or labels.max() >= len(classes):
            raise InputError(f"{where} ranges over {labels.min()}…{labels.max()}, expected 0…{max(len(classes) - 1, 1)}")
    else:
        found, inverse = np.unique(values, return_inverse=True)
        classes = names or [str(name) for name in found]
        check_names_differ(classes, where)
        strangers = sorted(set(found) - set(classes))
        if strangers:
            raise InputError(f"{where} has class {str(strangers[0])!r}, expected one of {', '.join(classes[:10])}")
        labels = np.array([list(classes).index(name) for name in found])[inverse]
    if len(classes) < 2:
        raise InputError(f"{where} has {len(classes)} class, expected at least two")
    check_names(classes, where)
    return torch.from_numpy(labels.astype(np.int64)), tuple(classes)


def check_no_empty_class(split: Split, where: str) -> None:
    """Raise InputError if some class has no example."""
    counts = torch.bincount(split.labels, minlength=split.n_classes)
    empty = [split.classes[int(k)] for k in torch.nonzero(counts == 0).flatten()[:5]]
    if empty:
        none = int((counts == 0).sum())
        raise InputError(f"{where} has no example of {none} of {split.n_classes} classes (such as {empty[0]!r}), expected some of each")


def read_image_folder(folder: Path, classes: list[str] | None = None, size: int | None = None, skip_corrupt: bool = False) -> Split:
    """FOLDER/CLASS/… images of any format that Pillow reads: one class a sub-folder, in alphabetical order.

    classes: the classes of the train split, for a test split. size, skip_corrupt: as for `read_parquet`. Raises InputError for none,
    empty or unknown ones, and for files that are no images.
    """
    where = printable(str(folder))
    known = layout.annotated(folder) if classes else None
    found = sorted(set(known.values())) if known else layout.class_folders(folder)
    check_names(found, where)
    strangers = sorted(set(found) - set(classes or found))
    if strangers:
        raise InputError(f"{where} has class {strangers[0]!r}, which the train split lacks, expected {', '.join((classes or [])[:10])}")
    classes = classes or found
    if known:
        members = [sorted(name for name, of in known.items() if of == label) for label in classes]
    else:
        by_class = dict(zip(found, layout.find_images(folder, found), strict=True))
        members = [by_class.get(label, []) for label in classes]
    names = [os.fsencode(name) for files in members for name in files]
    if not names:
        raise InputError(f"{where} has no images, expected {where}/CLASS/*.png, *.jpg or the like")
    if len(classes) < 2:
        raise InputError(f"{where} has {len(classes)} class folder, expected at least two")
    labels = torch.repeat_interleave(torch.tensor([len(files) for files in members]))
    return Split(images_of(ImageFiles(folder, np.array(names)), size, skip_corrupt), labels, tuple(classes))


def images_of(source: Encoded, size: int | None, skip_corrupt: bool) -> torch.Tensor:
    """Images on disk, or in memory if all are wanted as they are, and fit."""
    images = ImagesOnDisk(source, size, skip_corrupt=skip_corrupt)
    stay = size or skip_corrupt or not fits_into_memory(images.nbytes)
    return images if stay else images.load()  # type: ignore[return-value]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz with x_train, y_train, x_test, y_test (and perhaps classes, label_values and channels); no pickles.

    Raises InputError for a file that is none such, or whose arrays would not fit into memory.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            needed = sum(member.file_size for member in archive.zip.infolist())
            require_memory(needed, f"{path}", "take a part of it")
            arrays = {key: archive[key] for key in archive.files}
    except InputError:
        raise
    except (Exception, MemoryError) as error:  # zipfile, zlib and NumPy raise many kinds
        raise InputError(f"{printable(str(path))} is not a readable .npz of plain arrays: {reason(error)}") from None
    wanted = ("x_train", "y_train", "x_test", "y_test")
    if any(key not in arrays for key in wanted):
        raise InputError(f"{printable(str(path))} has arrays {sorted(arrays)}, expected {', '.join(wanted)}")
    rest = sorted(set(arrays) - {*wanted, "classes", "label_values", "channels"})
    if rest:
        warnings.warn(f"{path}: the arrays {', '.join(rest)} are not used", stacklevel=2)
    return arrays
