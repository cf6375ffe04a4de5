"""The connection to a Ray cluster. Ray is an extra, imported when it is asked for."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from shattering.errors import InputError, reason
from shattering.machine import usable_cores

ANSWER_SECONDS = 10  # that a cluster may take to answer


@contextmanager
def connected(address: str | None, asked: str) -> Iterator[Any]:
    """The module ray, connected. A connection that the process has already is used, and left open.

    address: HOST:PORT of a cluster's head node, or "auto" for the one that this machine belongs to. None: what RAY_ADDRESS says, else
    a cluster of this machine alone is started, and ended afterwards. asked: what asks for it, for messages, such as "engine is 'ray'".

    Raises InputError if Ray is not installed, or no cluster is at the address.
    """
    if find_spec("ray") is None:
        raise InputError(f'{asked}, which needs the package ray, which is not installed: pip install "shattering[ray]"')
    import ray

    was_connected = ray.is_initialized()
    if not was_connected:
        _connect(ray, address)
    elif address not in (None, "auto", found := ray.get_runtime_context().gcs_address):
        raise InputError(f"address is {address!r}, but this process is connected to {found!r}, expected that or None")
    try:
        yield ray
    finally:
        if not was_connected:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: it sends nothing anywhere
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        ray.init(address="local", num_cpus=usable_cores(), include_dashboard=False, **quiet)
        return
    if address != "auto":
        _check_answer(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise InputError(f"address is {address!r}, expected a Ray cluster there: {reason(error)}") from None


def _check_answer(address: str) -> None:
    """Raises InputError if nothing answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise InputError(f"address is {address!r}, expected HOST:PORT of a cluster's head node, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(f"address is {address!r}, where nothing answers ({error}), expected the head node of a Ray cluster") from None
