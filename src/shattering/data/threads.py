"""`in_order`: the same work on many items, by threads, in their order and within a bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from shattering.system.machine import own_cores

Given = TypeVar("Given")
Result = TypeVar("Result")


def in_order(n: int, chunk: int, read: Callable[[int], Given], work: Callable[[int, Given], Result], read_here: bool) -> Iterator[Result]:
    """Yield work(i, read(i)) for each i below n in order, with one thread per core of this process.

    Args:
        n: how many items there are.
        chunk: how many items a thread takes at a time. One chunk more than there are threads is held in memory.
        read: gives an item.
        work: is done by the threads.
        read_here: whether this thread reads, in order; else those that work do.
    """

    def do(places: range, given: list[Given] | None) -> list[Result]:
        return [work(i, read(i) if given is None else given[i - places.start]) for i in places]

    threads = own_cores()
    pool, waiting = ThreadPoolExecutor(threads), deque[Future]()
    try:
        for start in range(0, n, chunk):
            places = range(start, min(start + chunk, n))
            waiting.append(pool.submit(do, places, [read(i) for i in places] if read_here else None))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
