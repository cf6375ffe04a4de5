"""Describe values: numbers, texts, containers, arrays, tensors, tables. Equal values have equal pieces, and others have others."""

import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from shattering.identity.pieces import ByValue, Context, Memory, Part, Piece, Unordered

_CONSTANT = 1000  # items of nested tuples that are still taken as a constant
_PLAIN = "biufcmMSU"  # kinds of NumPy types whose bytes are their values


def atom(thing: object) -> bytes | None:
    """Return a value that holds no other object, with its type; None for everything else."""
    kind = type(thing)
    if thing is None or thing is Ellipsis or thing is NotImplemented:
        return repr(thing).encode()
    if kind is bool:
        return b"bool 1" if thing else b"bool 0"
    if kind is int:
        return b"int %x" % thing
    if kind is float:
        return b"float " + struct.pack("<d", thing)
    if kind is complex:
        return b"complex " + struct.pack("<dd", thing.real, thing.imag)  # type: ignore[attr-defined]  # `kind` is its type
    if kind is str:
        return b"str " + thing.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]  # likewise
    if kind is bytes:
        return b"bytes " + thing  # type: ignore[operator]  # likewise
    return None


def is_constant(thing: object) -> bool:
    """Return whether a tuple or frozenset holds only constants.

    Such are not numbered: whether two that are equal are one object is up to Python, which may decide otherwise in the next process.
    """
    if type(thing) not in (tuple, frozenset):
        return False
    todo, seen = [thing], 0
    while todo:
        one = todo.pop()
        if type(one) in (tuple, frozenset):
            todo.extend(one)  # type: ignore[arg-type]  # it is a tuple or a frozenset
        elif atom(one) is None:
            return False
        seen += 1
        if seen > _CONSTANT:
            return False
    return True


def from_library(thing: object, library: str, *names: str) -> bool:
    """Return whether an object is an instance of a library's class, or of one derived from it. Nothing is imported."""
    return any(cls.__name__ in names and cls.__module__.partition(".")[0] == library for cls in type(thing).__mro__)


def builtin(thing: Any, context: Context) -> Iterator[Piece]:
    """Return the items of a dictionary, list, tuple, set, bytearray or number, of subclasses too."""
    inner: Context = "cloned" if context == "cloned" else "plain"
    if isinstance(thing, dict):
        yield b"dict"
        for i, (key, value) in enumerate(dict.items(thing)):
            yield Part(key, f".keys()[{i}]")
            yield Part(value, f"[{key!r}]" if type(key) in (str, int) else f".values()[{i}]")
    elif isinstance(thing, (list, tuple)):
        yield b"list" if isinstance(thing, list) else b"tuple"
        items = list.__iter__(thing) if isinstance(thing, list) else tuple.__iter__(thing)
        for i, item in enumerate(items):
            yield Part(item, f"[{i}]", inner)
    elif isinstance(thing, (set, frozenset)):
        yield b"set" if isinstance(thing, set) else b"frozenset"
        yield Unordered(set.__iter__(thing) if isinstance(thing, set) else frozenset.__iter__(thing), inner)
    elif isinstance(thing, bytearray):
        yield b"bytearray"
        yield bytes(thing)
    else:
        kind = next(kind for kind in (int, float, complex, str, bytes) if isinstance(thing, kind))
        yield atom(_exactly(kind, thing)) or b""


def _exactly(kind: type, thing: Any) -> Any:
    """Convert a subclass's instance to the class itself, whatever methods the subclass has."""
    if kind is str:
        return str.__str__(thing)
    if kind is bytes:
        return bytes.__getitem__(thing, slice(None))
    if kind is complex:
        return complex(complex.real.__get__(thing), complex.imag.__get__(thing))  # type: ignore[attr-defined]  # descriptors, which the stub has as floats
    return int.__int__(thing) if kind is int else float.__float__(thing)


