"""Files are identified by their content, looked at once in a call, and looked at again in the next one."""

import os

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from shattering import InputError, RunSpec, Store, load_dataset, randomization_test, run, sweep
from shattering.data import load
from shattering.experiments.shatter_point import shatter_point
from shattering.identity import files
from shattering.identity.files import check_unchanged, files_digest, read_once
from shattering.runs.reading import read_spec
from shattering.runs.study import StudySpec
from shattering.system.cache import cache_folder
from tests.data.test_load import write_folder

FOREST = {"model": "nearest-neighbors", "params": {"n_neighbors": 1}}


def write_table(path, shift=0.0, n=40):
    """A table of two classes as .npz; the files for two shifts have one size."""
    X = np.random.default_rng(0).normal(size=(n, 3)) + shift
    y = np.arange(n) % 2
    np.savez(path, x_train=X, y_train=y, x_test=X[:10], y_test=y[:10])
    return str(path)


@pytest.fixture
def looks(monkeypatch):
    """The paths that were looked at, in turn."""
    seen, look = [], files._look
    monkeypatch.setattr(files, "_look", lambda path: seen.append(path) or look(path))
    return seen


def test_a_folder_is_looked_at_once_a_call_however_many_fits_it_makes(tmp_path, looks):
    write_folder(tmp_path / "images", n=12)
    source, store = str(tmp_path / "images"), Store(tmp_path / "store")
    randomization_test(GaussianNB(), source, randomizations=["permuted-labels"], n_permutations=4, store=store)
    assert len(looks) <= 2, "the second look is to see that nothing changed while it was loaded"
    looks.clear()
    run(RunSpec(source, **FOREST), store)
    assert len(looks) <= 2
    looks.clear()
    sweep([RunSpec(source, **FOREST, seed=seed) for seed in (0, 0)], store)
    assert len(looks) == 1
    looks.clear()
    sizes = {done.spec.n_train for done in shatter_point(RunSpec(source, **FOREST), store, n_min=4).runs}
    assert len(looks) <= 1 + len(sizes), "each size is loaded anew"


def test_a_file_that_changes_between_two_calls_is_another_dataset(tmp_path):
    store = Store(tmp_path / "store")
    spec = RunSpec(write_table(tmp_path / "t.npz"), **FOREST)
    first = run(spec, store)
    before = os.stat(tmp_path / "t.npz")
    write_table(tmp_path / "t.npz", shift=1.0)
    os.utime(tmp_path / "t.npz", ns=(before.st_atime_ns, before.st_mtime_ns))  # as a second change within one tick of the clock
    second = run(spec, store)
    assert os.stat(tmp_path / "t.npz").st_size == before.st_size
    assert second.run_id != first.run_id
    assert second.provenance["dataset_fingerprint"] != first.provenance["dataset_fingerprint"]


def test_a_file_that_changes_while_it_is_loaded_is_refused(tmp_path, monkeypatch):
    source, original = write_table(tmp_path / "t.npz"), load_dataset

    def changing(*args, **kwargs):
        loaded = original(*args, **kwargs)
        write_table(tmp_path / "t.npz", shift=1.0, n=60)
        return loaded

    monkeypatch.setattr("shattering.runs.fit.load_dataset", changing)
    with pytest.raises(InputError, match=r"t\.npz changed while it was in use"):
        run(RunSpec(source, **FOREST), Store(tmp_path / "store"))


def test_outside_a_call_every_question_is_answered_anew(tmp_path):
    (tmp_path / "a").write_text("one")
    with read_once(), read_once():
        first = files_digest(tmp_path / "a")
        (tmp_path / "a").write_text("two")
        assert files_digest(tmp_path / "a") == first
        with pytest.raises(InputError, match="changed while it was in use"):
            check_unchanged(tmp_path / "a")
    assert files_digest(tmp_path / "a") != first


