"""What this process may use of its machine."""

import os


def usable_cores() -> int:
    """The cores that this process may run on: those of its CPU affinity, which Slurm and taskset set, where the system has that."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
