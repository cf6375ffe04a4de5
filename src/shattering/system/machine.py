"""The cores and the memory of its machine that this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError
from shattering.parameters import Count, Natural, read

if TYPE_CHECKING:
    import psutil

try:
    import resource
except ImportError:  # not on Windows
    resource = None

_PROC = Path("/proc/self")
_sharers = 1
_cores: int | None = None


def usable_cores() -> int:
    """Return the cores that this process may run on: its CPU affinity, which Slurm and taskset set, where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_cores(cores: int) -> None:
    """Use at most so many cores from now on, as other processes of the same sweep use the rest; see `own_cores`."""
    global _cores
    _cores = cores


def own_cores() -> int:
    """Return this process's share of the `usable_cores`, at least one: limited by `use_cores` and by other processes of torchrun."""
    cores = usable_cores() if _cores is None else min(usable_cores(), _cores)
    return max(1, cores // launched("LOCAL_WORLD_SIZE"))


def launched(name: str) -> int:
    """Read an environment variable that torchrun sets for its processes; without it there is one process.

    name: WORLD_SIZE, LOCAL_WORLD_SIZE, RANK or LOCAL_RANK. Raises InputError for what torchrun does not say.
    """
    counts = name.endswith("SIZE")
    return read(os.environ.get(name, "1" if counts else "0"), Count if counts else Natural, name)


def share_memory(processes: int) -> None:
    """Take at most an equal part of the memory from now on, where so many children of one parent, this one among them, work at once."""
    global _sharers
    _sharers = processes


def available_memory(device: Any = None, limit: float | None = None) -> int:
    """Return the bytes that this process may still take.

    Of main memory that is the least of: what the machine has available; what the control groups of the process (containers, batch
    systems) leave; what the environment variable SHATTERING_MEMORY, in GB for all that the process takes, leaves; and what the limits
    of the system (`ulimit`) leave. Of a CUDA device it is what is free on it.

    Args:
        device: a torch device; None: the CPU, whose memory is main memory.
        limit: bytes that are to be taken at most. It can only lower the answer.

    Raises:
        InputError: if SHATTERING_MEMORY is not a number above 0.
    """
    if device is not None and device.type == "cuda":
        import torch

        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + kept
    else:
        free = _main_memory()
    return free if limit is None else min(free, int(limit))


def require_memory(needed: int, what: str, remedy: str, device: Any = None, limit: float | None = None) -> None:
    """Refuse, before anything is allocated, what takes more bytes than there are.

    Args:
        needed: bytes.
        what: what needs them, the subject of the sentence.
        remedy: what would help, its end.
        device, limit: as of `available_memory`.

    Raises:
        InputError: with the bytes needed, those available, and the remedy.
    """
    available = available_memory(device, limit)
    if needed > available:
        raise InputError(f"{what} needs about {in_bytes(needed)} of memory, and {in_bytes(available)} are available: {remedy}")


def in_bytes(memory: float) -> str:
    """Write a number of bytes with two digits: 340 MB, 1.2 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if memory >= size:
            return f"{memory / size:.2g} {unit}" if memory < 99.5 * size else f"{memory / size:.0f} {unit}"
    return f"{memory:.0f} bytes"


def _main_memory() -> int:
    import psutil  # it takes a tenth of the time of any command

    me = psutil.Process()
    used = me.memory_info().rss
    free = min([psutil.virtual_memory().available, *_left_by_control_groups()])
    left = [free]
    if _sharers > 1:
        left.append((free + _of_siblings(me, used)) // _sharers - used)
    most = _most_allowed()
    if most is not None:
        left.append(most // _sharers - used)
    return max(0, min([*left, *_left_by_the_system(me)]))


def _most_allowed() -> int | None:
    """Read the bytes of SHATTERING_MEMORY."""
    text = os.environ.get("SHATTERING_MEMORY")
    if not text:
        return None
    try:
        size = int(1e9 * float(text))
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise InputError(f"SHATTERING_MEMORY is {text!r}, expected a number of GB above 0")
    return size


def _of_siblings(me: "psutil.Process", used: int) -> int:
    """Return the bytes of memory that the children of this process's parent use, this one among them."""
    import psutil

    total = used
    try:
        parent = me.parent()
        others = parent.children() if parent else []
    except psutil.Error:
        return total
    for other in others:
        try:
            total += other.memory_info().rss if other.pid != me.pid else 0
        except psutil.Error:  # it has ended
            continue
    return total


def _left_by_the_system(me: "psutil.Process") -> list[int]:
    if resource is None:
        return []
    left, memory = [], me.memory_info()
    for name, used in (("RLIMIT_AS", memory.vms), ("RLIMIT_DATA", getattr(memory, "data", memory.rss))):
        soft = resource.getrlimit(getattr(resource, name))[0]
        if soft >= 0:
            left.append(soft - used)
    return left


def _left_by_control_groups() -> list[int]:
    """Return the memory left in each control group around this process."""
    left = []
    for folder in _control_groups():
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.high", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            except (OSError, ValueError):  # it has no such limit: there is no file, or it says "max"
                continue
            left.append(most - now + _statistic(folder / "memory.stat", cache))
    return left


def _statistic(file: Path, name: str) -> int:
    """Return a value of memory.stat: the unused page cache, which the system frees before it refuses memory."""
    try:
        return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name} ")), 0)
    except (OSError, ValueError):
        return 0


def _control_groups() -> Iterator[Path]:
    """Return the folders of the control groups of memory around this process, of version 1 or 2, up to the mount point."""
    try:
        mounts = [line.split() for line in (_PROC / "mountinfo").read_text().splitlines()]
        lines = [line.split(":", 2) for line in (_PROC / "cgroup").read_text().splitlines()]
    except OSError:  # only Linux has them
        return
    paths = {"cgroup2" if not names else "cgroup": path for _, names, path in lines if not names or "memory" in names.split(",")}
    for fields in mounts:
        rest = fields[fields.index("-") + 1 :]
        path = paths.get(rest[0])
        if path is None or (rest[0] == "cgroup" and "memory" not in rest[2].split(",")):
            continue
        top, inside = Path(fields[4]), PurePosixPath(path)
        below = inside.relative_to(fields[3]) if inside.is_relative_to(fields[3]) else PurePosixPath()
        yield from (top / part for part in (below, *below.parents))
