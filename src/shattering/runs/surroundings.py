"""The state of a process that a run may change: environment, folder, module path, and settings of libraries."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import sklearn
import torch

from shattering import seeds


def _set_environment(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _get_folder() -> str | None:
    with suppress(OSError):  # it has been removed
        return os.getcwd()
    return None


def _set_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _get_deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _get_cudnn() -> tuple[bool, bool, bool]:
    return torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic


def _set_cudnn(flags: tuple[bool, bool, bool]) -> None:
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags


_BACKENDS: Any = torch.backends
_PRECISE: tuple[Any, ...] = (
    _BACKENDS,
    *(_BACKENDS.cuda.matmul, _BACKENDS.cudnn, _BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn),
    *(_BACKENDS.mkldnn, _BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn),
)


def _get_precision() -> tuple[str | None, list[str]]:
    """Return the precision by torch's older interface (None where the newer one was used), and by the newer one."""
    older = None
    with suppress(RuntimeError):
        older = torch.get_float32_matmul_precision()
    return older, [backend.fp32_precision for backend in _PRECISE]


def _set_precision(precision: tuple[str | None, list[str]]) -> None:
    if precision[0] is not None:
        torch.set_float32_matmul_precision(precision[0])
    for backend, value in zip(_PRECISE, precision[1], strict=True):
        backend.fp32_precision = value


def _set_streams(streams: tuple) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


_Known = dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]  # name → (get, set)
_PLACE: _Known = {
    "environment": (lambda: dict(os.environ), _set_environment),
    "folder": (_get_folder, _set_folder),
    "module path": (lambda: list(sys.path), lambda path: sys.path.__setitem__(slice(None), path)),
    "arguments": (lambda: list(sys.argv), lambda arguments: sys.argv.__setitem__(slice(None), arguments)),
}
_SETTINGS: _Known = {
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "torch's dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's device": (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
    "torch's deterministic algorithms": (_get_deterministic, lambda on: torch.use_deterministic_algorithms(on[0], warn_only=on[1])),
    "torch's precision": (_get_precision, _set_precision),
    "torch's anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cuDNN": (_get_cudnn, _set_cudnn),
    "scikit-learn": (sklearn.get_config, lambda config: sklearn.set_config(**config)),
    "NumPy's errors": (np.geterr, lambda errors: np.seterr(**errors)),
}
_OF_A_PROCESS: _Known = {
    "torch's threads": (torch.get_num_threads, torch.set_num_threads),
    "streams": (lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    "start method": (
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda method: multiprocessing.set_start_method(method, force=True),
    ),
    "garbage collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
}
_KNOWN = _PLACE | _SETTINGS | _OF_A_PROCESS
_TIMERS = [getattr(signal, name) for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF") if hasattr(signal, name)]


def place() -> dict[str, Any]:
    """Return the place of this process; another process of this machine that has it finds the same files and modules."""
    return {name: get() for name, (get, _) in _PLACE.items()}


def settings() -> dict[str, Any]:
    """Return the settings of libraries in this process, for another process to `have`."""
    return {name: get() for name, (get, _) in _SETTINGS.items()}


def have(values: dict[str, Any]) -> None:
    """Set the place and the settings of another process, or those that this one had earlier."""
    for name, value in values.items():
        get, set_ = _KNOWN[name]
        if get() != value:
            set_(value)


@contextmanager
def put_back() -> Iterator[None]:
    """Undo the changes within this context: to all of the above, global generators, gradients, signal handlers and timers."""
    before = {name: get() for name, (get, _) in _KNOWN.items()}
    try:
        with _signals_put_back(), seeds.put_back(), warnings.catch_warnings(), torch.enable_grad():
            yield
    finally:
        have(before)


@contextmanager
def _signals_put_back() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    without = [timer for timer in _TIMERS if signal.getitimer(timer)[0] == 0]
    try:
        yield
    finally:
        for timer in without:
            signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
