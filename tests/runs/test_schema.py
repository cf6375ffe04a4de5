"""The schema of stored runs: it describes what `run` writes and what `results/` holds, and the docs show it."""

import json
from pathlib import Path

import pytest

from shattering import InputError, Randomization, RunSpec, Store, run
from shattering.runs import reading, schema
from shattering.runs.study import StudySpec

ROOT = Path(__file__).parents[2]
STUDY = StudySpec("polynomial", {"n": 5, "degrees": 2, "n_holdout": 5})
NETWORK = RunSpec(
    "digits",
    n_train=50,
    n_test=20,
    n_validation=20,
    randomization=Randomization(0.5),
    params={"epochs": 2, "batch_size": 25, "device": "cpu", "track_examples": True},
    scoring="neg_log_loss",
)
KERNEL = RunSpec("digits", n_train=50, n_test=20, model="kernel")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    for spec in (NETWORK, KERNEL, STUDY):
        run(spec, store)
    return store


def names(*tables):
    return {field.name for table in tables for field in table}


def test_every_field_that_a_model_writes_is_described(store):
    for spec in (NETWORK, KERNEL):
        done = store.get(spec)
        assert set(done.result) <= names(schema.RESULT)
        assert set(done.provenance) == names(schema.PROVENANCE, schema.MODEL_PROVENANCE) - unused(spec)
        always = {field.name for field in schema.RESULT if field.when == "always"}
        assert always <= set(done.result)
    assert set(store.get(STUDY).provenance) == names(schema.PROVENANCE)


def unused(spec):
    """Fields of the provenance that a run of this spec does not have."""
    return {"processes"} if spec is KERNEL else {"processes", "timings"}


def test_every_file_that_is_written_is_described(store):
    for spec in (NETWORK, KERNEL, STUDY):
        assert {path.name for path in store.folder(spec).iterdir()} <= set(schema.FILES)


def test_every_stored_result_follows_the_schema(results):
    folders = [path.parent for path in results.rglob("result.json")]
    assert len(folders) > 100
    for folder in folders:
        spec = reading.read_spec(folder / "spec.json")
        result = reading.read_result(folder, spec)
        assert isinstance(spec, StudySpec) or set(result) <= names(schema.RESULT), folder
        provenance = reading.read_provenance(folder, spec)
        assert set(provenance) <= names(schema.PROVENANCE, schema.MODEL_PROVENANCE), folder


def test_a_later_version_of_a_result_is_newer_and_a_wrong_one_damaged(store):
    path = store.folder(KERNEL) / "result.json"
    before = path.read_bytes()
    try:
        for version, status in ((1, "done"), (2, "newer"), (0, "damaged"), ("2", "damaged"), (True, "damaged"), (10**400, "damaged")):
            path.write_text(json.dumps({**json.loads(before), "version": version}))
            stored = store.get(KERNEL)
            assert stored.status == status, version
            assert status == "done" or str(path) in stored.error
        assert "version" not in json.loads(before), "the first version is not written"
    finally:
        path.write_bytes(before)


def test_what_a_kind_of_run_does_not_have_is_an_error_that_says_who_has_it(store):
    study, kernel = store.get(STUDY), store.get(KERNEL)
    for read, file in ((lambda: study.history, "history.parquet"), (lambda: study.examples, "examples.parquet")):
        with pytest.raises(InputError, match=f"has no {file}, expected a run of a"):
            read()
    with pytest.raises(InputError, match=r"has no model.safetensors, expected a run of a network"):
        study.model()
    with pytest.raises(InputError, match=r"has no table.parquet, expected a run of a study"):
        _ = kernel.table
    assert (list(study.rows), kernel.rows.empty) == (list(study.table), True)


def test_the_page_shows_the_schema():
    page = (ROOT / "docs" / "stored-runs.md").read_text()
    tables = (
        schema.RESULT,
        schema.REGRESSION,
        schema.STUDY_RESULT,
        schema.PROVENANCE,
        schema.MODEL_PROVENANCE,
        schema.FAILED,
        *schema.TABLES.values(),
    )
    for text in (schema.files_to_markdown(), *(schema.to_markdown(table) for table in tables if table)):
        assert text in page, f"docs/stored-runs.md lacks this table:\n{text}"
