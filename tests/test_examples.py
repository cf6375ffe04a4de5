"""The examples in the docstrings of public names run, and print what they say."""

import doctest
from importlib import import_module

import pytest

import shattering

MODULES = sorted(set(shattering._WHERE.values()))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(import_module(f"shattering.{name}"))
    assert outcome.failed == 0
