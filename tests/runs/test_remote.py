"""Stores in object storage: on fsspec's file:// as if it were remote, and on an S3 server of this machine."""

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shattering import InputError, Store, run, sweep
from shattering.cli import main
from shattering.runs import remote
from tests.runs.test_execute import PARAMS, SPEC

SENT = ["examples.png", "history.parquet", "model.safetensors", "provenance.json", "result.json", "spec.json"]


class Lost(BaseException):
    """Of a worker that is gone: nothing is sent after it."""


@pytest.fixture
def bucket(tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def on_machine(tmp_path, monkeypatch, bucket):
    """A store on the bucket as a machine with this name sees it: every machine has a mirror of its own."""

    def store(name):
        monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / name))
        return Store(f"file://{bucket}/runs")

    return store


def names(bucket, spec=SPEC):
    return sorted(path.name for path in (bucket / "runs" / spec.folder_name).iterdir())


def test_a_run_is_sent_and_read_elsewhere(bucket, on_machine, tmp_path):
    here = run(SPEC, on_machine("a"))
    assert here.status == "done"
    assert names(bucket) == SENT
    there = on_machine("b")
    (seen,) = there.runs()
    assert seen.folder.is_relative_to(tmp_path / "b")
    assert (seen.status, seen.result, seen.spec) == ("done", here.result, SPEC)
    assert seen.history.equals(here.history)
    assert not (seen.folder / "model.safetensors").exists(), "weights come when they are asked for"
    assert seen.model().predict is not None
    assert (seen.folder / "model.safetensors").read_bytes() == (here.folder / "model.safetensors").read_bytes()
    assert run(SPEC, there, on_epoch=lambda _: pytest.fail("it ran again")).result == here.result
    assert there.get(replace(SPEC, seed=9)) is None


def test_a_lost_worker_resumes_on_another_machine(bucket, on_machine, monkeypatch):
    monkeypatch.setattr(remote, "UPLOAD_SECONDS", 0.02)
    checkpoint = bucket / "runs" / SPEC.folder_name / "checkpoint.pt"

    def lose(row):
        deadline = time.monotonic() + 60
        while row["epoch"] == 2 and not checkpoint.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if row["epoch"] == 2:
            monkeypatch.setattr(remote.Remote, "send", lambda *_: None)
            raise Lost

    with monkeypatch.context() as there:
        send = remote.Remote.send
        with pytest.raises(Lost):
            run(SPEC, on_machine("a"), on_epoch=lose)
        there.setattr(remote.Remote, "send", send)
        seen = []
        resumed = run(SPEC, on_machine("b"), on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [3] or seen == [2, 3]
    assert resumed.provenance["resumed"]
    assert names(bucket) == SENT, "a done run has no checkpoint"
    whole = run(SPEC, Store(bucket.parent / "whole"))
    assert (resumed.folder / "history.parquet").read_bytes() == (whole.folder / "history.parquet").read_bytes()


def test_a_run_whose_sending_was_cut_short_is_sent_by_the_next_call(bucket, on_machine, monkeypatch):
    def fail(self, *_):
        raise OSError("no network")

    with monkeypatch.context() as broken:
        broken.setattr(remote.Remote, "publish", fail)
        with pytest.raises(OSError, match="no network"):
            run(SPEC, on_machine("a"))
    assert names(bucket) == ["spec.json"]
    assert [r.status for r in on_machine("b").runs()] == ["interrupted"]
    run(SPEC, on_machine("a"), on_epoch=lambda _: pytest.fail("it ran again"))
    assert names(bucket) == SENT
    assert [r.status for r in on_machine("b").runs()] == ["done"]


def test_of_two_machines_at_one_run_the_first_to_finish_is_kept(bucket, on_machine, tmp_path, monkeypatch):
    first, done = on_machine("a"), []

    def meanwhile(row):
        if row["epoch"] == 1:
            done.append(run(SPEC, on_machine("b")))

    second = run(SPEC, first, on_epoch=meanwhile)
    assert second.provenance == done[0].provenance
    assert names(bucket) == SENT
    assert second.result == done[0].result


def test_failures_and_deletions_are_seen_elsewhere(bucket, on_machine):
    bad = replace(SPEC, n_train=5000)
    store = on_machine("a")
    with pytest.raises(InputError):
        run(bad, store)
    assert not list(bucket.rglob("*.json"))
    sweep([bad], store)
    elsewhere = on_machine("b")
    assert [(r.status, "n_train is 5000" in r.error) for r in elsewhere.runs()] == [("failed", True)]
    elsewhere.fail(SPEC, "because")
    assert {r.status for r in store.runs()} == {"failed"}
    run(SPEC, elsewhere)
    assert sorted(r.status for r in store.runs()) == ["done", "failed"]
    shutil.rmtree(bucket / "runs" / SPEC.folder_name)
    assert [r.status for r in store.runs()] == ["failed"]


def test_a_sweep_and_the_command_line_on_it(bucket, on_machine, capsys):
    store = on_machine("a")
    specs = [replace(SPEC, seed=seed, params={**PARAMS, "epochs": 1}) for seed in range(2)]
    assert [r.status for r in sweep(specs, store)] == ["done"] * 2
    assert main(["status", "--store", f"file://{bucket}/runs"]) == 0
    assert capsys.readouterr().out.count("done  ") == 2
    assert [r.status for r in sweep(specs, on_machine("b"))] == ["done"] * 2, "they are there"


def test_bad_urls(on_machine, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"store nonsense://x has no protocol that fsspec knows, expected s3://BUCKET/PREFIX"):
        Store("nonsense://x")
    with pytest.raises(InputError, match=r"store file://.*/runs does not exist, expected a folder of runs"):
        on_machine("a").runs()
    with pytest.raises(InputError, match=r"store is the path 's3:/bucket/runs', expected a text such as 's3://bucket/runs', not a Path"):
        Store(tmp_path.__class__("s3://bucket/runs"))

    def missing(name):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(sys.modules["fsspec.registry"], "get_filesystem_class", missing)
    with pytest.raises(InputError, match=r'needs a package that is not installed \(Install s3fs.*pip install "shattering\[cloud\]"'):
        Store("s3://bucket/runs")
    with pytest.raises(InputError, match=r"needs a package that is not installed \(Install s3fs to access S3\)$"):
        Store("abfs://bucket/runs")  # the extra has no package for it


def test_keys_that_lead_out_of_the_mirror_are_refused(tmp_path, monkeypatch):
    """On fsspec's memory file system, whose keys are texts, as those of object stores are."""
    from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "a"))
    store = Store("memory://bucket/runs")
    run(SPEC, store)
    files, good = MemoryFileSystem(), f"/bucket/runs/{SPEC.folder_name}"
    assert sorted(files.store) == [f"{good}/{name}" for name in SENT]
    bad = ["../x/spec.json", "x/../../spec.json", "./spec.json", "../spec.json", "x/..", "/etc/spec.json", "x//spec.json"]
    bad += ["..\\x/spec.json", "x/..\\..\\spec.json", "x\0/spec.json", "x/a\nspec.json", f"{'x' * 300}/spec.json", "x/\udfffspec.json"]
    for key in [*bad, "x/spec.json/deep", "top.json", "y/lock", "y/.spec.json.1.tmp", ".origin/spec.json", f"{SPEC.folder_name}/lock"]:
        files.store[f"/bucket/runs/{key}"] = MemoryFile(files, key, b"{}")
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "b" / "c" / "d"))
    there = Store("memory://bucket/runs")
    assert there.remote is not None
    with pytest.warns(UserWarning, match=rf"has {len(bad)} keys that are no names of a file in a folder, and are left out: '.*, …$"):
        (seen,) = there.everything()
    assert seen.status == "done"
    assert sorted(path.name for path in there.root.iterdir()) == [".origin", SPEC.folder_name]
    assert sorted(path.name for path in seen.folder.iterdir()) == [name for name in SENT if name != "model.safetensors"]
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and there.root not in path.parents and store.root not in path.parents]
    assert outside == []


