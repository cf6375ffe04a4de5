from dataclasses import replace

import pytest

from shattering import Randomization, RunSpec, Store, run

PARAMS = {"epochs": 3, "batch_size": 20, "device": "cpu"}
SPECS = [
    RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(p), params=PARAMS, seed=s) for p in (0, 0.5, 1) for s in (0, 1)
]
NOISE = [replace(SPECS[0], randomization=Randomization(pixels=p)) for p in ("gaussian", "shuffled", "random")]


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Two seeds of clean, half and fully random labels, and one of each randomization of pixels; for reading."""
    store = Store(tmp_path_factory.mktemp("store"))
    for spec in [*SPECS, *NOISE]:
        run(spec, store)
    return store
