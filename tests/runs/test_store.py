import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shattering import InputError, RunSpec, Store, run
from tests.runs.test_execute import SPEC


def test_finding_runs(tmp_path):
    store = Store(tmp_path)
    done = run(SPEC, store)
    assert store.find(done.run_id[:5]).folder == done.folder
    assert store.find("digits").folder == done.folder
    assert store.find(f"{done.folder}/").folder == store.find(str(done.folder)).folder == done.folder, "a path, as it is printed"
    with pytest.raises(InputError, match="found none, expected one"):
        store.find(f"{tmp_path.parent}/{done.folder.name}")
    assert [r.run_id for r in store.runs()] == [SPEC.run_id]
    assert store.get(RunSpec()) is None
    with pytest.raises(InputError, match="start with 'zzz': found none, expected one"):
        store.find("zzz")
    store.fail(RunSpec(), "because")
    with pytest.raises(InputError, match=r"found 2 \(digits"):
        store.find("digits")


def test_a_run_is_found_beside_copies_of_it(tmp_path):
    """By its id, and by the whole name of one of the folders."""
    store = Store(tmp_path)
    done = run(SPEC, store)
    copies = [done.folder.with_name(name) for name in (f"copy of {done.folder.name}", f"{done.folder.name} (1)")]
    for copy in copies:
        shutil.copytree(done.folder, copy)
    for folder in (done.folder, *copies):
        assert store.find(folder.name).folder == store.find(str(folder)).folder == folder
    with pytest.warns(UserWarning, match="has 2 folders left out as copies of runs"):
        assert store.find(done.run_id).result == done.result
    (copies[0] / "result.json").write_text("")
    with pytest.warns(UserWarning, match="has 2 folders left out as copies of runs"):
        assert store.find(done.run_id).folder == done.folder, "the one that is done"


def test_a_run_of_a_relative_store_is_not_called_damaged_from_another_folder(tmp_path, monkeypatch):
    """Its remedy would be to remove a run that is whole."""
    monkeypatch.chdir(tmp_path)
    done = run(SPEC, Store("runs"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    again = Store("../runs").find(done.run_id)
    assert len(again.history) == 3
    for read in (lambda: replace(done).history, done.model):
        with pytest.raises(InputError, match=r"^runs/digits.* does not exist in the working folder .*other, expected .*; Store\("):
            read()
    assert done.whole().status == "missing"


def test_statuses(tmp_path):
    store = Store(tmp_path)
    folder = store.folder(SPEC)
    store.fail(SPEC, "because")
    assert (store.get(SPEC).status, store.get(SPEC).error) == ("failed", "because")
    with store.lock(folder):
        assert store.get(SPEC).status == "running"
    (folder / "failed.json").unlink()
    assert store.get(SPEC).status == "interrupted"


def test_bad_stores(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file, expected a folder"):
        Store(tmp_path / "file")
    with pytest.raises(InputError, match="none does not exist, expected a folder of runs"):
        Store(tmp_path / "none").runs()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link is a link to nowhere, expected a folder"):
        Store(tmp_path / "link")
    for bad in ("", "a\0b"):
        with pytest.raises(InputError, match="expected a folder or a URL"):
            Store(bad)


def test_a_run_that_is_done_is_shown_from_a_store_that_cannot_be_written(tmp_path, monkeypatch):
    store = Store(tmp_path)
    done = run(SPEC, store)

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(Store, "lock", refuse)
    assert run(SPEC, store).result == done.result
    (done.folder / "result.json").write_text("{")
    with pytest.raises(InputError, match="remove its folder to run it again"):
        run(SPEC, store)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Store("~/runs").root == Store(Path("~/runs")).root == tmp_path / "runs"
