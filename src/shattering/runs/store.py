"""`Store`: one folder per run, with JSON, Parquet and safetensors; every file is written aside and renamed."""

from __future__ import annotations

import errno
import json
import os
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock, Timeout

from shattering.brief import cut
from shattering.errors import InputError, counted, named, printable, shown
from shattering.parameters import check
from shattering.runs import reading
from shattering.runs.base import Spec
from shattering.runs.copies import each_once
from shattering.runs.reading import Damaged, Newer
from shattering.runs.stored import UNREADABLE, Found, Run, S, Status, Unread, check_readable, has_id, id_in, is_of_model
from shattering.system.files import leftovers, write_own

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None

_LOOKS, _PAUSE = 4, 0.02  # attempts to read a run whose files come and go, and seconds between them
_TRACEBACK = 20_000  # characters that are kept of a traceback


class Busy(Exception):
    """Another process executes the run, and `run` was called with wait=False."""


class Store:
    """A folder of runs, or a place for them in object storage. Any number of processes may use a folder at once.

    Args:
        root: a folder, or a URL that fsspec knows, such as "s3://BUCKET/PREFIX" or "gs://BUCKET/PREFIX". A URL is mirrored in a
            folder of the user's cache, where runs are executed and read; see `shattering.runs.remote.Remote`. "~" is the home folder.

    Raises:
        InputError: for a root that is neither a folder, nor can become one, nor a URL.

    Example:
        >>> from shattering import Store
        >>> [run.status for run in Store("runs").runs()]  # doctest: +SKIP
        ['done', 'failed']
    """

    def __repr__(self) -> str:
        return cut(f"Store({str(self.where)!r})")

    def __init__(self, root: str | Path = "runs"):
        check("store", root, Annotated[str | os.PathLike, "a folder or a URL"])
        self.remote, self.root = None, Path(os.path.expanduser(root))
        if not str(root) or "\0" in str(root):
            raise InputError(f"store is {str(root)!r}, expected a folder or a URL")
        if "://" in str(root):
            from shattering.runs.remote import Remote

            self.remote = Remote(str(root))
            self.root = self.remote.mirror
        elif re.match(r"\w\w+:/\w", str(root)):
            raise InputError(f"store is the path {str(root)!r}, expected a text such as {str(root).replace(':/', '://', 1)!r}, not a Path")
        if os.path.lexists(self.root) and not self.root.is_dir():
            kind = "a link to nowhere" if self.root.is_symlink() and not self.root.exists() else "a file"
            raise InputError(f"store {self.root} is {kind}, expected a folder")

    @property
    def where(self) -> str:
        """The URL or the whole path, which opens the same store in another process."""
        return self.remote.url if self.remote else str(self.root.absolute())

    def refresh(self) -> bool:
        """Update the mirror of object storage; a folder needs no update. Returns False if there is no store."""
        return self.remote.refresh(self.is_locked) if self.remote else self.root.is_dir()

    def fetch(self, spec: Spec) -> None:
        """Update the mirror for one run."""
        if self.remote:
            self.remote.fetch(self.folder(spec))

    def folder(self, spec: Spec) -> Path:
        """Return the folder of a run, which need not exist."""
        usual = self.root / spec.folder_name
        if usual.exists():
            return usual
        others = os.listdir(self.root) if self.root.is_dir() else []
        end = f"-{spec.run_id}"
        return next((self.root / name for name in others if name.endswith(end)), usual)  # the data may have had another name

    def runs(self) -> list[Run]:
        """Return all runs of models, sorted by folder name, with a warning for those whose spec cannot be read.

        Raises InputError if there is no store.
        """
        return of_models(self.everything(), f"store {self.where}")

    def everything(self) -> list[Found]:
        """Return all runs and studies, sorted by folder name, with those that cannot be read.

        A run whose folder was copied or renamed, so that several folders have it, is there once, with a warning that names the others.
        Raises InputError if there is no store.
        """
        self._check_there()
        return each_once([stored for folder in self._folders() if (stored := self.read(folder))], f"store {self.where}")

    def find(self, text: str) -> Run[Any]:
        """Return the one run whose id or folder name starts with text, or whose folder's path it is.

        A whole name means that folder, also beside copies of it. Several copies of one run are one, with a warning that names them.
        Raises InputError if there is no store, there is not one such run, or it is unreadable.
        """
        check("run", text, str)
        self._check_there()
        path = os.path.realpath(text) if os.sep in text and "\0" not in text else ""
        text = os.path.basename(path) if os.path.dirname(path) == os.path.realpath(self.root) else text
        folders = [folder for folder in self._folders() if folder.name.startswith(text) or id_in(folder).startswith(text)]
        folders = [folder for folder in folders if folder.name == text] or folders
        hits = each_once([stored for folder in folders if (stored := self.read(folder))], f"store {self.where}")
        if len(hits) != 1:
            names = ", ".join(hit.folder.name for hit in hits[:3])
            matching = "none" if not hits else f"{len(hits)} ({names}{', …' if len(hits) > 3 else ''})"
            raise InputError(f"runs in {self.root} that start with {text!r}: found {matching}, expected one")
        if isinstance(hits[0], Unread) or hits[0].status in UNREADABLE:
            raise InputError(hits[0].error)
        return hits[0]

    def _check_there(self) -> None:
        if not self.refresh():
            raise InputError(f"store {self.remote.url if self.remote else self.root} does not exist, expected a folder of runs")

    def get(self, spec: S) -> Run[S] | None:
        """Return the run of a spec, with the status "damaged" or "newer" if it cannot be read; None if the store has no such run."""
        check("spec", spec, Spec)
        folder = self.folder(spec)
        if self.remote and not (folder / "result.json").exists():  # a run that is done does not change
            self.remote.fetch(folder)
        return self._here(spec, folder)

    def of(self, spec: S) -> Run[S]:
        """Return the run of a spec, with the status "missing" if the store has no such run."""
        return self.get(spec) or Run(spec, self.folder(spec), "missing")

    def _here(self, spec: S, folder: Path) -> Run[S] | None:
        """Return the run in the folder of a spec."""
        stored = self.read(folder)
        return Run(spec, folder, stored.status, error=stored.error) if isinstance(stored, Unread) else stored

    def read(self, folder: Path) -> Found | None:
        """Return the run in a folder; None if the folder holds no run."""
        lost = ""
        for look in range(_LOOKS):
            try:
                return self._look(folder)
            except FileNotFoundError as error:  # somebody removes it, or it is damaged
                lost = str(error.filename)
                if not (os.path.lexists(folder / "spec.json") or _is_left(folder)):
                    return None
                time.sleep(_PAUSE * (look < _LOOKS - 1))
        return self._unreadable(folder, "damaged", f"{lost} is missing, {reading.REMEDY}")

    def _look(self, folder: Path) -> Found:
        """Return the run in a folder now. Raises FileNotFoundError for a file that is missing."""
        try:
            spec = reading.read_spec(folder / "spec.json")
            if not (folder / "result.json").exists():
                running = self.is_locked(folder)
                if not (folder / "result.json").exists():  # it may have been written meanwhile
                    return self._unfinished(spec, folder, running)
            return Run(spec, folder, "done", reading.read_result(folder, spec), reading.read_provenance(folder, spec))
        except Damaged as error:
            return self._unreadable(folder, "damaged", str(error))
        except Newer as error:
            return self._unreadable(folder, "newer", str(error))

    def _unfinished(self, spec: Spec, folder: Path, running: bool) -> Run[Spec]:
        failure = reading.read_failure(folder) if (folder / "failed.json").exists() else None
        if running:
            return Run(spec, folder, "running")
        if failure:
            return Run(spec, folder, "failed", error=failure[0], traceback=failure[1])
        return Run(spec, folder, "interrupted")

    def _unreadable(self, folder: Path, status: Status, error: str) -> Found:
        """Return a run with a damaged file. It has its spec, unless that file is the damaged one."""
        try:
            return Run(reading.read_spec(folder / "spec.json"), folder, status, error=error)
        except (InputError, FileNotFoundError):
            return Unread(folder, status, error)

    def _folders(self) -> list[Path]:
        """Return the folders that may hold a run, sorted by name."""
        if not self.root.is_dir():
            return []
        with os.scandir(self.root) as entries:
            return sorted(Path(self.root, entry.name) for entry in entries if os.path.isdir(entry.path))

    @contextmanager
    def lock(self, folder: Path, wait: bool = True) -> Iterator[None]:
        """Hold the lock of a run. The system releases it when the holder dies.

        wait: True waits for another holder; False raises Busy if there is one.
        """
        lock = FileLock(folder / "lock", timeout=-1 if wait else 0)
        for look in range(_LOOKS):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
                break
            except Timeout:
                raise Busy(f"another process is at {folder.name}") from None
            except FileNotFoundError:  # the holder has removed the folder, as its input was bad
                if look == _LOOKS - 1:
                    raise
        try:
            yield
        finally:
            lock.release()

    def is_locked(self, folder: Path) -> bool:
        """Return whether some process executes a run. Nothing is written, so that a read-only store can be read."""
        try:
            return _is_held(folder / "lock")
        except OSError:  # there is no lock, or it cannot be read, or the file system has no locks
            return False

    @contextmanager
    def executing(
        self, spec: Spec, is_failure: Callable[[Exception], bool] = lambda _: True, wait: bool = True
    ) -> Iterator[tuple[Path, bool]]:
        """Hold the lock of a run while it is executed. Gives (its folder, True if it has to be executed).

        An exception marks the run as failed, unless is_failure says that the run can be resumed. Bad input that is found before
        training leaves the store as it was. Raises InputError, and writes nothing, for a run that is there but cannot be
        read. wait: as for `lock`.
        """
        folder, new_store = self.folder(spec), not self.root.exists()
        if not self.remote and (folder / "result.json").exists():  # it does not change any more, and the store may be read-only
            check_readable(self._here(spec, folder))
            yield folder, False
            return
        with self.lock(folder, wait):
            if self.remote:
                self.remote.fetch(folder, checkpoint=True)
            for file in leftovers(folder):  # of a writer that was killed
                file.unlink(missing_ok=True)
            check_readable(self._here(spec, folder))
            missing, new = not (folder / "result.json").exists(), not (folder / "spec.json").exists()
            if missing:
                write_json(folder / "spec.json", spec.to_json())
            with self.remote.followed(folder) if self.remote and missing else nullcontext():
                try:
                    yield folder, missing
                except Exception as error:
                    if isinstance(error, InputError) and error.before_training:
                        self._forget(folder, new, new_store)
                    elif is_failure(error):
                        self.fail_by(spec, error)
                    raise

    def _forget(self, folder: Path, new: bool, new_store: bool) -> None:
        """Remove the files of a run that is locked and new, and the store if it is new as well."""
        if not new:
            return
        with suppress(OSError):  # the error itself is on its way to the user
            (folder / "spec.json").unlink()
            if self.remote:
                self.remote.remove(folder, ["spec.json"])
            (folder / "lock").unlink()  # a process that waits for it makes another one
            folder.rmdir()
            if new_store:
                self.root.rmdir()

    def fail_by(self, spec: Spec, error: Exception) -> None:
        """Mark a run as failed by an exception, with its traceback. Nothing is raised if the mark cannot be written."""
        with suppress(OSError):  # the error itself is on its way to the user
            self.fail(spec, named(error), "".join(traceback.format_exception(error)))

    def fail(self, spec: Spec, error: str, trace: str | None = None) -> None:
        """Mark a run as failed; a later sweep tries it again. A run that cannot be read is left as it is.

        trace: the traceback. The middle of a long one is left out.
        """
        folder = self.folder(spec)
        run = self._here(spec, folder)
        if run and run.status in UNREADABLE:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not run:
            write_json(folder / "spec.json", spec.to_json())
        write_json(folder / "failed.json", {"error": _shortened(error)} | ({"traceback": _shortened(trace)} if trace else {}))
        if self.remote:
            self.remote.send(folder, ["spec.json", "failed.json"])


