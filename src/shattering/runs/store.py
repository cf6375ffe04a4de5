"""`Store`: one folder a run, of JSON, Parquet and safetensors; every file is written aside and renamed."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import pandas as pd
from filelock import FileLock, Timeout

from shattering.errors import InputError
from shattering.files import write_aside
from shattering.runs.objects import Objects
from shattering.runs.remote import Remote, bring
from shattering.runs.spec import RunSpec
from shattering.runs.study import StudySpec

Status = Literal["done", "failed", "running", "interrupted", "missing"]


AnySpec = RunSpec | StudySpec


class Busy(Exception):
    """Another process is at a run."""


@dataclass(frozen=True)
class Stored:
    """What a store has of a spec.

    status: "missing" if it has nothing of it. result, provenance: empty unless done. error: why it failed.
    """

    spec: AnySpec
    folder: Path
    status: Status
    result: dict
    provenance: dict
    error: str | None = None

    @property
    def run_id(self) -> str:
        return self.folder.name.rpartition("-")[2]

    @property
    def outcome(self) -> str:
        """What came of it, or the error, for a line about it."""
        numbers = [f"{name} {value:.4g}" for name, value in self.result.items() if isinstance(value, float)]
        return self.error or "  ".join(numbers[:4])


@dataclass(frozen=True)
class Run(Stored):
    """A stored run of a learner."""

    spec: RunSpec

    @property
    def outcome(self) -> str:
        """Train and test accuracy, or the error, for a line about this run."""
        if self.result:
            return f"train {self.result['train_accuracy']:.1%}  test {self.result['test_accuracy']:.1%}"
        return self.error or ""

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch; see `NetworkClassifier`. Empty for learners without epochs.

        The seconds of the epochs come from the provenance: the stored history is the same for the same run.
        """
        return pd.read_parquet(self.folder / "history.parquet").assign(seconds=self.provenance["epoch_seconds"])

    @cached_property
    def examples(self) -> pd.DataFrame:
        """One row a training example; see `Tracker.table`. Raises InputError for a run without `track_examples`."""
        path = self.folder / "examples.parquet"
        if not path.exists():
            raise InputError(f"run {self.folder.name} has no stored examples, expected one of a network with track_examples")
        return pd.read_parquet(path)

    def model(self, given: Objects | None = None):
        """The fitted learner, from the stored weights. given: the learner, if it was an object. Raises InputError if there are none."""
        path = self.folder / "model.safetensors"
        if not bring(path):
            raise InputError(f"run {self.folder.name} has no stored model")
        return self.spec.build(given).load(path)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Record(Stored):
    """A stored study."""

    spec: StudySpec

    @cached_property
    def table(self) -> pd.DataFrame:
        """The study's table."""
        return pd.read_parquet(self.folder / "table.parquet")