def test_links_in_a_mirror_and_stores_that_claim_to_be_one(bucket, on_machine, tmp_path):
    here = on_machine("a")
    run(SPEC, here)
    there, outside = on_machine("b"), tmp_path / "outside"
    outside.mkdir()
    there.remote.make_mirror()
    (there.root / SPEC.folder_name).symlink_to(outside)
    (there.root / "gone-0").symlink_to(here.folder(SPEC))
    assert [found.status for found in there.everything()] == ["done"]
    assert list(outside.iterdir()) == []
    assert here.folder(SPEC).is_dir()
    copied = Path(shutil.copytree(there.root, tmp_path / "copied"))
    assert (copied / ".origin").exists()
    with pytest.raises(InputError, match=r"has no model.safetensors, expected a run of a network"):
        Store(copied).find(SPEC.run_id).model()


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("s3fs", reason='stores on s3:// are NOT TESTED here: pip install "shattering[cloud]"')
    pytest.importorskip("flask", reason='stores on s3:// are NOT TESTED here: pip install "moto[s3]" flask flask-cors')
    server = pytest.importorskip("moto.server", reason='stores on s3:// are NOT TESTED here: pip install "moto[s3]" flask flask-cors')
    moto = server.ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


def test_an_s3_server(s3, tmp_path, monkeypatch):
    for name, value in {"ENDPOINT_URL": s3, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "a"))
    with pytest.raises(OSError, match="store s3://none/runs cannot be reached: FileNotFoundError: The specified bucket does not exist"):
        run(SPEC, Store("s3://none/runs"))
    store = Store("s3://bucket/runs")
    assert store.remote is not None
    store.remote.files.mkdir("bucket")
    here = run(SPEC, store)
    assert here.status == "done"
    assert sorted(path.rpartition("/")[2] for path in store.remote.files.find("bucket/runs")) == SENT
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "b"))
    there = Store("s3://bucket/runs/")
    assert there.runs()[0].result == here.result
    assert there.find(SPEC.run_id).folder.is_relative_to(tmp_path / "b")
    assert there.runs()[0].model().predict is not None
    later = replace(SPEC, seed=3, params={**PARAMS, "epochs": 1})
    assert [r.status for r in sweep([SPEC, later], there)] == ["done"] * 2
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "a"))
    assert [r.status for r in store.runs()] == ["done"] * 2
