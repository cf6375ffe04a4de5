import torch

from shattering import learners, networks
from shattering.cli import catalog


def first_line(thing) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def test_networks_are_as_they_say():
    assert list(catalog.NETWORKS) == list(networks.NETWORKS)
    for name, (parameters, text) in catalog.NETWORKS.items():
        assert text == first_line(networks.NETWORKS[name])
        with torch.device("meta"):  # shapes alone
            module = networks.build_network(name, *networks.reference_shape(name), seed=0)
        assert parameters == networks.count_parameters(module), name


def test_models_are_as_they_say():
    assert list(catalog.MODELS) == list(learners.MODELS)
    for name, (path, text) in catalog.MODELS.items():
        cls = type(learners.MODELS[name])
        assert path == f"{cls.__module__.partition('._')[0]}.{cls.__name__}"
        if path.startswith("sklearn."):
            assert text.endswith(", scikit-learn's.")
        elif name != "deep-relu":
            assert text == first_line(cls)
    assert f"with depth {learners.MODELS['deep-relu'].depth} by default" in catalog.MODELS["deep-relu"][1]