class Store:
    """A folder of runs, or a place for them in object storage. Any number of processes may use a folder at once.

    root: a folder, or a URL that fsspec knows, such as "s3://BUCKET/PREFIX" or "gs://BUCKET/PREFIX". What is at a URL is
    mirrored in a folder of the user's cache, where runs are executed and read; see `shattering.runs.remote.Remote`.
    """

    def __init__(self, root: str | Path = "runs"):
        self.remote = Remote(str(root)) if "://" in str(root) else None
        self.root = self.remote.mirror if self.remote else Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"store {self.root} is a file, expected a folder")
        if not self.remote and re.match(r"\w\w+:/\w", str(root)):
            raise InputError(f"store is the path {str(root)!r}, expected a text such as {str(root).replace(':/', '://', 1)!r}, not a Path")

    @property
    def where(self) -> str:
        """What opens the same store in another process: the URL, or the whole path."""
        return self.remote.url if self.remote else str(self.root.absolute())

    def refresh(self) -> bool:
        """See what is in object storage now; a folder needs none of it. False if there is no store."""
        return self.remote.refresh(self.is_locked) if self.remote else self.root.is_dir()

    def fetch(self, spec: AnySpec) -> None:
        """The same for one run."""
        if self.remote:
            self.remote.fetch(self.folder(spec))

    def folder(self, spec: AnySpec) -> Path:
        """Where a run is, or would be."""
        usual = self.root / spec.folder_name
        if usual.exists():
            return usual
        others = os.listdir(self.root) if self.root.is_dir() else []
        end = f"-{spec.run_id}"
        return next((self.root / name for name in others if name.endswith(end)), usual)  # the data may have had another name

    def runs(self) -> list[Run]:
        """All runs of learners, sorted by folder name. Raises InputError if there is no store."""
        return [stored for stored in self.everything() if isinstance(stored, Run)]

    def everything(self) -> list[Run | Record]:
        """All runs and studies, sorted by folder name. Raises InputError if there is no store."""
        if not self.refresh():
            raise InputError(f"store {self.remote.url if self.remote else self.root} does not exist, expected a folder of runs")
        return [self.read(path.parent) for path in sorted(self.root.glob("*/spec.json"))]

    def find(self, text: str) -> Run | Record:
        """The one run whose id or folder name starts with text. Raises InputError if it is not one."""
        self.refresh()
        folders = [p.parent for p in self.root.glob("*/spec.json")]
        hits = [f for f in folders if f.name.startswith(text) or f.name.rpartition("-")[2].startswith(text)]
        if len(hits) != 1:
            found = "none" if not hits else f"{len(hits)} ({', '.join(sorted(h.name for h in hits)[:3])}, …)"
            raise InputError(f"runs in {self.root} that start with {text!r}: found {found}, expected one")
        return self.read(hits[0])

    @overload
    def get(self, spec: RunSpec) -> Run | None: ...
    @overload
    def get(self, spec: StudySpec) -> Record | None: ...
    def get(self, spec: AnySpec) -> Run | Record | None:
        """The run of a spec, or None if the store has nothing of it."""
        folder = self.folder(spec)
        if self.remote and not (folder / "result.json").exists():  # a run that is done does not change
            self.remote.fetch(folder)
        return self.read(folder) if (folder / "spec.json").exists() else None  # type: ignore[return-value]

    def read(self, folder: Path) -> Run | Record:
        """The run in a folder. Raises InputError for files that are damaged."""
        spec = read_spec(_read_json(folder / "spec.json"))
        if (folder / "result.json").exists():
            return stored(spec, folder, "done", _read_json(folder / "result.json"), _read_json(folder / "provenance.json"))
        if self.is_locked(folder):
            return stored(spec, folder, "running")
        if (folder / "failed.json").exists():
            return stored(spec, folder, "failed", error=str(_read_json(folder / "failed.json")["error"]))
        return stored(spec, folder, "interrupted")

    @contextmanager
    def lock(self, folder: Path, wait: bool = True) -> Iterator[None]:
        """Hold a run. The system releases it when the holder dies.

        wait: for whoever holds it; else raise Busy if somebody does.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock", timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            raise Busy(f"another process is at {folder.name}") from None
        try:
            yield
        finally:
            lock.release()

    def is_locked(self, folder: Path) -> bool:
        """Whether some process works on a run."""
        if not (folder / "lock").exists():
            return False
        try:
            with FileLock(folder / "lock", timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def executing(
        self, spec: AnySpec, is_failure: Callable[[Exception], bool] = lambda _: True, wait: bool = True
    ) -> Iterator[tuple[Path, bool]]:
        """Hold a run while it is executed. Gives its folder, and whether it has to be.

        An exception marks the run as failed, unless is_failure says that it leaves the run to be resumed. wait: see `lock`.
        """
        folder = self.folder(spec)
        with self.lock(folder, wait):
            if self.remote:
                self.remote.fetch(folder, checkpoint=True)
            missing = not (folder / "result.json").exists()
            if missing:
                write_json(folder / "spec.json", spec.to_json())
            with self.remote.followed(folder) if self.remote and missing else nullcontext():
                try:
                    yield folder, missing
                except Exception as error:
                    if not is_failure(error):
                        raise
                    with suppress(OSError):  # no space for the mark either; the error itself is on its way to the user
                        self.fail(spec, f"{type(error).__name__}: {error}")
                    raise

    def fail(self, spec: AnySpec, error: str) -> None:
        """Mark a run as failed; a later sweep tries it again."""
        folder = self.folder(spec)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "spec.json").exists():
            write_json(folder / "spec.json", spec.to_json())
        write_json(folder / "failed.json", {"error": error})
        if self.remote:
            self.remote.send(folder, ["spec.json", "failed.json"])


def read_spec(data: dict) -> AnySpec:
    """The spec of a run or study from its JSON. Raises InputError for unknown fields."""
    return StudySpec.from_json(data) if "study" in data else RunSpec.from_json(data)


def stored(
    spec: AnySpec, folder: Path, status: Status, result: dict | None = None, provenance: dict | None = None, error: str | None = None
) -> Run | Record:
    """A `Run` or a `Record`, as the spec is."""
    if isinstance(spec, StudySpec):
        return Record(spec, folder, status, result or {}, provenance or {}, error)
    return Run(spec, folder, status, result or {}, provenance or {}, error)


def write_json(path: Path, data: object) -> None:
    """Write JSON, indented, aside and renamed."""
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    write_aside(path, lambda aside: aside.write_text(text))


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable, remove its folder to run it again: {error}") from None
