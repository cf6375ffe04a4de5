import json
from dataclasses import replace

import pytest

from shattering import Store, sweep
from shattering.experiments.catalogue import find_experiments
from shattering.experiments.reproduce import experiment_specs, make_result, write_result
from shattering.experiments.scales import DEMO, NETWORKS, CapacityScale, CifarScale

TINY = replace(
    DEMO,
    name="tiny",
    cifar=CifarScale(
        dataset="digits",
        n_train=30,
        n_test=20,
        n_validation=10,
        epochs=dict.fromkeys(NETWORKS, 2),
        long_epochs=3,
        seeds={"mlp-1x512": 3},
    ),
    kernels=replace(
        DEMO.kernels,
        n_train=120,
        n_test=100,
        n_select=60,
        n_holdout=40,
        filters=(16, 200),
        conv_sizes=((60, 16), (120, 200)),
        conv_select=16,
        n_study=60,
        n_study_test=40,
        norm_gammas={"raw": (0.2,), "gabor": (2.0, 2.5)},
    ),
    capacity=CapacityScale(
        dataset="digits",
        sizes=(30, 60),
        noise=(50,),
        trained=(40,),
        n_rademacher=30,
        n_draws=3,
        n_stability=30,
        n_replaced=3,
        epochs=60,
    ),
)


def quick(specs):
    """The same runs, on the CPU."""
    return [replace(spec, params={**spec.params, "device": "cpu"}) for spec in specs]


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """Every run of every experiment on CIFAR-10 at a tiny scale."""
    store = Store(tmp_path_factory.mktemp("tiny"))
    runs = sweep(quick(experiment_specs(find_experiments("all-cifar"), TINY)), store, jobs=2)
    assert [run.error for run in runs if run.status != "done"] == []
    return store


def written(name, store, folder):
    """An experiment's result and the files of its page, all runs of which are done; what holds of every one is asserted."""
    result = make_result(name, TINY, store)
    assert not result.not_done
    assert result.claims
    assert all(claim.holds is not None or claim.why for claim in result.claims)
    files = write_result(result, folder)
    assert all(f.stat().st_size > 1000 for f in files)
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["experiment"] == name
    return result, files
