"""Datasets of Hugging Face's library → a `Dataset`: images, texts, tokens or tables, by the types of their columns."""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from shattering.data import formats, rows, tables
from shattering.data.dataset import Dataset
from shattering.data.encoded import ArrowRows
from shattering.data.groups import group_codes
from shattering.data.image_folders import TESTS
from shattering.data.split import Split
from shattering.data.targets import are_numbers, plain_targets
from shattering.errors import InputError, unknown

_TOKENS = "input_ids"  # what tokenizers of the same house call their column
_MASK = "attention_mask"  # 0 where a token is padding
_BESIDE_TOKENS = (_MASK, "token_type_ids", "special_tokens_mask")


@dataclass(frozen=True)
class HubReading:
    """The options with which a Hugging Face dataset is read. `load_dataset` explains size and skip_corrupt.

    Args:
        target: the column of labels or targets; None: the one of a usual name, or of class labels.
        numbers: True for targets of a regression; None: if they have fractions.
        groups: the column of groups; None: there is none.
        n_train: training examples that are wanted; a stream is read so far as to have them.
        n_test: the same of a test split.
    """

    size: int | None = None
    skip_corrupt: bool = False
    target: str | None = None
    numbers: bool | None = None
    groups: str | None = None
    n_train: int | None = None
    n_test: int | None = None


def is_hub(source: object) -> bool:
    """Return whether it is a `Dataset`, a `DatasetDict`, or a stream of Hugging Face's library."""
    first = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return hasattr(first, "features") and hasattr(first, "column_names") and hasattr(first, "info")


def is_stream(source: object) -> bool:
    """Return whether it is a dataset of Hugging Face's library, or has a split, whose rows are read one after the other."""
    parts = source.values() if isinstance(source, Mapping) else [source]
    return is_hub(source) and not all(hasattr(part, "__len__") for part in parts)


def from_hub(source: Any, hold_out: Callable[[Split, str], Dataset], reading: HubReading) -> Dataset:
    """Load a Hugging Face dataset with one column of labels.

    Its inputs are images, if it has one column of them; tokens, if it has input_ids; texts, if it has one column of text and no other;
    else all columns together are a table. A `DatasetDict` needs a "train" split, and may have "test", "validation" or "val":
    the first that has labels is the test split; otherwise `hold_out` makes it. Of a stream the first rows are read, as many as n_train
    and n_test need. Raises InputError for columns that cannot be found, and for a stream without n_train.
    """
    if not isinstance(source, Mapping):
        n = None if reading.n_train is None else max(math.ceil(1.25 * reading.n_train) + 1, 5 * (reading.n_test or 0))
        whole = _at_hand(source, n)
        return hold_out(_grouped({"train": whole}, [_read(whole, reading)], reading)[0], _name(source))
    if "train" not in source:
        raise InputError(f"the DatasetDict has splits {list(source)}, expected 'train'")
    name = _name(source["train"])
    splits = {"train": _at_hand(source["train"], reading.n_train)}
    train = _read(splits["train"], reading)
    rest = [key for key in source if key not in ("train", *TESTS)]
    if rest:
        warnings.warn(f"the DatasetDict: the splits {', '.join(map(repr, rest))} are not used", stacklevel=2)
    tests = [key for key in TESTS if key in source]
    splits |= {key: _at_hand(source[key], reading.n_test or reading.n_train) for key in tests}
    test = next((key for key in tests if _has_labels(splits[key], train, reading)), None)
    if test is None:
        if tests:
            warnings.warn(f"the DatasetDict: the split {tests[0]!r} has no labels, and is not used", stacklevel=2)
        return hold_out(_grouped({"train": splits["train"]}, [train], reading)[0], name)
    both = {"train": splits["train"], test: splits[test]}
    train, tested = _grouped(both, [train, _read(splits[test], reading, train)], reading)
    return Dataset(train, tested, name)


def _grouped(sources: Mapping[str, Any], read: list[Split], reading: HubReading) -> list[Split]:
    """Return splits with their groups, which are numbered over all of them. sources: what each was read from, by name."""
    if reading.groups is None:
        return read
    codes = group_codes([_values(source, reading.groups) for source in sources.values()], list(map(len, read)), list(sources))
    return [replace(split, groups=of_split) for split, of_split in zip(read, codes, strict=True)]


def _at_hand(source: Any, n: int | None) -> Any:
    """Return a dataset that has all rows at hand: of a stream its first n."""
    if hasattr(source, "__len__"):
        return source
    if n is None:
        raise InputError("the Hugging Face dataset is a stream, expected n_train (and n_test) beside it, or to load it without streaming")
    import datasets

    first = list(itertools.islice(source, n))
    if not first:
        raise InputError("the Hugging Face dataset is a stream without rows, expected at least one example")
    warnings.warn(f"the Hugging Face dataset is a stream: its first {len(first):,} rows are used", stacklevel=2)
    return datasets.Dataset.from_list(first, features=source.features)


def _name(source: Any) -> str:
    return getattr(source.info, "dataset_name", None) or "hugging-face"


def _has_labels(source: Any, like: Split, reading: HubReading) -> bool:
    name = _label_column(source, reading)
    if name is None:
        return False
    column = _columns(source, [name])[name].to_pandas()
    return bool(column.notna().any()) if like.is_regression else formats.are_labels(column, like)


