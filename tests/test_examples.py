"""The examples in docstrings are executed, and print what they say. `test` in them is a small randomization test."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import shattering
from shattering import RandomizationTest, randomization_test

ROOT = Path(shattering.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if ">>> " in path.read_text())


@pytest.fixture(scope="module")
def small() -> RandomizationTest:
    return randomization_test("nearest-neighbors", "digits", n_train=100, randomizations=["permuted-labels"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(path.relative_to(ROOT).with_suffix("").parts))
def test_examples_run(path, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(".".join(("shattering", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"))
    outcome = doctest.testmod(module, extraglobs={"test": small})
    assert outcome.attempted, "it has an example"
    assert outcome.failed == 0
