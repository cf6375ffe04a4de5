from dataclasses import replace

import pytest

from shattering import Store, sweep
from shattering.experiments.reproduce import experiment_specs, find_experiments
from shattering.experiments.scales import NETWORKS, Scale

TINY = Scale("tiny", "digits", 30, 20, 10, epochs=dict.fromkeys(NETWORKS, 2), long_epochs=3, seeds={"mlp-1x512": 3})


def quick(specs):
    """The same runs, on the CPU."""
    return [replace(spec, params={**spec.params, "device": "cpu"}) for spec in specs]


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """Every run of every experiment at a tiny scale."""
    store = Store(tmp_path_factory.mktemp("tiny"))
    runs = sweep(quick(experiment_specs(find_experiments("all-cifar"), TINY)), store, jobs=2)
    assert [run.error for run in runs if run.status != "done"] == []
    return store
