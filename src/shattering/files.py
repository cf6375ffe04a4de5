"""Files that a kill leaves as they were or as they should be."""

import errno
import os
from collections.abc import Callable
from pathlib import Path


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, then put it in its place in one step.

    Raises OSError in one sentence; what stood at `path` is then unharmed.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(aside)
        os.replace(aside, path)
    except Exception as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, f"no space left to write {path}; free some and give the same command again") from None
        raise
