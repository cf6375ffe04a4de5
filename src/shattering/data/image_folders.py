"""Find class folders and their images, splits and Parquet files below a folder. Nothing is left out without a word."""

import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from shattering.data.encoded import kind_of
from shattering.data.pixels import suffixes
from shattering.errors import InputError, counted, printable

TESTS = ("test", "validation", "val")  # names of a test split, the first that is there and has labels
_SPLITS = re.compile(r"(train|test|val|valid|validation|dev|eval|holdout)(ing|ation|uation|_?set|_?data|_?images)?[-_ .]?\d*")
_LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin")  # that systems leave in folders
_NOTES = (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".py", ".log", ".license")  # beside images
_ENOUGH = 1000  # files that are no images, after which no more are looked for: a link may lead to a whole disk
_ANNOTATIONS = "val_annotations.txt"  # of Tiny ImageNet's val/images: a line for each, of its name and class, and more


@dataclass
class FolderContents:
    """The names below a folder, with slashes: of images, of notes beside them, and of other files, each with what it is."""

    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or made by the system, by its name."""
    return name.startswith(".") or name.lower() in _LITTER


def class_folders(folder: Path) -> list[str]:
    """Return names of the folders in a folder, in order."""
    return sorted(entry.name for entry in _entries(folder) if not is_litter(entry.name) and _is_folder(entry))


def find_images(folder: Path, classes: list[str], read: str = "") -> list[list[str]]:
    """Return the images of each class folder and of the folders in it, as names below `folder`, in order.

    read: the name of a file in the folder that the caller reads. Notes beside the images (text, tables) are told in a warning. Raises
    InputError for images in no class folder, and for files that are neither: of formats that are not read, devices, links to nowhere.
    """
    members, rest = [], FolderContents()
    for name in classes:
        found = FolderContents()
        _look(folder, name, found)
        members.append(sorted(found.images, key=lambda name: name.split("/")))
        rest.notes += found.notes
        rest.others += found.others
    outside = FolderContents()
    for entry in _entries(folder):
        if not is_litter(entry.name) and not _is_folder(entry) and entry.name != read:
            _sort_in(entry, entry.name, outside)
    if outside.images:
        first = printable(sorted(outside.images)[0])
        found = f"{_name(folder)} has {counted(len(outside.images), 'file')} in no class folder (first: {first})"
        raise InputError(f"{found}, expected each in {_name(folder)}/CLASS/")
    _tell(folder, rest.notes + outside.notes, rest.others + outside.others)
    return members


def annotated(folder: Path) -> dict[str, str] | None:
    """Return the class of each image of a folder as in Tiny ImageNet's val: {"images/NAME": CLASS}; None for any other folder."""
    if not _is_annotated(folder):
        return None
    try:
        lines = [line.split("\t") for line in (folder / _ANNOTATIONS).read_text().splitlines() if line.strip()]
    except (OSError, ValueError):
        raise InputError(f"{_name(folder / _ANNOTATIONS)} is not a readable text, expected a name and a class in each line") from None
    bad = next((number for number, line in enumerate(lines, 1) if len(line) < 2), None)
    if bad:
        raise InputError(f"line {bad} of {_name(folder / _ANNOTATIONS)} has no tab, expected a name, a tab and a class in each line")
    (images,) = find_images(folder, ["images"], _ANNOTATIONS)
    known = {f"images/{line[0]}": line[1] for line in lines}
    if set(known) != set(images):
        first = sorted(set(known) ^ set(images))[0]
        raise InputError(
            f"{_name(folder)} has images that {_ANNOTATIONS} does not name, or lacks some that it names (first: {printable(first)})"
        )
    return known


def labelled_by_table(folder: Path) -> Path | None:
    """Return the one CSV or TSV file beside images that are in no class folders, in the folder or one below it; None: there is none."""
    entries = [entry for entry in _entries(folder) if not is_litter(entry.name)]
    tables = [Path(entry.path) for entry in entries if not _is_folder(entry) and entry.name.lower().endswith((".csv", ".tsv"))]
    if len(tables) != 1:
        return None
    folders = [entry.name for entry in entries if _is_folder(entry)]
    below = [Path(folder, name) for name in folders] if len(folders) <= 1 else []
    has_images = any(os.path.splitext(entry.name)[1].lower() in suffixes() for place in (folder, *below) for entry in _entries(place))
    return tables[0] if has_images else None


