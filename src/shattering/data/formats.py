"""Read datasets on disk: Parquet files, image folders, .npz archives. A reader returns a `Split`, or what one is made of."""

import json
import os
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shattering.data import image_folders
from shattering.data.encoded import Encoded, ImageFiles, ParquetRows, open_parquet
from shattering.data.labels import check_are_classes, codes_of, names_of
from shattering.data.lazy import LARGE, ImagesOnDisk
from shattering.data.split import Split
from shattering.data.tables import labels_of, read_texts_by_name, without_target
from shattering.data.targets import check_names, kind_of, plain_labels
from shattering.errors import InputError, counted, printable, reason
from shattering.system.machine import available_memory, require_memory

_NPZ_ALSO = ("classes", "label_values", "channels", "kind", "targets", "groups_train", "groups_test")
LABELS = ("label", "labels", "class", "target", "y")  # names of a column of labels


def read_parquet(
    files: list[Path],
    label_column: str | None = None,
    like: Split | None = None,
    size: int | None = None,
    skip_corrupt: bool = False,
) -> tuple[Split, str]:
    """Read Parquet files with an image and a label column, as the Hugging Face hub serves them.

    label_column: its name; None: the only one of a usual name. like: the train split, for a test split. size: of the
    squares that images are brought to. skip_corrupt: some images may be unreadable. With either, or if the images would not fit into
    memory, they are left on disk.

    Returns the split and the encoding of its images ("JPEG", "PNG", …). Raises InputError for files that
    cannot be read or do not go together, columns that cannot be found, and missing labels.
    """
    schema = _common_schema(files)
    image_column, label_column = _columns(schema, files[0], label_column)
    kind = schema.field(image_column).type
    leaf = f"{image_column}.bytes" if pa.types.is_struct(kind) else image_column
    source = ParquetRows.of(files, leaf)
    if len(source) == 0:
        raise InputError(f"{files[0]} has no rows, expected at least one example")
    where = printable(f"column {label_column!r} of {files[0]}")
    named = classes_of(_read_column(files, label_column), where, _class_names(schema, label_column), like)
    first = (source.read_group(0, np.array([0]))[0] or b"")[:4]
    encoding = "JPEG" if first[:2] == b"\xff\xd8" else "PNG" if first == b"\x89PNG" else "other"
    return Split(images_of(source, size, skip_corrupt), **named), encoding


def has_labels(files: list[Path], label_column: str | None, like: Split) -> bool:
    """Return whether Parquet files of a test split have labels; see `are_labels`. like: the train split."""
    names = open_parquet(files[0]).schema_arrow.names
    if not any(name in names for name in ([label_column] if label_column else LABELS)):
        return False
    return are_labels(_read_column(files, _label_column(names, files[0], label_column)), like)


def are_labels(column: pd.Series, like: Split) -> bool:
    """Return whether a test split has labels: some that are neither missing nor -1.

    -1 marks missing labels unless the train split (like) has it.
    """
    marks = column.eq(-1) if -1 not in like.label_values.tolist() else False
    return bool((column.notna() & ~pd.Series(marks, column.index)).any())


