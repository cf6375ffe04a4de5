"""Independent random streams from one seed: (seed, purpose, index) → generator.

Every stream is counter-based or freshly seeded, so adding a draw to one never shifts another. No global generator is touched, but
by `everywhere`, which puts them back. A purpose is any text that no other stream of the same computation has. The stored runs of
models depend on purposes that begin with: "data/" (subset, hold-out and folds), "labels/", "pixels/" and "exchange/" (noise), "init",
"order", "augment" and "dropout" (training), and "random-conv/" (features).
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def _digest(seed: int, purpose: str, index: int) -> bytes:
    return hashlib.sha256(f"{int(seed)}/{purpose}/{int(index)}".encode()).digest()


def integer(seed: int, purpose: str, index: int = 0) -> int:
    """Return a 63-bit integer determined by the arguments, to seed a generator of any library."""
    return int.from_bytes(_digest(seed, purpose, index)[:8], "little") >> 1


def philox(seed: int, purpose: str, counter: int) -> np.random.Philox:
    """Return the bit generator at a counter; one step is four 64-bit words."""
    key = np.frombuffer(_digest(seed, purpose, 0)[:16], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the NumPy generator of example `index`; streams of different indices never overlap."""
    return np.random.Generator(philox(seed, purpose, index << 128))


def quick_generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator for very many numbers that need no index: SFC64, which shuffles in two thirds of the time."""
    return np.random.Generator(np.random.SFC64(integer(seed, purpose)))


def words(seed: int, purpose: str, indices: np.ndarray) -> np.ndarray:
    """Draw four random 64-bit words for each index, (n, 4). Row i depends on (seed, purpose, indices[i]) alone."""
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size == 0:
        return np.empty((0, 4), dtype=np.uint64)
    low, high = int(indices.min()), int(indices.max())
    if high - low <= 4 * indices.size + 1024:  # dense: one pass over the range
        block = philox(seed, purpose, low).random_raw(4 * (high - low + 1)).reshape(-1, 4)
        return block[indices - low]
    return np.stack([philox(seed, purpose, int(i)).random_raw(4) for i in indices])


def uniform(word: np.ndarray) -> np.ndarray:
    """Convert 64-bit words to floats in [0, 1) with 53 random bits."""
    return (word >> np.uint64(11)) * 2.0**-53


@contextmanager
def everywhere(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch for code that is not ours, and put them back afterwards."""
    with put_back(), of_torch(seed):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        yield


@contextmanager
def of_torch(seed: int) -> Iterator[None]:
    """Seed torch's global generators, those of GPUs too, and put them back afterwards.

    A GPU that this process has not used yet stays unused: torch seeds it when it is, and to look at it would take its memory.
    """
    import torch

    is_used = torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if is_used else [], device_type="cuda"):
            torch.manual_seed(seed % 2**64)
            yield
    finally:
        if not is_used:
            torch.cuda.manual_seed_all(torch.default_generator.initial_seed())  # as if it had been used before


@contextmanager
def put_back() -> Iterator[None]:
    """Put the global generators of Python, NumPy and torch (that of the CPU) back afterwards."""
    import torch

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def state_of(value: Any) -> Any:
    """Return the state of a generator of Python, NumPy or torch, plain or in arrays and tensors; None for any other value.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> state, first = state_of(rng), rng.random()
        >>> put_state(rng, state)
        >>> rng.random() == first
        True
    """
    import torch

    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.get_state() if isinstance(value, torch.Generator) else None


def put_state(value: Any, state: Any) -> None:
    """Let a generator go on from a state that `state_of` gave of one of its kind."""
    if isinstance(value, random.Random):
        value.setstate(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    else:  # of NumPy's older kind, or torch's
        value.set_state(state)