def array(thing: np.ndarray) -> Iterator[Piece]:
    """Describe an array: its type, its shape, its values in C order, and the memory that it may share with arrays met before."""
    yield f"array {thing.shape}".encode()
    plain = np.asarray(thing.view(np.ndarray))
    yield from dtype(plain.dtype)
    yield from _values(plain)
    if isinstance(thing, np.ma.MaskedArray):
        yield Part(np.ma.getmaskarray(thing), ".mask")
        yield Part(thing.fill_value, ".fill_value")
    owner: Any = thing
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if thing.size and not thing.dtype.hasobject:
        yield Memory(id(owner), owner, *np.lib.array_utils.byte_bounds(plain))


def scalar(thing: np.generic) -> Iterator[Piece]:
    """Describe a NumPy number by its type and value."""
    value = np.asarray(thing)
    yield b"scalar"
    yield from dtype(value.dtype)
    yield from _values(value)


def dtype(kind: np.dtype) -> Iterator[Piece]:
    """Describe a NumPy type, with its fields."""
    yield f"{kind.str} {kind.itemsize} {type(kind).__name__} {getattr(kind, 'na_object', '')!r}".encode()
    if kind.subdtype:
        yield str(kind.subdtype[1]).encode()
        yield from dtype(kind.subdtype[0])
    for name in kind.names or ():
        field = kind.fields[name]  # type: ignore[index]  # a type with names has fields
        yield f"{name!r} {field[1]} {field[2:]!r}".encode("utf-8", "surrogatepass")
        yield from dtype(field[0])
    if kind.metadata:
        yield Part(dict(kind.metadata), ".metadata")


def _values(values: np.ndarray) -> Iterator[Piece]:
    if values.dtype.names is not None:
        for name in values.dtype.names:  # by field, as bytes between fields are anything
            yield from _values(values[name])
    elif values.dtype.kind in _PLAIN:
        yield from _bytes(np.ascontiguousarray(values))
    elif values.dtype.kind == "V" and not values.dtype.hasobject:
        yield values.tobytes()
    else:
        yield from _objects(values.ravel().tolist())


def _bytes(values: np.ndarray) -> Iterator[Piece]:
    if not values.size or not values.itemsize:
        return
    raw = values.reshape(-1).view(np.uint8)
    if values.dtype.kind in "fc" and values.dtype.char in "gG" and np.finfo(np.longdouble).nmant == 63:
        raw = np.ascontiguousarray(raw.reshape(-1, np.dtype(np.longdouble).itemsize)[:, :10]).reshape(-1)  # the others are anything
    yield raw.data


def _objects(items: list) -> Iterator[Piece]:
    """Describe the items of an array of objects; texts all at once, as there may be millions."""
    if items and all(type(item) is str for item in items):
        yield b"texts"
        yield np.array([len(item) for item in items], np.int64).data.cast("B")
        yield "".join(items).encode("utf-8", "surrogatepass")
        return
    for i, item in enumerate(items):
        yield Part(item, f".flat[{i}]")


def tensor(thing: Any, context: Context) -> Iterator[Piece]:
    """Describe a torch tensor by its type, shape, values and hooks, and by requires_grad. Its device does not count."""
    torch = sys.modules["torch"]
    yield f"tensor {thing.dtype} {thing.requires_grad} {thing.layout}".encode()
    if torch.nn.parameter.is_lazy(thing):
        return
    yield f"{tuple(thing.shape)}".encode()
    if not (context == "drawn" and thing.requires_grad) and thing.device.type != "meta":
        with torch.no_grad():
            yield from _tensor_values(thing.detach())
    hooks = thing._backward_hooks  # private: a tensor has no public list of its hooks
    for name, value in sorted({**vars(thing), "_backward_hooks": hooks}.items()):
        if value is not None and not name.startswith("_dynamo_"):  # which torch.compile adds
            yield name.encode()
            yield Part(list(value.values()) if name.endswith("_hooks") and isinstance(value, dict) else value, f".{name}")


