"""Datasets on disk: Parquet files, image folders, .npz archives. Each reader gives (images, labels, classes)."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shattering.data.dataset import Split
from shattering.data.decode import cached, decode_images, files_key
from shattering.data.encoded import IMAGE_SUFFIXES, ImageFiles, ParquetRows, open_parquet
from shattering.data.on_disk import LARGE, ImagesOnDisk
from shattering.data.targets import check_class_names, plain_labels
from shattering.errors import InputError, reason
from shattering.machine import available_memory

_SMALL = 256 << 20  # encoded bytes that are decoded into memory without asking how much they will take


def read_parquet(
    files: list[Path], label_column: str | None = None, classes: Sequence[str] | None = None, size: int | None = None, lazily: bool = False
) -> tuple[Split, str]:
    """Parquet files with an image and a label column, as the Hugging Face hub serves them.

    label_column: its name; None: the first of the usual ones. classes: those of the train split, for a test split. size: of the
    squares that images are brought to. lazily: leave the images on disk; so they are, too, if there is a size, or if they are large.

    Returns the split and the encoding of its images ("JPEG", "PNG", …). Raises InputError for files that
    cannot be read, columns that cannot be found, and labels with holes.
    """
    schema = open_parquet(files[0]).schema_arrow
    image_column, label_column = _columns(schema, files[0], label_column)
    kind = schema.field(image_column).type
    leaf = f"{image_column}.bytes" if pa.types.is_struct(kind) else image_column
    source = ParquetRows.of(files, leaf)
    if len(source) == 0:
        raise InputError(f"{files[0]} has no rows, expected at least one example")
    table = pa.concat_tables([_read_columns(file, [label_column]) for file in files], promote_options="permissive")
    names = _class_names(schema, label_column) or classes
    labels, found = encode_labels(table[label_column].to_pandas(), names, f"column {label_column!r} of {files[0]}")
    first = (source.read_group(0, np.array([0]))[0] or b"")[:4]
    encoding = "JPEG" if first[:2] == b"\xff\xd8" else "PNG" if first == b"\x89PNG" else "other"
    on_disk = ImagesOnDisk(source, size)
    if lazily or size or is_large(on_disk, sum(file.stat().st_size for file in files)):
        return Split(on_disk, labels, found), encoding  # type: ignore[arg-type]
    return Split(cached(files_key(files), lambda: _decode_column(files, image_column)), labels, found), encoding


def _decode_column(files: list[Path], image_column: str) -> torch.Tensor:
    column = pa.chunked_array([chunk for file in files for chunk in _read_columns(file, [image_column])[image_column].chunks])
    column = pa.compute.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column  # type: ignore[attr-defined]
    if column.null_count:
        raise InputError(f"column {image_column!r} of {files[0]} has {column.null_count} rows without image bytes, expected none")
    column = column.combine_chunks()
    return decode_images(lambda i: column[i].as_py(), len(column), lambda i: f"row {i} of column {image_column!r} of {files[0]}")


def _read_columns(file: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(file, columns=columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(f"{file} is not a readable Parquet file: {reason(error)}") from None


def is_large(images: ImagesOnDisk, encoded: int) -> bool:
    """Whether images that take so many bytes encoded are not to be decoded into memory."""
    return encoded > _SMALL and not fits_into_memory(images.nbytes)


def fits_into_memory(nbytes: int) -> bool:
    """Whether decoded images of so many bytes may live in memory: at most `LARGE`, and, as float32 beside it, half of what is available."""
    return nbytes <= LARGE and 5 * nbytes <= available_memory() / 2


def _columns(schema: pa.Schema, file: Path, label_column: str | None) -> tuple[str, str]:
    def is_image(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = f"found columns {schema.names}"
    image = [field.name for field in schema if is_image(field.type)]
    if len(image) != 1:
        raise InputError(f"{file}: {found}, expected exactly one with encoded images")
    if label_column is None:
        candidates = [name for name in ("label", "labels", "class", "target", "y") if name in schema.names]
        if not candidates:
            raise InputError(f"{file}: {found}, expected one named 'label'")
        label_column = candidates[0]
    elif label_column not in schema.names:
        raise InputError(f"{file}: {found}, expected one named {label_column!r}")
    return image[0], label_column


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
        strangers = sorted(set(found) - set(classes))
        if strangers:
            raise InputError(f"{where} has class {str(strangers[0])!r}, expected one of {', '.join(classes[:10])}")
        labels = np.array([list(classes).index(name) for name in found])[inverse]
    if len(classes) < 2:
        raise InputError(f"{where} has {len(classes)} class, expected at least two")
    check_class_names(classes, where)
    return torch.from_numpy(labels.astype(np.int64)), tuple(classes)


def check_no_empty_class(split: Split, where: str) -> None:
    """Raise InputError if some class has no example."""
    counts = torch.bincount(split.labels, minlength=split.n_classes)
    empty = [split.classes[int(k)] for k in torch.nonzero(counts == 0).flatten()[:5]]
    if empty:
        none = int((counts == 0).sum())
        raise InputError(f"{where} has no example of {none} of {split.n_classes} classes (such as {empty[0]!r}), expected some of each")


def read_image_folder(folder: Path, classes: list[str] | None = None, size: int | None = None, lazily: bool = False) -> Split:
    """FOLDER/CLASS/*.png|jpg: one class a sub-folder, in alphabetical order.

    classes: the classes of the train split, for a test split. size, lazily: as for `read_parquet`. Raises InputError for none, empty
    or unknown ones.
    """
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    strangers = sorted(set(found) - set(classes or found))
    if strangers:
        raise InputError(f"{folder} has class {strangers[0]!r}, which the train split lacks, expected {', '.join((classes or [])[:10])}")
    classes = classes or found
    members = [_image_names(folder / name) if name in found else [] for name in classes]
    names = [os.path.join(name, file) for name, files in zip(classes, members, strict=True) for file in files]
    if not names:
        raise InputError(f"{folder} has no images, expected {folder}/CLASS/*.png or *.jpg")
    if len(classes) < 2:
        raise InputError(f"{folder} has {len(classes)} class folder, expected at least two")
    labels = torch.repeat_interleave(torch.tensor([len(files) for files in members]))
    source = ImageFiles(folder, np.array([os.fsencode(name) for name in names]))
    on_disk = ImagesOnDisk(source, size)
    if lazily or size or is_large(on_disk, source.size_of(on_disk.rows)):
        return Split(on_disk, labels, tuple(classes))  # type: ignore[arg-type]
    files = [folder / name for name in names]
    images = cached(files_key(files), lambda: decode_images(lambda i: files[i].read_bytes(), len(files), lambda i: str(files[i])))
    return Split(images, labels, tuple(classes))


def _image_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(IMAGE_SUFFIXES))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz with x_train, y_train, x_test, y_test (and optionally classes); no pickles."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (BadZipFile, ValueError, EOFError, OSError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a readable .npz of plain arrays: {reason(error)}") from None
    missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in arrays]
    if missing:
        raise InputError(f"{path} has arrays {sorted(arrays)}, expected x_train, y_train, x_test, y_test")
    return arrays
