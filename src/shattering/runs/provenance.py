"""`provenance`: with which versions, hardware and code a run was executed."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def provenance(device: torch.device) -> dict:
    """Return versions, hardware, threads, and the revision of the code. device: that was computed on."""
    packages = ("shattering", "numpy", "scikit-learn", "pandas")
    versions = {"python": platform.python_version(), "torch": torch.__version__}  # with the build, which metadata leave out
    return {
        "versions": versions | {name: _version(name) for name in packages},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "git_revision": _git_revision(),
    }


@lru_cache  # 6 ms per package
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache
def processor() -> str:
    """Return the model of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache
def _git_revision() -> str | None:
    """Return the revision of the checkout that this code runs from (with "+" if it was changed since), or None."""
    try:
        here = Path(__file__).resolve()
        git = ["git", "-C", str(here.parent)]
        described = subprocess.run([*git, "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, text=True, timeout=10)
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", str(here)], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None if tracked.returncode == 0 else None
