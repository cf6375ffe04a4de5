"""An interpreter for Ray's workers: each is forked from a process that has imported the library, which takes a new interpreter seconds.

It is a file that asks a server (`serve`) for a fork that executes the worker, waits for its end, and ends as it does. Whatever else Ray
starts with it is executed by the real interpreter.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from shattering.system.lifetime import end_with_parent
from tests.programs import Program, _become

ROOT = Path(__file__).parents[1]

_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
arguments = sys.argv[1:]
if not any(argument.endswith(("/setup_worker.py", "/default_worker.py")) for argument in arguments):
    os.execv({python!r}, [{python!r}, *arguments])
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
start = {{"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "session": False, "group": 0}}
start["blocked"] = list(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
start["ignored"] = [number for number in (1, 2, 15) if signal.getsignal(number) is signal.SIG_IGN]
start["numbers"] = [0, 1, 2]
socket.send_fds(line, [b"w"], start["numbers"])
line.sendall(json.dumps(start).encode() + b"\\n")
code = int(line.recv(16) or b"255")
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextlib.contextmanager
def forking_interpreter() -> Iterator[str]:
    """Give the path of such a file, which is `sys.executable` while a cluster is started. The workers are descendants of this process."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        client, address = Path(folder, "python"), str(Path(folder, "line"))
        client.write_text(_CLIENT.format(python=sys.executable, address=address))
        client.chmod(0o700)
        listener.bind(address)
        listener.listen()
        code = f"from tests.interpreter import serve; serve({listener.fileno()}, {str(client)!r})"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        options = {"stdin": subprocess.PIPE, "pass_fds": [listener.fileno()], "env": {**os.environ, "PYTHONPATH": path}}
        with Program([sys.executable, "-c", code], **options):  # at the end its input is closed, and it ends
            yield str(client)


def serve(number: int, client: str) -> None:
    """Fork a process for each connection to this socket, until the input of this one ends."""
    sys.executable = client
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(fileno=number) as listener:
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            line, _ = listener.accept()
            if not os.fork():
                _attend(line)
            line.close()


def _attend(line: socket.socket) -> NoReturn:
    """Fork the worker, wait for its end and report it; kill it when the client ends before it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    end_with_parent(os.getppid())
    _, files, _, _ = socket.recv_fds(line, 1, 3)
    with line.makefile() as text:
        start = json.loads(text.readline())
    pid = os.fork()
    if not pid:
        _become(start, files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, line], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        line.send(str(code).encode())
    os._exit(0)
