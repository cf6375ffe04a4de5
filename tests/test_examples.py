"""The examples in docstrings are executed, and print what they say.

`test` in them is a small randomization test. `fitted`, in those of measures, is `small_network()`. `cells` and `alike`, in those of
`interrogate`, are of a simulated population with planted measures, whose table is `population`.
"""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import shattering
from shattering import RandomizationTest, randomization_test
from shattering.interrogate.ranks import Alike, Cells
from shattering.measures.fitted import Fitted
from shattering.measures.fitting import as_fitted
from tests.interrogate.simulated import AXES, simulate, with_measures

ROOT = Path(shattering.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if ">>> " in path.read_text())


@pytest.fixture(scope="module")
def small() -> RandomizationTest:
    return randomization_test("nearest-neighbors", "digits", n_train=100, randomizations=["permuted-labels"])


def small_network(seed: int = 0, is_random: bool = False, **known) -> Fitted:
    """A network of random hidden weights, whose last layer solves least squares: the same numbers on every machine."""
    draws = np.random.default_rng(0)
    inputs = torch.from_numpy(draws.normal(size=(90, 4)))
    labels = inputs[:60, :3].argmax(1)
    if is_random:
        labels = torch.from_numpy(draws.permutation(labels.numpy()))
    initial, trained = (_untrained(seed) for _ in range(2))
    hidden = trained[:-1](inputs[:60]).detach()
    with torch.no_grad():
        trained[-1].weight.copy_(torch.linalg.lstsq(hidden, 8.0 * nn.functional.one_hot(labels).double(), driver="gelsd").solution.T)
    history = pd.DataFrame({"epoch": [1, 2], "step": [10, 20], "train_loss": [1.0, 0.1], "full_train_loss": [0.5, 0.005]})
    history = history.assign(clean_accuracy=[0.9, 1.0], corrupted_accuracy=[0.2, 0.9], corrupted_as_true=[0.6, 0.1])
    examples = pd.DataFrame({"forgetting_events": [0, 1, 3], "first_fit": [1, 1, 2]})
    about = {"initial": initial, "history": history, "examples": examples, "unlabelled": inputs[60:]}
    return as_fitted(trained, (inputs[:60], labels), **about, **known)


def _untrained(seed: int) -> nn.Sequential:
    draws = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3, bias=False)).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5, generator=draws)
    return module


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return small_network(twin=small_network(is_random=True), siblings=(small_network(1), small_network(2)))


@pytest.fixture(scope="module")
def simulated() -> dict:
    table, _, _ = with_measures(simulate())
    return {"cells": Cells.of(table, AXES), "alike": Alike.of(table), "population": table}


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(path.relative_to(ROOT).with_suffix("").parts))
def test_examples_run(path, small, fitted, simulated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(".".join(("shattering", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"))
    outcome = doctest.testmod(module, extraglobs={"test": small, "fitted": fitted, **simulated})
    assert outcome.attempted, "it has an example"
    assert outcome.failed == 0