def write_json(path: Path, data: object) -> None:
    """Write JSON, indented, aside and renamed."""
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    write_own(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def _is_left(folder: Path) -> bool:
    """Return whether a folder has the result of a run, as its name says, of which the specification may have been removed."""
    return has_id(folder) and (folder / "result.json").exists()


def _shortened(text: str) -> str:
    if len(text) <= _TRACEBACK:
        return text
    return f"{text[: _TRACEBACK // 4]}\n… {len(text) - _TRACEBACK:,} characters left out …\n{text[-3 * _TRACEBACK // 4 :]}"


def _is_held(lock: Path) -> bool:
    """Return whether a process holds a lock. Raises OSError if the file system does not tell."""
    if fcntl is None:
        try:
            with FileLock(lock, timeout=0) if lock.exists() else nullcontext():
                return False
        except Timeout:
            return True
    with open(os.open(lock, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):  # these say that another process holds it
                return True
            raise
    return False


def of_models(found: Sequence[Found], where: str = "runs") -> list[Run]:
    """Return the runs of models among what was found, with a warning that names `where`, if some cannot be read."""
    if unread := [stored for stored in found if isinstance(stored, Unread)]:
        text = f"{where} has {counted(len(unread), 'run')} left out, which cannot be read; the first: {unread[0].error}"
        warnings.warn(printable(text), stacklevel=3)
    return [stored for stored in found if is_of_model(stored)]


A_STORE = Annotated[Store, "a Store, such as Store('runs')"]
Runs = Store | str | Path | Iterable[Found]  # a store, its folder or URL, or runs


def found_in(runs: Runs) -> tuple[list[Found], Store | None]:
    """Return the runs that are meant, readable or not, and the store if one is given.

    Args:
        runs: a store, its folder or URL, or runs.

    Raises:
        InputError: for anything else, and for a store that does not exist.

    Example:
        >>> found_in([])
        ([], None)
    """
    if isinstance(runs, (Store, str, Path)):
        store = runs if isinstance(runs, Store) else Store(runs)
        return store.everything(), store
    given = list(runs) if isinstance(runs, Iterable) else None
    strange = [runs] if given is None else [run for run in given if not isinstance(run, (Run, Unread))]
    if given is None or strange:
        has = "is" if given is None else "has"
        raise InputError(f"runs {has} {shown(strange[0])}, expected a store, its folder, or a list of runs")
    return given, None


def models_in(runs: Runs) -> list[Run]:
    """Return the runs of models among those that are meant, with a warning for those that cannot be read; see `found_in`."""
    return of_models(found_in(runs)[0])
