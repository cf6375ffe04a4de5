"""The connection to a Ray cluster. Ray is an optional dependency, imported when it is needed."""

import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shattering.errors import InputError, not_installed, reason
from shattering.system.lifetime import Guard
from shattering.system.machine import usable_cores
from shattering.system.temporary import TemporaryFolder

ANSWER_SECONDS = 10  # limit for an answer of the cluster
_LONGEST_FOLDER = 40  # characters: in a folder with a longer path, the paths of Ray's sockets would be too long for the system
_SHORT = Path("/tmp")  # where the system's folder of temporary files has a longer path
_REFUSALS = (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError)
_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: a cluster that Ray starts listens where this machine alone reaches it


@contextmanager
def connected(address: str | None, asked: str) -> Iterator[Any]:
    """Connect to a Ray cluster and give the module ray. An existing connection of the process is used, and left open.

    address: HOST:PORT of a cluster's head node, or "auto" for the one that this machine belongs to. None: what RAY_ADDRESS says, else
    a cluster of this machine alone is started, and ended afterwards. asked: what asks for it, for messages, such as "engine is 'ray'".

    Raises InputError if Ray is not installed or too old, or no cluster is at the address.
    """
    if find_spec("ray") is None:
        raise not_installed(f"{asked}, which", "ray", "ray")
    import ray

    if ray.is_initialized():
        if address not in (None, "auto", current := ray.get_runtime_context().gcs_address):
            raise InputError(f"address is {address!r}, but this process is connected to {current!r}, expected that or None")
        yield ray
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    address = address or os.environ.get("RAY_ADDRESS")
    with _own(ray, asked) if address is None else _existing(ray, address):
        yield ray


@contextmanager
def _own(ray: Any, asked: str) -> Iterator[None]:
    """Start a cluster of this machine, on the loopback interface alone and with a secret token.

    Whoever reaches a cluster without one can have it execute anything.
    """
    with ExitStack() as stack:
        folder = TemporaryFolder(_parent())  # for its logs and sockets
        stack.callback(folder.remove)
        stack.callback(Guard(os.path.dirname(ray.__file__), folder.path).end)
        stack.enter_context(_loopback(ray))
        stack.enter_context(_token(ray, secrets.token_hex(32)))
        # the options with an underscore are private: Ray has no public ones for its address and its folder
        options: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        if "RAY_TMPDIR" not in os.environ:
            options["_temp_dir"] = str(folder.path)
        with _started(ray, f"{asked}, expected that a cluster can be started on this machine", address="local", **options):
            yield


def _parent() -> Path | None:
    """Return the folder to make the cluster's folder in; None for the system's, unless its path is too long."""
    name = 24  # characters of the folder's name, with the slash before it
    is_short = len(tempfile.gettempdir()) + name <= _LONGEST_FOLDER
    return None if is_short or not os.access(_SHORT, os.W_OK) else _SHORT


@contextmanager
def _existing(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster that others started; Ray reads its token from the environment or the home folder."""
    if address != "auto":
        _check_answer(address)
    token = "" if os.environ.get("RAY_AUTH_MODE") == "token" else "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    with _started(ray, f"address is {address!r}, expected a Ray cluster there{token}", address=address):
        yield


@contextmanager
def _started(ray: Any, expected: str, **options) -> Iterator[None]:
    """Hold a connection, from ray.init to ray.shutdown. The program's handler of SIGTERM is kept."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (*_REFUSALS, ray.exceptions.RayError) as error:
            raise InputError(f"{expected}: {reason(error)}") from None
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _loopback(ray: Any) -> Iterator[None]:
    """Make a cluster that is started within this context listen on the loopback interface alone."""
    from ray._private import ray_constants  # private: Ray has no public setting for the interface that it listens on

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        with _environment({_ALONE: "0", "RAY_USAGE_STATS_ENABLED": "0"}):  # and send no statistics
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _token(ray: Any, token: str) -> Iterator[None]:
    """Make a cluster that is started within this context require a token. Raises InputError if this version of Ray has no tokens."""
    try:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # private: the public interface reads a token only once
    except ImportError:
        raise InputError(f"ray has version {ray.__version__}, expected at least 2.52, whose clusters ask for a token") from None

    def look() -> None:  # Ray reads the environment once; the mode first, for its threads may want the token meanwhile
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    try:
        with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}):
            look()
            yield
    finally:
        look()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_answer(address: str) -> None:
    """Raise InputError if nothing answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise InputError(f"address is {address!r}, expected HOST:PORT of a cluster's head node, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"address is {address!r}, where nothing answers ({error}), expected the head node of a Ray cluster") from None
