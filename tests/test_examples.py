"""The examples in docstrings are executed, and print what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = ["errors", "stats", "randomization", "data.load", "data.arrays", "data.dataset", "learners.train.ranks"]
MODULES += [f"learners.{name}" for name in ("network", "kernel", "random_conv", "relu")]
MODULES += [f"runs.{name}" for name in ("spec", "study", "grid", "on_ray", "store", "stored", "sweep", "execute")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(import_module(f"shattering.{name}"))
    assert outcome.attempted, "it has an example"
    assert outcome.failed == 0