def _label_column(source: Any, reading: HubReading) -> str | None:
    """Return the column of a usual name, else the one of class labels; None: there is neither. Raises InputError if there are several."""
    if reading.target is not None:
        if reading.target not in source.column_names:
            raise unknown("target", reading.target, source.column_names)
        return reading.target
    named = [name for name in formats.LABELS if name in source.column_names]
    known = named or [name for name, feature in source.features.items() if type(feature).__name__ == "ClassLabel"]
    if len(known) > 1:
        several = " and ".join(map(repr, known))
        raise InputError(f"the Hugging Face dataset has columns {several}, each of which may be the labels, expected target, one of them")
    return known[0] if known else None


def _columns(source: Any, names: list[str]) -> Any:
    return source.with_format("arrow", columns=names)[:]


def _values(source: Any, name: str) -> list:
    return _columns(source, [name])[name].to_pylist()


def _read(source: Any, reading: HubReading, like: Split | None = None) -> Split:
    if source.format["type"] == "custom":
        remedy = "apply it with map(), or remove it with reset_format()"
        raise InputError(f"the Hugging Face dataset has a transform (set_transform), which reading its columns does not apply: {remedy}")
    label = _label_column(source, reading)
    if label is None:
        raise InputError(f"the Hugging Face dataset has columns {source.column_names}, expected one named 'label', or target, its name")
    said = _said_of_labels(source, label, reading, like)
    if reading.groups is not None and reading.groups not in source.column_names:
        raise unknown("groups", reading.groups, source.column_names)
    features = {name: feature for name, feature in source.features.items() if name not in (label, reading.groups)}
    images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if images:
        if len(images) > 1 or len(features) > 1:
            others = [name for name in features if name != images[0]]
            if len(images) > 1:
                raise InputError(f"the Hugging Face dataset has the images {', '.join(images)}, expected one column of them")
            warnings.warn(f"the Hugging Face dataset: the columns {', '.join(map(repr, others))} are not used", stacklevel=2)
        column = _columns(source, images)[images[0]]
        return Split(formats.images_of(ArrowRows(column, images[0]), reading.size, reading.skip_corrupt), **said)
    if reading.size:
        raise InputError(f"image_size is {reading.size}, expected none for a Hugging Face dataset without images")
    return _without_images(source, list(features), said)


def _without_images(source: Any, names: list[str], said: dict[str, Any]) -> Split:
    if not names:
        raise InputError(f"the Hugging Face dataset has columns {source.column_names}, expected inputs beside the labels")
    if _TOKENS in names:
        beside = [name for name in names if name not in (_TOKENS, *_BESIDE_TOKENS)]
        if beside:
            warnings.warn(f"the Hugging Face dataset: the columns {', '.join(map(repr, beside))} are not used", stacklevel=2)
        tokens = _without_padding(_values(source, _TOKENS), _values(source, _MASK)) if _MASK in names else _values(source, _TOKENS)
        return Split(rows.as_tokens(tokens, _TOKENS), kind="tokens", **said)  # type: ignore[arg-type]  # Rows are like a tensor
    nested = [name for name in names if type(source.features[name]).__name__ not in ("Value", "ClassLabel")]
    if nested:
        remedy = "expected numbers, texts or classes; of lists of numbers make an array, and give (X, y)"
        raise InputError(
            f"the column {nested[0]!r} of the Hugging Face dataset has {type(source.features[nested[0]]).__name__} values, {remedy}"
        )
    table = _columns(source, names)
    tables.check_whole_numbers(table, "the Hugging Face dataset")
    frame = table.to_pandas()
    texts = frame[names[0]].tolist()
    if len(names) == 1 and rows.is_text(texts, f"column {names[0]!r}"):
        return Split(rows.Rows(texts), **said)  # type: ignore[arg-type]  # as above
    return Split(rows.Rows(frame), **said)  # type: ignore[arg-type]  # as above


def _without_padding(tokens: list[list[int]], masks: list[list[int]]) -> list[list[int]]:
    """Return the tokens that the mask does not call padding. Raises InputError for a mask with holes, or of another length."""
    kept = []
    for row, (ids, mask) in enumerate(zip(tokens, masks, strict=True)):
        inside = [i for i, used in enumerate(mask) if used]
        if len(mask) != len(ids) or (inside and inside[-1] - inside[0] + 1 != len(inside)):
            raise InputError(
                f"{_MASK} of row {row} leaves out tokens between others, or is not as long, expected to mark padding at the ends"
            )
        kept.append([ids[i] for i in inside])
    left_out = sum(map(len, tokens)) - sum(map(len, kept))
    if left_out:
        warnings.warn(f"the Hugging Face dataset: {left_out:,} tokens that {_MASK} marks as padding are left out", stacklevel=2)
    return kept


def _said_of_labels(source: Any, label: str, reading: HubReading, like: Split | None) -> dict[str, Any]:
    """Return the arguments of a `Split` that say its labels."""
    column, where = _columns(source, [label])[label].to_pandas(), f"column {label!r}"
    numbers = like.is_regression if like is not None else reading.numbers
    if numbers or (numbers is None and are_numbers(column)):
        return {"labels": torch.from_numpy(plain_targets(column, where))}
    return formats.classes_of(column, where, getattr(source.features[label], "names", None), like)