def test_large_files_are_read_once_for_all_processes_until_they_change(tmp_path, monkeypatch):
    (tmp_path / "data" / "below").mkdir(parents=True)
    for name in ("a", "below/b"):
        (tmp_path / "data" / name).write_text(name * 10)
    whole = files_digest(tmp_path / "data")
    reads, read = [], files._whole
    monkeypatch.setattr(files, "_whole", lambda *args: reads.append(1) or read(*args))
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(files, "_SETTLED", -1)

    def asked():
        files._digests.clear()  # as in another process
        return files_digest(tmp_path / "data")

    assert {asked(), asked(), asked()} == {whole}
    assert len(reads) == 1
    status = os.stat(tmp_path / "data" / "a")
    (tmp_path / "data" / "a").write_text("c" * status.st_size)
    os.utime(tmp_path / "data" / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert asked() == asked() != whole
    assert len(reads) == 2
    (tmp_path / "data").rename(tmp_path / "moved")
    assert files_digest(tmp_path / "moved") == read(tmp_path / "moved", files._below(tmp_path / "moved")), "where it lies does not count"
    for kept in cache_folder().glob("*.digest.json"):
        kept.write_text("[]")
    files._digests.clear()
    assert files_digest(tmp_path / "moved") != whole


def test_what_counts_of_a_folder(tmp_path):
    def written(name, **contents):
        for file, content in contents.items():
            path = tmp_path / name / file.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / name

    one = files_digest(written("one", a__x="1", b__y="2"))
    assert files_digest(written("same", b__y="2", a__x="1")) == one
    assert files_digest(written("hidden", a__x="1", b__y="2", **{".cache": "3", "a__.x": "4"})) == one
    others = [written("value", a__x="1", b__y="3"), written("name", a__x="1", b__z="2"), written("moved", a__x="1", a__y="2")]
    others += [written("more", a__x="1", b__y="2", b__z="3"), written("cut", a__x="12", b__y="")]
    assert len({one, *map(files_digest, others)}) == 6
    linked = written("linked", a__x="1")
    (linked / "b").symlink_to(tmp_path / "one" / "b")
    assert files_digest(linked) == one, "what a link leads to is read, so it counts"
    (linked / "b" / "round").symlink_to(tmp_path / "one")
    files_digest(linked)  # ends


def test_a_name_that_is_not_unicode(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xff\xfe"), "w") as file:
        file.write("1")
    assert len(files_digest(tmp_path)) == 64


def test_a_study_of_a_file_is_identified_by_its_content_and_keeps_its_id_for_a_name(tmp_path):
    def ids(source, **params):
        return StudySpec("rademacher", {"dataset": source, "model": "network", "n": 20, **params}).run_id

    one, two = write_table(tmp_path / "one.npz"), write_table(tmp_path / "two.npz", shift=1.0)
    first = ids(one)
    assert ids(two) != first
    (tmp_path / "moved").mkdir()
    assert ids(write_table(tmp_path / "moved" / "other.npz")) == first
    write_table(tmp_path / "one.npz", shift=1.0)
    assert ids(one) == ids(two) != first
    for name, text in (("a.pt", "1"), ("b.pt", "1"), ("c.pt", "2")):
        (tmp_path / name).write_text(text)
    a, b, c = (ids("digits", params={"weights": str(tmp_path / f"{name}.pt")}) for name in "abc")
    assert a == b != c
    assert ids("digits", params={"device": "cpu"}) == ids("digits", params={})
    assert StudySpec("theorem1", {"dataset": "noise", "n": 20}).identity()["params"] == {"dataset": "noise", "n": 20}
    assert StudySpec("interpolators", {"dataset": "mnist", "gamma": 0.02, "n": 1000, "n_test": 1000}).run_id == "6f9e19d5cb71"
    with pytest.raises(InputError, match="unknown dataset"):
        ids(str(tmp_path / "none.npz"))


def test_every_stored_run_and_study_keeps_its_id(results):
    specs = {path.parent.name: read_spec(path) for path in results.glob("*/spec.json")}
    assert len(specs) > 200
    assert [name for name, spec in specs.items() if not name.endswith(f"-{spec.run_id}")] == []


def test_the_identity_of_a_path_is_that_of_its_content(tmp_path):
    assert load.identity(write_table(tmp_path / "a.npz")) == load.identity(write_table(tmp_path / "b.npz"))
    assert load.identity("digits") == "digits"