def all_images(folder: Path, read: str = "") -> list[str]:
    """Return the images of a folder and of the folders in it, as names below it, in order.

    read: the name of a file in the folder that the caller reads; other notes are told in a warning. Raises InputError as
    `find_images` does.
    """
    names = FolderContents()
    for entry in _entries(folder):
        if is_litter(entry.name):
            continue
        if _is_folder(entry):
            _look(folder, entry.name, names)
        elif entry.name != read:
            _sort_in(entry, entry.name, names)
    _tell(folder, names.notes, names.others)
    return sorted(names.images)


def split_folders(path: Path) -> dict[str, Path]:
    """Return folders of a folder by name in lower case. Raises InputError for two that differ only in case."""
    found: dict[str, Path] = {}
    for name in class_folders(path):
        if name.lower() in found:
            raise InputError(f"{_name(path)} has the folders {found[name.lower()].name} and {name}, expected one of them")
        found[name.lower()] = path / name
    return found


def is_split_name(name: str) -> bool:
    """Return whether a folder of this name looks like a split of the data, not like a class."""
    return _SPLITS.fullmatch(name.lower()) is not None


def has_class_folders(folder: Path) -> bool:
    """Return whether a split has labels: folders of classes, not only one of images."""
    return class_folders(folder) not in ([], ["images"]) or _is_annotated(folder)


def parquet_parts(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of a folder by split.

    "train.parquet", "train-00000-of-00002.parquet" and "train_1.parquet" belong to "train".
    """
    parts: dict[str, list[Path]] = {}
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        stem, suffix = os.path.splitext(entry.name)
        if suffix.lower() == ".parquet" and not is_litter(entry.name):
            name = re.sub(r"[-_.]?\d+(-of-\d+)?(-[0-9a-f]{16})?$", "", stem).lower()
            parts.setdefault(name, []).append(Path(entry.path))
    return parts


def _is_annotated(folder: Path) -> bool:
    return class_folders(folder) == ["images"] and (folder / _ANNOTATIONS).is_file()


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"{_name(folder)} cannot be listed: {error.strerror}") from None


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _look(root: Path, top: str, found: FolderContents) -> None:
    """Sort all that lies below a folder in; links to folders are followed. Raises InputError for a link to a folder that it lies in."""
    todo: list[tuple[str, tuple[tuple[int, int], ...]]] = [(top, ())]
    while todo and len(found.others) < _ENOUGH:
        below, above = todo.pop()
        status = os.stat(root / below)
        here = status.st_dev, status.st_ino
        if here in above:
            raise InputError(f"{_name(root / below)} is a link to a folder that it lies in, expected none such")
        for entry in _entries(root / below):
            name = f"{below}/{entry.name}"
            if is_litter(entry.name):
                continue
            if _is_folder(entry):
                todo.append((name, (*above, here)))
            else:
                _sort_in(entry, name, found)


def _sort_in(entry: os.DirEntry, name: str, found: FolderContents) -> None:
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        what = "" if entry.is_file() else kind_of(entry.stat())
    except FileNotFoundError:
        what = "a link to nowhere"
    except OSError as error:
        what = str(error.strerror)
    if what:
        found.others.append((name, what))
    elif suffix in suffixes():
        found.images.append(name)
    elif suffix in _NOTES or entry.name.lower() in ("readme", "license"):
        found.notes.append(name)
    else:
        found.others.append((name, "of a format that is not read"))


def _tell(folder: Path, notes: list[str], others: list[tuple[str, str]]) -> None:
    if others:
        name, what = min(others)
        least = " or more" if len(others) >= _ENOUGH else ""
        found = f"{_name(folder)} has {counted(len(others), 'file')}{least} that {'is no image' if len(others) == 1 else 'are no images'}"
        remedy = "take them away, or have their names begin with a dot"
        raise InputError(f"{found} (first: {printable(name)}, {what}), expected formats that Pillow reads: {remedy}")
    if notes:
        first = printable(min(notes))
        warnings.warn(f"{_name(folder)}: {counted(len(notes), 'file')} beside the images not read (first: {first})", stacklevel=2)


def _name(path: Path) -> str:
    return printable(str(path))
