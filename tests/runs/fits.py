"""Models whose fits last, or do what no fit should. Each says in a file that it has begun: its process, and what it is."""

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
from sklearn.naive_bayes import GaussianNB


def note(file: str, text: object) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{os.getpid()} {text}\n")


def noted(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


class Sleeper(GaussianNB):
    """Sleeps, and says which labels it has learned."""

    def __init__(self, file="", seconds=0.2):
        super().__init__()
        self.file, self.seconds = file, seconds

    def fit(self, X, y, sample_weight=None):
        note(self.file, zlib.crc32(np.ascontiguousarray(y)))
        time.sleep(self.seconds)
        return super().fit(X, y)


class Stuck(GaussianNB):
    """Never ends."""

    def __init__(self, file="", kind=""):
        super().__init__()
        self.file, self.kind = file, kind

    def fit(self, X, y, sample_weight=None):
        if self.kind == "children":  # one in the process group, and one in a session of its own
            children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=i > 0) for i in range(2)]
        note(self.file, self.kind)
        if self.kind == "loop":
            while True:
                pass
        if self.kind == "library":
            matrix = np.ones((3000, 3000))
            while True:
                matrix @ matrix
        if self.kind == "hold":
            sum(range(10**12))  # in C, without letting go of the interpreter
        time.sleep(600)
        return children


class Unpleasant(Exception):
    """Cannot be told, nor pickled."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self):
        raise ValueError("no text")


class Nasty(GaussianNB):
    """Ends its fit in a way of its own."""

    def __init__(self, file="", kind=""):
        super().__init__()
        self.file, self.kind = file, kind

    def fit(self, X, y, sample_weight=None):
        note(self.file, self.kind)
        if self.kind == "exit":
            sys.exit(0)
        if self.kind == "interrupt":
            raise KeyboardInterrupt
        if self.kind == "memory":
            raise MemoryError
        if self.kind == "recursion":
            return self.fit(X, y)
        if self.kind == "unpleasant":
            raise Unpleasant
        if self.kind == "huge":
            raise RuntimeError("x" * 10**7)
        if self.kind == "gone":
            os._exit(0)
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().fit(X, y)
