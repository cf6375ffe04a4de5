"""A store in object storage, through fsspec. A local folder mirrors it: runs are read and executed there, then uploaded."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shattering.errors import InputError, printable, reason, shown
from shattering.system.cache import cache_folder

UPLOAD_SECONDS = 60.0  # seconds between uploads of a run's checkpoint
_DONE, _CHECKPOINT = "result.json", "checkpoint.pt"
_WHEN_ASKED = ("model.safetensors", _CHECKPOINT)  # not mirrored with the rest
_ORIGIN = ".origin"  # in a mirror: the URL of what it mirrors
_INCOMING = ".incoming-"  # in a mirror: folders of files that are being downloaded
_OURS = (_ORIGIN, _INCOMING)
_OF_THE_EXTRA = ("s3", "s3a", "gs", "gcs")  # protocols whose packages the extra `cloud` installs

Listing = Mapping[str, set[str]]  # folder → names of its files


class Remote:
    """Runs beneath a URL such as s3://BUCKET/PREFIX, and their mirror.

    Object stores have no locks: two machines that take the same run both compute it. The first to finish is kept. If two finish at the
    same moment, the last to write is kept; its bytes are the same on machines of the same kind. Within a machine the mirror's locks
    hold. A run is uploaded file by file, result.json last.

    Raises:
        InputError: for a protocol that is unknown or needs a package that is not installed.

    Example:
        >>> Remote("memory://runs").url
        'memory://runs'
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.files, self.path = _open(self.url)
        self.mirror = _mirror_of(self.url)

    def refresh(self, is_locked: Callable[[Path], bool]) -> bool:
        """Update the mirror. Returns False if there is nothing at the URL. Runs that a process of this machine executes are skipped."""
        self.make_mirror()
        listing = self._list()
        for folder in [path.parent for path in self.mirror.glob("*/spec.json")]:
            if folder.name not in listing and not is_locked(folder):
                _remove(folder)
        self._bring({name: files for name, files in listing.items() if not is_locked(self.mirror / name)}, _WHEN_ASKED)
        return bool(listing)

    def fetch(self, folder: Path, checkpoint: bool = False) -> None:
        """Update one run; with `checkpoint` also that file, unless the local one is newer. A run whose upload was cut short is uploaded."""
        self.make_mirror()
        names = self._list(folder.name).get(folder.name, set())
        wanted = checkpoint and _CHECKPOINT in names and not self._is_newer_here(folder / _CHECKPOINT)
        self._bring({folder.name: names}, _WHEN_ASKED[:1] if wanted else _WHEN_ASKED)

    @contextmanager
    def followed(self, folder: Path) -> Iterator[None]:
        """Upload checkpoints now and then while a run executes in a folder of the mirror, and everything at the end."""
        self.send(folder, ["spec.json"])
        over = threading.Event()
        sender = threading.Thread(target=self._send_checkpoints, args=(folder, over), daemon=True)
        sender.start()
        try:
            yield
        except BaseException:
            with suppress(OSError):  # the error itself is on its way to the user
                self.send(folder, [_CHECKPOINT])
            raise
        finally:
            over.set()
            sender.join()
        self.publish(folder)

    def publish(self, folder: Path) -> None:
        """Upload a run that is done, result.json last. If another machine was first, its files are downloaded instead."""
        if _DONE in self._list(folder.name).get(folder.name, ()):
            for name in (_DONE, *_WHEN_ASKED):
                (folder / name).unlink(missing_ok=True)
            self.fetch(folder)
            return
        names = [path.name for path in folder.iterdir() if _is_sent(path.name) and not path.is_symlink()]
        self.send(folder, sorted(names, key=lambda name: name == _DONE))
        self.remove(folder, [_CHECKPOINT, "failed.json"])

    def send(self, folder: Path, names: Iterable[str]) -> None:
        """Upload the files of a run that exist, in this order."""
        with self._reaching():
            for name in names:
                if (folder / name).exists():
                    self.files.put_file(str(folder / name), f"{self.path}/{folder.name}/{name}")

    def remove(self, folder: Path, names: Iterable[str]) -> None:
        """Remove the files of a run that exist."""
        with self._reaching():
            for name in names:
                with suppress(FileNotFoundError):
                    self.files.rm_file(f"{self.path}/{folder.name}/{name}")

    def bring(self, folder: str, name: str) -> None:
        """Download a file that was not mirrored, if it exists."""
        if name in self._list(folder).get(folder, ()):
            self._get([(folder, name)])

    def make_mirror(self) -> None:
        """Make the mirror's folder, with the URL that it mirrors."""
        self.mirror.mkdir(parents=True, exist_ok=True)
        origin = self.mirror / _ORIGIN
        if not origin.exists():
            origin.write_text(self.url)

    def _send_checkpoints(self, folder: Path, over: threading.Event) -> None:
        sent = 0
        while not over.wait(UPLOAD_SECONDS):
            with suppress(OSError):  # the next upload may succeed; a failure at the end of the run is reported
                if (written := (folder / _CHECKPOINT).stat().st_mtime_ns) != sent:
                    self.send(folder, [_CHECKPOINT])
                    sent = written

    def _list(self, folder: str = "") -> dict[str, set[str]]:
        folders: dict[str, set[str]] = {}
        with self._reaching():
            self.files.invalidate_cache()
            try:
                paths = self.files.find(f"{self.path}/{folder}".rstrip("/"))
            except FileNotFoundError:
                paths = []
        refused = []
        for path in paths:
            parts = path.removeprefix(f"{self.path}/").split("/")
            if not path.startswith(f"{self.path}/") or not all(map(_is_name, parts)):
                refused.append(path)
            elif len(parts) == 2 and _is_sent(parts[1]) and not parts[0].startswith(_OURS):
                folders.setdefault(parts[0], set()).add(parts[1])
        if refused:
            keys = ", ".join(map(shown, refused[:3])) + (", …" if len(refused) > 3 else "")
            text = f"store {self.url} has {len(refused)} keys that are no names of a file in a folder, and are left out: {keys}"
            warnings.warn(printable(text), stacklevel=2)
        return {name: files for name, files in folders.items() if "spec.json" in files}

    def _bring(self, listing: Listing, but: Iterable[str]) -> None:
        """Download files that are missing or outdated locally. Finished runs never change and are skipped."""
        wanted: list[tuple[str, str]] = []
        for name, files in listing.items():
            here = self.mirror / name
            if (here / _DONE).exists():
                if files and _DONE not in files:
                    self.publish(here)
                continue
            wanted += [(name, file) for file in files if file not in but]
            for old in {"failed.json"} - files:
                (here / old).unlink(missing_ok=True)
        if wanted:
            self._get(sorted(wanted, key=lambda pair: pair[1] == _DONE))

    def _get(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Download files, given as (folder, name), together, and move them into place in this order."""
        with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=self.mirror) as incoming, self._reaching():
            places = [os.path.join(incoming, str(i)) for i in range(len(wanted))]
            self.files.get([f"{self.path}/{name}/{file}" for name, file in wanted], places)
            for (name, file), place in zip(wanted, places, strict=True):
                if (self.mirror / name).is_symlink():  # nothing is written elsewhere
                    _remove(self.mirror / name)
                (self.mirror / name).mkdir(exist_ok=True)
                os.replace(place, self.mirror / name / file)

    def _is_newer_here(self, path: Path) -> bool:
        if not path.exists():
            return False
        with self._reaching():
            sent = self.files.modified(f"{self.path}/{path.parent.name}/{path.name}")
        return path.stat().st_mtime >= sent.timestamp()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn errors on the way into an OSError of one sentence, whatever library they come from."""
        try:
            yield
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(error.errno, f"no space left for what store {self.url} has; free some in {self.mirror}") from error  # type: ignore[attr-defined]  # getattr above has checked it
            raise OSError(f"store {self.url} cannot be reached: {type(error).__name__}: {reason(error)}") from error


def bring(path: Path) -> bool:
    """Return whether a file of a run exists here. One that was left out of a mirror is downloaded first.

    A copied store that claims to be a mirror is not one: nothing is downloaded for it.
    """
    store = path.parent.parent
    if path.exists() or not (store / _ORIGIN).is_file():
        return path.exists()
    url = (store / _ORIGIN).read_text()
    if _mirror_of(url).resolve() == store.resolve():
        Remote(url).bring(path.parent.name, path.name)
    return path.exists()


def _mirror_of(url: str) -> Path:
    """Return the folder of this user's cache that mirrors a URL."""
    name = re.sub(r"[^\w.-]+", "-", url)[-60:].strip("-")
    return cache_folder() / "stores" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _is_name(text: str) -> bool:
    """Return whether a part of a key can be the name of a file on any system, and leads nowhere else."""
    try:
        length = len(os.fsencode(text))
    except UnicodeEncodeError:
        return False
    return 0 < length < 256 and text not in (".", "..") and not re.search(r"[\x00-\x1f\x7f\\]", text)


def _is_sent(name: str) -> bool:
    """Return whether a file belongs to a run: neither a lock nor an unfinished file."""
    return name != "lock" and not name.endswith(".tmp") and not name.startswith(".")


def _remove(folder: Path) -> None:
    """Remove a folder of the mirror. Of a link only the link is removed."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _open(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path on it."""
    from fsspec.core import url_to_fs
    from fsspec.registry import get_filesystem_class

    protocol = url.partition("://")[0]
    try:
        get_filesystem_class(protocol)
        files, path = url_to_fs(url, **({"auto_mkdir": True} if protocol in ("file", "local") else {}))
    except ImportError as error:
        remedy = ': pip install "shattering[cloud]"' if protocol in _OF_THE_EXTRA else ""
        raise InputError(f"store {url} needs a package that is not installed ({reason(error)}){remedy}") from None
    except ValueError as error:
        raise InputError(
            f"store {url} has no protocol that fsspec knows, expected s3://BUCKET/PREFIX, gs://… or a folder: {error}"
        ) from None
    return files, path.rstrip("/")
