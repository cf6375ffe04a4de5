"""Stores whose files are damaged, newer, unreadable, or come and go: they are read as far as can be, and nothing is harmed."""

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shattering import InputError, Randomization, RunSpec, Store, run, sweep
from shattering.cli import main
from shattering.report import page
from shattering.report.text import print_status
from shattering.runs.store import write_json
from shattering.runs.stored import Run, Unread
from shattering.runs.study import StudySpec
from shattering.system import files

PARAMS = {"epochs": 1, "batch_size": 25, "device": "cpu", "track_examples": True}
SPEC = RunSpec("digits", n_train=50, n_test=20, randomization=Randomization(0.5), params=PARAMS)
STUDY = StudySpec("polynomial", {"n": 5, "degrees": 2, "n_holdout": 5})
BROKEN = {  # of any JSON file
    "empty": b"",
    "cut": b'{"train_acc',
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"3",
    "bytes": b"\xff\xfe\x00\x01",
    "deep": b"[" * 2000 + b"]" * 2000,
    "less deep": b'{"a":' * 900 + b"1" + b"}" * 900,
    "NaN": b'{"error": "x", "train_accuracy": NaN}',
    "too large": b'{"error": "x", "train_accuracy": 1e999}',
}
WRONG = {  # file → what replaces some of its fields; None: left out
    "spec.json": [
        *({"randomization": value} for value in ([], "x", {"labels": 2}, {"labels": "a"}, {"permute_channels": "no"})),
        *({"params": value} for value in ([], "x", 3)),
        *({"seed": value} for value in (-1, 1.5, "0", True)),
        *({name: [1]} for name in ("dataset", "model", "n_train", "folds", "fold", "hold_out")),
    ],
    "result.json": [
        *(
            {name: None}
            for name in ("dataset", "n_train", "n_test", "n_classes", "train_accuracy", "test_accuracy", "interpolated", "examples")
        ),
        *({"train_accuracy": value} for value in ("1", True, [1.0], 1.5, -0.1)),
        *({"n_train": value} for value in (0, 1.5, True, 10**400)),
        *({"examples": value} for value in ({}, ["x"], [{"label": "1"}], [{"label": 1, "true_label": 2}])),
        *({"classes": value} for value in ("abc", [1, 2], {"a": 1})),
        {"epochs": "3"},
        {"dataset": ["digits"]},
    ],
    "provenance.json": [
        *(
            {name: None}
            for name in ("versions", "processor", "threads", "device", "started", "seconds", "epoch_seconds", "dataset_fingerprint")
        ),
        *({"versions": value} for value in ([], "x", {"torch": 2})),
        *({"epoch_seconds": value} for value in ("x", ["1"], {})),
        {"seconds": "long"},
    ],
    "failed.json": [{"error": None}, {"error": 3}, {"error": ["x"]}, {"traceback": 3}],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of a network's run and of a study that are done, and of a failed and an interrupted run; for copying."""
    store = Store(tmp_path_factory.mktemp("whole"))
    run(SPEC, store)
    run(STUDY, store)
    store.fail(RunSpec("digits", seed=1), "because", "the traceback")
    store.fail(RunSpec("digits", seed=2), "because")
    (store.folder(RunSpec("digits", seed=2)) / "failed.json").unlink()
    return store


def replaced(content: bytes, fields: dict) -> bytes:
    data = {**json.loads(content), **fields}
    return json.dumps({name: value for name, value in data.items() if value is not None}).encode()


def copy_of(folder: Path, root: Path, number: int, file: str, content: bytes | None) -> Path:
    """A copy of a run, under another id, with other content of one file, or without it."""
    copy = Path(shutil.copytree(folder, root / f"{folder.name[:-12]}{number:012x}"))
    (copy / file).unlink() if content is None else (copy / file).write_bytes(content)
    return copy


def damages(whole):
    """(folder, file, its damaged content or None) of all kinds of file and damage that make a run unreadable."""
    done, study, failed = (whole.folder(spec) for spec in (SPEC, STUDY, RunSpec("digits", seed=1)))
    for folder in (done, study, failed):
        for path in sorted(folder.glob("*.json")):
            yield from ((folder, path.name, content) for content in BROKEN.values())
    for folder, file in ((done, "spec.json"), (done, "result.json"), (done, "provenance.json"), (failed, "failed.json")):
        for fields in WRONG[file]:
            yield folder, file, replaced((folder / file).read_bytes(), fields)
    yield study, "result.json", b"{}"
    for folder in (done, study):
        yield folder, "provenance.json", b"{}"
        yield folder, "provenance.json", None
    for folder, file in ((done, "history.parquet"), (done, "examples.parquet"), (study, "table.parquet")):
        content = (folder / file).read_bytes()
        yield from ((folder, file, damaged) for damaged in (b"", content[:-20], content[: len(content) // 2], b"x" * 500))
    yield done, "history.parquet", None
    yield study, "table.parquet", None
    yield done, "history.parquet", table({"a": [1]})
    yield (
        done,
        "history.parquet",
        table({"epoch": ["1"], "step": [1], "train_loss": [1.0], "train_accuracy": [1.0], "test_accuracy": [1.0]}),
    )
    yield done, "history.parquet", table({"epoch": []})
    yield done, "examples.parquet", table({"id": [1]})


def table(columns: dict) -> bytes:
    return pd.DataFrame(columns).to_parquet()


def test_every_damaged_file_is_named_and_the_rest_of_the_store_is_read(whole, tmp_path, capsys):
    root = Path(shutil.copytree(whole.root, tmp_path / "store"))
    made = {copy_of(folder, root, i, file, content): file for i, (folder, file, content) in enumerate(damages(whole))}
    assert len(made) > 150
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    everything = Store(root).everything()
    found = {one.folder: one if isinstance(one, Unread) else one.whole() for one in everything}
    assert sorted(found[root / folder.name].status for folder in whole.root.iterdir()) == ["done", "done", "failed", "interrupted"]
    for folder, file in made.items():
        assert found[folder].status == "damaged", (folder, file, before[folder / file] if file else None)
        assert file in found[folder].error or "epoch_seconds" in found[folder].error
        assert "remove it" in found[folder].error or "remove its folder" in found[folder].error
        assert "\n" not in found[folder].error
        assert isinstance(found[folder], Unread) == (file == "spec.json")
    print_status(everything)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(everything) + 1
    html = page.render(everything)
    assert all(folder.name in html for folder in made)
    assert f"{len(everything) - 2} of {len(everything)} runs are not done" in html
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_damaged_run_is_shown_and_executed_by_nobody_and_stays_as_it_is(whole, tmp_path, capsys):
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    folder = store.folder(SPEC)
    for file in ("spec.json", "result.json", "provenance.json"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(b"null")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(
            InputError, match=rf"{file} is not readable, remove its folder to run it again: it holds null, expected an object"
        ):
            run(SPEC, store)
        assert main(["show", SPEC.run_id, "--store", str(store.root)]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"{file} is not readable" in err
        (swept,) = sweep([SPEC], store)
        assert (swept.status, swept.spec) == ("damaged", SPEC)
        store.fail(SPEC, "because")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        (folder / file).write_bytes(content)
    assert store.of(SPEC).status == "done"
    (store.folder(RunSpec("digits", seed=1)) / "failed.json").write_bytes(b"")
    with pytest.raises(InputError, match=r"failed.json is not readable, remove it to run it again: it is empty"):
        run(RunSpec("digits", seed=1), store)


def test_a_sweep_goes_on_beside_a_damaged_run(whole, tmp_path, capsys):
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    (store.folder(STUDY) / "spec.json").write_bytes(b"")
    assert main(["status", "--json", "--store", str(store.root)]) == 0
    listed = {entry["run_id"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed[STUDY.run_id]["status"] == "damaged"
    assert listed[STUDY.run_id]["spec"] is None
    runs = sweep([STUDY, SPEC], store)
    assert [found.status for found in runs] == ["damaged", "done"]
    with pytest.warns(UserWarning, match=r"has 1 run left out, which cannot be read; the first: .*spec.json is not readable"):
        assert len(store.runs()) == 3


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"colour": "red"}, "unknown field of a run's specification: 'colour'"),
        ({"randomization": {"labels": 1, "texture": 2}}, "unknown field of randomization: 'texture'"),
        ({"randomization": {"pixels": "melted"}}, "unknown pixels 'melted'"),
        ({"randomization": {"labels": 1.0, "label_mode": "swap"}}, "unknown label_mode 'swap'"),
    ],
)
def test_a_run_of_a_later_version_is_listed_and_left_alone(whole, tmp_path, capsys, fields, named):
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    path = store.folder(SPEC) / "spec.json"
    path.write_bytes(replaced(path.read_bytes(), fields))
    before = path.read_bytes()
    (newer,) = [found for found in store.everything() if found.status != "done" and found.run_id == SPEC.run_id]
    assert newer.status == "newer"
    assert "was written by a later version of shattering, or by hand" in newer.error
    assert named in newer.error
    with pytest.raises(InputError, match="later version"):
        run(SPEC, store)
    assert main(["status", "--store", str(store.root)]) == 0
    assert "1 newer" in capsys.readouterr().out
    assert main(["report", "--store", str(store.root), "--out", str(tmp_path / "r.html")]) == 0
    assert "its specification cannot be read" in (tmp_path / "r.html").read_text()
    assert path.read_bytes() == before


def test_models_parameters_and_studies_of_a_later_version_are_read(whole, tmp_path, capsys):
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    path, study = store.folder(SPEC) / "spec.json", store.folder(STUDY) / "spec.json"
    study.write_bytes(replaced(study.read_bytes(), {"study": "alchemy"}))
    for fields in ({"model": "oracle"}, {"params": {**PARAMS, "temperature": 3}}, {"scoring": "elegance"}):
        path.write_bytes(replaced(path.read_bytes(), fields))
        found = {one.folder.name: one for one in store.everything()}
        assert [found[p.parent.name].status for p in (path, study)] == ["done", "done"]
        assert main(["show", SPEC.run_id, "--store", str(store.root)]) == 0
        assert next(iter(fields)) in capsys.readouterr().out
        assert main(["report", "--store", str(store.root), "--out", str(tmp_path / "r.html")]) == 0
    with pytest.raises(InputError, match="unknown model 'oracle'"):
        store.find(SPEC.run_id).model()


@pytest.mark.parametrize("change", [lambda raw: b"", lambda raw: raw[:20], lambda raw: raw[:-10], lambda raw: bytes(len(raw))])
def test_damaged_weights_name_the_remedy(whole, tmp_path, change):
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    path = store.folder(SPEC) / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        InputError, match=r"model\.safetensors is not readable, remove its folder to run it again: Error while deserializing"
    ):
        store.find(SPEC.run_id).model()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file_is_not_waited_for(whole, tmp_path):
    root = Path(shutil.copytree(whole.root, tmp_path / "store"))
    folders = []
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path, path)):
        for file in ("spec.json", "result.json", "history.parquet"):
            folders.append(copy_of(Store(whole.root).folder(SPEC), root, len(folders), file, None))
            make(folders[-1] / file)
    os.symlink(root / "nowhere", root / "link-to-nothing")
    os.symlink(root, root / "link-to-itself")
    found = {one.folder: one if isinstance(one, Unread) else one.whole() for one in Store(root).everything()}
    assert {found[folder].status for folder in folders} <= {"damaged", "interrupted"}  # a link to itself is no result
    assert sum(found[folder].status == "damaged" for folder in folders) >= 11
    assert len(found) == 4 + len(folders)


def test_a_store_that_cannot_be_written_is_read(whole, tmp_path, monkeypatch, capsys):
    root = Path(shutil.copytree(whole.root, tmp_path / "store"))
    interrupted = Store(root).folder(RunSpec("digits", seed=2))
    (interrupted / "lock").touch()

    def refused(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) and str(path).startswith(str(root)):
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, flags, *rest, **more)

    opened = os.open
    monkeypatch.setattr(os, "open", refused)
    assert {found.status for found in Store(root).everything()} == {"done", "failed", "interrupted"}
    assert main(["status", "--store", str(root)]) == 0
    assert main(["show", "digits-n50", "--store", str(root)]) == 0
    assert main(["report", "--store", str(root), "--out", str(tmp_path / "r.html")]) == 0
    assert main(["paper", "figure1c", "--from", str(root), "--out", str(tmp_path / "paper")]) == 1, "its runs are missing"
    capsys.readouterr()
    assert main(["run", "--store", str(root), "--n-train", "20"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "Read-only file system: " in err
    assert err.endswith(", expected a place with permission to write\n")


def test_whether_a_run_is_locked_is_seen_without_writing(whole, tmp_path):
    store = Store(tmp_path)
    folder = store.folder(SPEC)
    assert not store.is_locked(folder)
    assert not folder.exists()
    with store.lock(folder):
        stamp = os.stat(folder / "lock")
        assert store.is_locked(folder)
        assert store.is_locked(folder), "looking does not take it"
    assert not store.is_locked(folder)
    assert os.stat(folder / "lock").st_mtime_ns == stamp.st_mtime_ns


def test_reading_while_runs_come_and_go(whole, tmp_path):
    """Readers list and report a store whose runs are written, fail, are resumed and removed by another thread."""
    store, over = Store(tmp_path / "store"), threading.Event()
    done, failed = whole.folder(SPEC), whole.folder(RunSpec("digits", seed=1))
    (store.root / "kept").mkdir(parents=True)
    shutil.copytree(done, store.root / "kept" / ".." / done.name)

    def write():
        chance = random.Random(0)
        while not over.is_set():
            folder = store.root / f"digits-s0-{chance.randrange(4):012x}"
            match chance.randrange(4):
                case 0:
                    shutil.rmtree(folder, ignore_errors=True)
                case 1:
                    folder.mkdir(exist_ok=True)
                    write_json(folder / "spec.json", json.loads((failed / "spec.json").read_bytes()))
                    write_json(folder / "failed.json", {"error": "x"})
                case 2:
                    with store.lock(folder):
                        for name in ("spec.json", "history.parquet", "examples.parquet", "examples.png", "provenance.json", "result.json"):
                            aside = folder / f".{name}.1.tmp"
                            shutil.copy(done / name, aside)
                            os.replace(aside, folder / name)
                        (folder / "failed.json").unlink(missing_ok=True)
                case 3:
                    with store.lock(folder):
                        (folder / "result.json").unlink(missing_ok=True)
                        over.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    wanted, seen, readings, deadline = {"done", "failed", "running", "interrupted"}, set(), 0, time.monotonic() + 60
    try:
        # A busy machine may give the writer no turn during many readings: they go on until it has made every status.
        while readings < 150 or not (wanted <= seen or time.monotonic() > deadline):
            seen |= {found.status for found in store.everything()}
            readings += 1
        for _ in range(5):
            html = page.render(store.everything())
            assert done.name in html
    finally:
        over.set()
        writer.join()
    assert wanted <= seen


@pytest.mark.parametrize(("rest", "status"), [(False, "missing"), (True, "damaged")])
def test_a_run_is_removed_between_the_look_for_a_table_and_its_reading(whole, tmp_path, monkeypatch, rest, status):
    """The table of examples is there when it is looked for, and gone when it is read, alone or with the rest of the run."""
    store = Store(tmp_path / "store")
    shutil.copytree(whole.folder(SPEC), store.folder(SPEC))
    run, look = store.of(SPEC), Path.exists

    def exists(path, **options):
        there = look(path, **options)
        if there and path.name == "examples.parquet":
            path.unlink() if rest else shutil.rmtree(path.parent)
        return there

    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", exists)
        assert run.whole().status == status


def test_a_result_without_its_specification_is_damaged(whole, tmp_path):
    """As a copy that was cut short leaves it; a folder of other names is nobody's run."""
    store = Store(shutil.copytree(whole.root, tmp_path / "store"))
    (store.folder(SPEC) / "spec.json").unlink()
    (store.root / "mine").mkdir()
    write_json(store.root / "mine" / "result.json", {})
    said = r"spec\.json is missing, remove its folder to run it again$"
    assert [re.search(said, found.error) is not None for found in store.everything() if found.status == "damaged"] == [True]
    assert sweep([SPEC], store)[0].status == "damaged"
    with pytest.raises(InputError, match=said):
        run(SPEC, store)


def test_odd_names_and_places(whole, tmp_path, capsys):
    for name in ("a store", "größe-日本", "line\nbreak", "[bold]x[/]", "-s", "%s", "a" * 200):
        root = tmp_path / name / "missing" / "runs"
        store = Store(root)
        store.fail(SPEC, f"in \x1b[2J{name}")
        assert [found.status for found in store.everything()] == ["failed"]
        assert main(["status", "--store", str(root)]) == 0
        out, err = capsys.readouterr()
        assert (len(out.splitlines()), err) == (2, "")
        assert "\x1b" not in out
        assert main(["report", f"--store={root}", "--out", str(tmp_path / name / "r.html")]) == 0
        assert "\x1b" not in capsys.readouterr().out
    long = RunSpec(str(tmp_path / f"{'ü' * 120}.npz"))
    assert len(f"{'ü' * 120}") == 120
    with pytest.raises(InputError, match="unknown dataset"):
        Store(tmp_path / "s").fail(long, "x")


def test_what_is_no_run_is_no_part_of_a_store(whole, tmp_path):
    root = Path(shutil.copytree(whole.root, tmp_path / "store"))
    (root / "notes.txt").write_text("x")
    (root / "empty").mkdir()
    (root / "other").mkdir()
    (root / "other" / "result.json").write_text("{}")
    (root / "digits-s0-000000000000").mkdir()
    (root / "digits-s0-000000000000" / f".spec.json.{os.getpid()}.tmp").write_text("{}")
    assert len(Store(root).everything()) == 4
    kinds = [type(run.spec) for run in Store(root).everything() if isinstance(run, Run)]
    assert (kinds.count(StudySpec), kinds.count(RunSpec)) == (1, 3)


def test_a_disk_that_is_full_at_any_write_harms_nothing(whole, tmp_path, monkeypatch):
    """Each file in turn is the first for which there is no space; then the same call completes the run."""
    make, written = files._make, []

    def full_at(n):
        def making(aside, path):
            written.append(path.name)
            if len(written) >= n:
                raise OSError(errno.ENOSPC, "No space left on device", str(aside))
            return make(aside, path)

        return making

    spec = replace(SPEC, params={**PARAMS, "checkpoint_every": 0})
    with monkeypatch.context() as never:
        never.setattr(files, "_make", full_at(1000))
        run(spec, Store(tmp_path / "0"))
    n_written = len(written)
    for n in range(1, n_written + 2):
        store = Store(tmp_path / str(n))
        written.clear()
        with monkeypatch.context() as full:
            full.setattr(files, "_make", full_at(n))
            if n == n_written + 1:
                run(spec, store)
                break
            with pytest.raises(OSError, match=r"no space left to write .*; free some and give the same command again"):
                run(spec, store)
        found = store.everything()
        assert [one.status for one in found] == (["interrupted"] if n > 1 else []), "nor is there space for the mark"
        assert not list(store.root.rglob("*.tmp"))
        assert run(spec, store).status == "done"
        for name in ("result.json", "history.parquet", "model.safetensors"):
            assert (store.folder(spec) / name).read_bytes() == (whole.folder(SPEC) / name).read_bytes()
    named = {name for name in written if not name.startswith(".")}
    assert named == {path.name for path in whole.folder(SPEC).iterdir()} - {"lock"} | {"checkpoint.pt"}
    modes = {path.stat().st_mode for path in store.folder(spec).iterdir() if path.name != "lock"}
    assert len(modes) == 1, "all files have the mode of any new file"


def test_what_killed_writers_left_is_removed_when_the_run_is_executed(tmp_path):
    store = Store(tmp_path)
    store.fail(SPEC, "x")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, living = (store.folder(SPEC) / f".note.json.{process}.tmp" for process in (child.pid, os.getpid()))
    for file in (dead, living):
        file.touch()
    assert [found.status for found in store.everything()] == ["failed"]
    assert dead.exists()
    run(SPEC, store)
    assert not dead.exists()
    assert living.exists()