def _common_schema(files: list[Path]) -> pa.Schema:
    """Return the schema of the first file. Raises InputError if another has other columns, or names its classes otherwise."""
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
    """Return whether decoded images of so many bytes may live in memory.

    They may take at most `LARGE`, and, with their float32 copy, half of what is available.
    """
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
    """Return the names in the hub's schema metadata, if there are any."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def classes_of(given: Any, where: str, names: Sequence[str] | None, like: Split | None) -> dict[str, Any]:
    """Return the arguments of a `Split` that say its labels and classes, from labels as a file or a column holds them.

    Args:
        given: labels that `plain_labels` takes.
        where: what they are called in messages.
        names: of the classes 0…k-1, if they are known.
        like: the train split, for a test split.

    Raises:
        InputError: for labels that are missing or of two kinds, or that are none of the train split's or of those that have names.
    """
    labels = plain_labels(given, where)
    if like is not None:
        one, two = kind_of(labels), kind_of(like.label_values)
        if one != two:
            raise InputError(f"{where} has {one} for labels and the train split {two}, expected labels of one kind")
        if names and tuple(names) != like.classes:
            expected = ", ".join(like.classes[:10])
            raise InputError(f"{where} names its classes {', '.join(names[:10])}, expected those of the train split, {expected}")
        values, found = like.label_values, like.classes
    elif names and kind_of(labels) == "numbers":
        values, found = np.arange(len(names)), tuple(names)
    else:
        values = np.unique(labels)
        check_are_classes(values, len(labels), where)
        found = tuple(names_of(values))
    check_names(found, where)
    return {"labels": codes_of(labels, values, where), "classes": found, "label_values": values}


def check_no_empty_class(split: Split, where: str) -> None:
    """Raise InputError if some class has no example."""
    counts = torch.bincount(split.labels, minlength=split.n_classes)
    empty = [split.classes[int(k)] for k in torch.nonzero(counts == 0).flatten()[:5]]
    if empty:
        none = int((counts == 0).sum())
        raise InputError(f"{where} has no example of {none} of {split.n_classes} classes (such as {empty[0]!r}), expected some of each")


def check_targets_differ(split: Split, where: str) -> None:
    """Raise InputError if all targets of a regression are one number: nothing can be learned then, and R² is not defined."""
    if len(split) > 1 and bool((split.labels == split.labels[0]).all()):
        raise InputError(f"{where} has the target {float(split.labels[0]):g} in all {len(split):,} examples, expected some that differ")


def read_image_folder(folder: Path, classes: list[str] | None = None, size: int | None = None, skip_corrupt: bool = False) -> Split:
    """Read images at FOLDER/CLASS/… of any format that Pillow reads: one class per sub-folder, in alphabetical order.

    classes: the classes of the train split, for a test split. size, skip_corrupt: as for `read_parquet`. Raises InputError for a folder
    without images, fewer than two classes, classes that the train split lacks, and files that are no images.
    """
    where = printable(str(folder))
    known = image_folders.annotated(folder) if classes else None
    found = sorted(set(known.values())) if known else image_folders.class_folders(folder)
    check_names(found, where)
    strangers = sorted(set(found) - set(classes or found))
    if strangers:
        raise InputError(f"{where} has class {strangers[0]!r}, which the train split lacks, expected {', '.join((classes or [])[:10])}")
    classes = classes or found
    if known:
        members = [sorted(name for name, of in known.items() if of == label) for label in classes]
    else:
        by_class = dict(zip(found, image_folders.find_images(folder, found), strict=True))
        members = [by_class.get(label, []) for label in classes]
    names = [os.fsencode(name) for files in members for name in files]
    if not names:
        raise InputError(f"{where} has no images, expected {where}/CLASS/*.png, *.jpg or the like")
    if len(classes) < 2:
        raise InputError(f"{where} has {len(classes)} class folder, expected at least two")
    labels = torch.repeat_interleave(torch.tensor([len(files) for files in members]))
    called = np.array([printable(os.fsdecode(name)) for name in names])
    return Split(images_of(ImageFiles(folder, np.array(names)), size, skip_corrupt), labels, tuple(classes), names=called)


def read_labelled_images(folder: Path, table: Path, target: str | None, size: int | None = None, skip_corrupt: bool = False) -> Split:
    """Read images whose labels are in a table beside them: a column of file names, with or without their endings, and one of labels.

    target: the column of labels; None: the one of a usual name, or the only other one. size, skip_corrupt: as for `read_parquet`. Raises
    InputError for names of no image, images without a label, and columns that cannot be told.
    """
    where, as_text = printable(str(table)), read_texts_by_name(table)
    paths = image_folders.all_images(folder, table.name)
    by_name: dict[str, list[str]] = {}
    for path in paths:
        for key in {path, os.path.basename(path), os.path.splitext(os.path.basename(path))[0], os.path.splitext(path)[0]}:
            by_name.setdefault(key, []).append(path)
    column = _column_of_names(as_text, target, by_name, where)
    rest = [str(name) for name in as_text.columns if name != column]
    label = target or next((name for name in rest if name.lower() in LABELS), rest[0] if len(rest) == 1 else None)
    if label is None or label not in rest:
        raise without_target(list(as_text.columns), where)
    names = as_text[column].tolist()
    several = next((name for name in names if len(by_name[name]) > 1), None)
    chosen = [by_name[name][0] for name in names]
    if several is not None or len(set(chosen)) < len(chosen):
        raise InputError(
            f"{where} has names that several images or rows have (such as {printable(several or names[0])!r}), expected one each"
        )
    missing = sorted(set(paths) - set(chosen))
    if missing:
        warnings.warn(f"{where} has no label for {counted(len(missing), 'image')}, not used (first: {printable(missing[0])})", stacklevel=2)
    written: Any = as_text[label]
    named = classes_of(labels_of(written, where), f"column {label!r} of {where}", None, None)
    encoded = np.array([os.fsencode(path) for path in chosen])
    called = np.array([printable(path) for path in chosen])
    return Split(images_of(ImageFiles(folder, encoded), size, skip_corrupt), **named, names=called)


def _column_of_names(table: pd.DataFrame, target: str | None, images: Collection[str], where: str) -> str:
    """Return the column of a table, other than its labels, that names images alone. Raises InputError if there is not one."""
    lacking = {str(name): [text for text in table[name] if text not in images] for name in table.columns if name != target}
    columns = [name for name, strangers in lacking.items() if not strangers]
    columns = [name for name in columns if table[name].is_unique] or columns  # labels may look like names, too
    if len(columns) == 1:
        return columns[0]
    name = min(lacking, key=lambda name: len(lacking[name]), default="")
    if not columns and lacking and len(lacking[name]) < len(table):
        first = printable(repr(lacking[name][0]))
        raise InputError(f"column {name!r} of {where} names {first}, which is no image beside it, expected names of images alone")
    known = " and ".join(map(repr, columns)) or "none"
    raise InputError(f"{where} has columns {list(table.columns)}, of which {known} name the images beside it, expected one")


def images_of(source: Encoded, size: int | None, skip_corrupt: bool) -> torch.Tensor:
    """Return images on disk, or in memory if all are wanted as they are and they fit."""
    images = ImagesOnDisk(source, size, skip_corrupt=skip_corrupt)
    stay = size or skip_corrupt or not fits_into_memory(images.nbytes)
    return images if stay else images.load()  # type: ignore[return-value]  # either stands for a tensor


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz with x_train, y_train, x_test, y_test, and perhaps those in `_NPZ_ALSO`; no pickles.

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
    rest = sorted(set(arrays) - {*wanted, *_NPZ_ALSO})
    if rest:
        warnings.warn(f"{path}: the arrays {', '.join(rest)} are not used", stacklevel=2)
    return arrays
