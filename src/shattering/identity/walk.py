"""`Walk`: visit an object and all that it refers to, without recursion, and hash it into one SHA-256."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from shattering.errors import InputError, a_type
from shattering.identity.objects import pieces, underlying
from shattering.identity.pieces import ByValue, Context, Memory, Part, Piece, Unknown, Unordered
from shattering.identity.values import atom, is_constant

_NESTED = 30  # limit of walks within walks, which sort sets
_ADDRESS = re.compile(rb"(?<![0-9a-zA-Z.])(?:0x[0-9a-f]{9,16}|[1-9][0-9]{11,19})(?![0-9a-zA-Z.])")
_LONGEST = 1000  # longest text, in bytes, in which addresses are replaced
_EFFORT = 20_000  # limit of objects visited to sort sets whose items refer to each other


@dataclass
class Visited:
    """The results of walks besides the digest.

    unknown: sentences about objects that could not be looked into, by id. reads_docs: True if some of the code reads docstrings.
    modules: names of the user's modules whose code was reached. imported: those of them that a function imports when it runs.
    """

    unknown: dict[int, str] = field(default_factory=dict)
    reads_docs: bool = False
    modules: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)


class _Open(NamedTuple):
    """An object whose pieces are being written. path: (the path of what reached it, its label)."""

    pieces: Iterator[Piece]
    path: Any
    thing: Any


class Walk:
    """One pass over an object and what it refers to.

    Every object is written once, at the first visit. Later visits write the number of the first one, so that [f, g, f] differs from
    [f, g, g].

    docs: True if docstrings count. outer: the walk that needs this one to sort the items of a set.
    """

    def __init__(self, docs: bool = False, visited: Visited | None = None, outer: Walk | None = None):
        self.docs = docs
        self.visited = visited or Visited()
        self.outer = outer
        self.closed = True  # False once an object was met that an outer walk had met before
        self._depth: int = outer._depth + 1 if outer else 0
        self._keys: dict[tuple[int, Context], bytes] = outer._keys if outer else {}
        self._effort: list[int] = outer._effort if outer else [0]
        self._hasher = hashlib.sha256()
        self._numbers: dict[tuple[int, Context], int] = {}
        self._kept: list[Any] = outer._kept if outer else []  # keeps visited objects alive, so that no other gets the same id
        self._memory: dict[Hashable, list[Memory]] = {}

    def digest(self, thing: Any, name: str, context: Context = "plain") -> bytes:
        """Return the SHA-256 of an object. name: for messages about it."""
        stack: list[_Open] = []
        self._meet(Part(thing, name, context), (), stack)
        while stack:
            top = stack[-1]
            try:
                piece = next(top.pieces, None)
            except InputError:  # the user has named a missing file
                raise
            except Exception as error:  # any error of a user's object
                piece = Unknown(f"looking at it raised {type(error).__name__}")
            if piece is None:
                self._hasher.update(b")")
                stack.pop()
            elif isinstance(piece, Part):
                self._meet(piece, top.path, stack)
            else:
                self._take(piece, top, stack)
        return self._hasher.digest()

    def _take(self, piece: Piece, top: _Open, stack: list[_Open]) -> None:
        if isinstance(piece, Unordered):
            self._hasher.update(b"(")
            ordered = sorted(((self._key(thing, piece.context, top.path), thing) for thing in piece.things), key=lambda pair: pair[0])
            stack.append(_Open(iter([Part(thing, "{…}", piece.context) for _, thing in ordered]), top.path, top.thing))
        elif isinstance(piece, ByValue):
            self._write(Walk(self.docs, self.visited).digest(piece.thing, _name((top.path, piece.label))))
        elif isinstance(piece, Memory):
            self._write(self._shared(piece))
        elif isinstance(piece, Unknown):
            sentence = f"{_name(top.path)} ({a_type(top.thing)}): {piece.why}"
            if self.outer is None or id(top.thing) not in self.visited.unknown:
                self.visited.unknown[id(top.thing)] = sentence
            self._write(uuid.uuid4().bytes)
        elif isinstance(piece, (bytes, memoryview)):
            self._write(piece)

    def _write(self, data: bytes | memoryview) -> None:
        self._hasher.update(b"=%d:" % (data.nbytes if isinstance(data, memoryview) else len(data)))
        self._hasher.update(data)

    def _meet(self, part: Part, path: Any, stack: list[_Open]) -> None:
        thing, context = part.thing, part.context
        if (value := atom(thing)) is not None:
            self._write(self._without_addresses(value) if type(thing) is str else value)
            return
        thing = underlying(thing)
        if not is_constant(thing):
            number = self._number(thing, context)
            if number is not None:
                self._hasher.update(b"#%d.%d;" % number)
                return
            self._numbers[id(thing), context] = len(self._numbers)
        self._kept.append(thing)
        self._effort[0] += self._depth > 0
        self._hasher.update(b"(")
        stack.append(_Open(pieces(thing, context, self), (path, part.label), thing))

    def _without_addresses(self, text: bytes) -> bytes:
        """Replace the addresses of visited objects, as `id` and `repr` show them, by the objects' numbers."""

        def number(match: re.Match[bytes]) -> bytes:
            address = int(match[0], 0)
            numbers = (self._numbers.get((address, context)) for context in get_args(Context))
            return next((b"@%d" % one for one in numbers if one is not None), match[0])

        return _ADDRESS.sub(number, text) if 12 <= len(text) <= _LONGEST else text

    def _number(self, thing: Any, context: Context) -> tuple[int, int] | None:
        """Return (number of walks outward, number of the visit there) of a visited object; None for an object not visited yet."""
        inner: list[Walk] = []
        walk: Walk | None = self
        while walk is not None:
            number = walk._numbers.get((id(thing), context))
            if number is not None:
                for one in inner:
                    one.closed = False
                return len(inner), number
            inner.append(walk)
            walk = walk.outer
        return None

    def _key(self, thing: Any, context: Context, path: Any) -> bytes:
        """Return the sort key of an item of a set: its content, or the number of an earlier visit."""
        if (value := atom(thing)) is not None:
            return b"=" + value
        thing = underlying(thing)
        if not is_constant(thing) and (number := self._number(thing, context)):
            return b"#%d.%d" % number
        if (id(thing), context) in self._keys:
            return self._keys[id(thing), context]
        self._kept.append(thing)
        if self._depth >= _NESTED or self._effort[0] > _EFFORT:
            self.visited.unknown[id(thing)] = (
                f"{_name(path)} (sets of {type(thing).__name__}): their items refer to each other in too many ways"
            )
            return uuid.uuid4().bytes
        walk = Walk(self.docs, self.visited, outer=self)
        key = b"(" + walk.digest(thing, f"{_name(path)}{{…}}", context)
        if walk.closed:
            self._keys[id(thing), context] = key
        return key

    def _shared(self, memory: Memory) -> bytes:
        """Encode which visited arrays share this memory: their numbers within its block, and the distances of their first bytes."""
        before = self._memory.setdefault(memory.key, [])
        before.append(memory)
        overlapping = [
            (i, memory.low - other.low) for i, other in enumerate(before[:-1]) if max(memory.low, other.low) < min(memory.high, other.high)
        ]
        return repr(overlapping).encode()


def _name(path: Any) -> str:
    """Join the labels of a path from the first to the last. The middle of a long path is left out."""
    labels = []
    while path:
        path, label = path
        labels.append(label)
    labels.reverse()
    return "".join(labels if len(labels) <= 12 else [*labels[:6], "…", *labels[-6:]])
