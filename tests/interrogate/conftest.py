import pytest

from shattering import Store
from shattering.interrogate.population import STAGES, Block, PopulationScale
from shattering.runs.execute import run

TINY = PopulationScale(
    name="tiny",
    dataset="digits",
    n_test=50,
    epochs=200,
    blocks=(Block(networks=("mlp-1x16",), n_train=40, learning_rate=(0.05,), batch_size=(10,)),),
    seeds=1,
    corruptions={0.5: 1},
    pixels={"random": 1},
    ladder=(2,),
    untrained=1,
)


@pytest.fixture(scope="session")
def population(tmp_path_factory):
    """A population of 8 runs, executed in this process: (store, runs)."""
    store, runs = Store(tmp_path_factory.mktemp("population")), []
    for stage in STAGES:
        runs += [run(spec, store) for spec in stage(TINY, runs)]
    return store, runs