def _tensor_values(values: Any) -> Iterator[Piece]:
    torch = sys.modules["torch"]
    if values.layout is not torch.strided:
        sparse = values.to_sparse_coo().coalesce()
        yield ByValue(sparse.indices(), ".indices()")
        yield ByValue(sparse.values(), ".values()")
        return
    if values.is_quantized:
        yield ByValue(values.dequantize(), ".dequantize()")
        yield f"{values.qscheme()}".encode()
        return
    plain = values.resolve_conj().resolve_neg().cpu().contiguous()
    yield from _bytes(plain.reshape(-1).view(torch.uint8).numpy())  # NumPy has no bfloat16
    if values.numel():
        last = sum((size - 1) * stride for size, stride in zip(values.shape, values.stride(), strict=True))
        low, size = values.data_ptr(), values.element_size()
        yield Memory(("torch", values.untyped_storage().data_ptr()), values, low, low + (last + 1) * size)


def table(thing: Any) -> Iterator[Piece]:
    """Describe a DataFrame, Series, index or array of pandas: names, types and values, whatever their storage."""
    if from_library(thing, "pandas", "DataFrame"):
        yield b"frame"
        yield ByValue(thing.columns, ".columns")
        yield ByValue(thing.index, ".index")
        for i in range(thing.shape[1]):
            yield ByValue(thing.iloc[:, i].array, f".iloc[:, {i}]")
        yield Part(thing.attrs, ".attrs")
    elif from_library(thing, "pandas", "MultiIndex"):
        yield b"levels"
        yield Part(list(thing.names), ".names")
        for i in range(thing.nlevels):
            yield ByValue(thing.get_level_values(i).array, f".get_level_values({i})")
    elif from_library(thing, "pandas", "Series", "Index"):
        yield b"series" if from_library(thing, "pandas", "Series") else b"index"
        yield Part(thing.name, ".name")
        if from_library(thing, "pandas", "Series"):
            yield ByValue(thing.index, ".index")
        yield ByValue(thing.array, ".array")
    else:
        yield str(thing.dtype).encode("utf-8", "surrogatepass")
        yield from _extension(thing)


def _extension(thing: Any) -> Iterator[Piece]:
    """Describe the values of an array of pandas, by its type."""
    if from_library(thing, "pandas", "Categorical"):
        yield b"categories %d" % thing.ordered
        yield ByValue(thing.categories, ".categories")
        yield ByValue(np.asarray(thing.codes, np.int64), ".codes")
    elif from_library(thing, "pandas", "NumpyExtensionArray"):
        yield ByValue(thing.to_numpy(), ".to_numpy()")
    elif from_library(thing, "pandas", "DatetimeArray", "TimedeltaArray", "PeriodArray"):
        yield ByValue(thing.asi8, ".asi8")
    elif from_library(thing, "pandas", "IntervalArray"):
        yield ByValue(thing.left, ".left")
        yield ByValue(thing.right, ".right")
    elif from_library(thing, "pandas", "BaseMaskedArray"):
        yield ByValue(np.asarray(thing.isna(), bool), ".isna()")
        yield ByValue(thing.to_numpy(thing.dtype.numpy_dtype, na_value=thing.dtype.type(0)), ".to_numpy()")
    else:
        yield ByValue(np.asarray(thing.isna(), bool), ".isna()")
        yield ByValue(np.asarray(thing.to_numpy(object), object), ".to_numpy()")


def sparse(thing: Any) -> Iterator[Piece]:
    """Describe a sparse matrix or array of SciPy by its format, shape and values. Duplicates are summed."""
    yield f"sparse {thing.format} {thing.shape} {thing.dtype}".encode()
    summed = thing.tocoo(copy=True)
    summed.sum_duplicates()
    yield ByValue(summed.data, ".data")
    for i, coordinates in enumerate(getattr(summed, "coords", None) or (summed.row, summed.col)):
        yield ByValue(np.asarray(coordinates, np.int64), f".coords[{i}]")
