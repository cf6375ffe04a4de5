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
