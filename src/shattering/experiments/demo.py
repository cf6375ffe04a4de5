"""The demonstration: two networks fit scikit-learn's digits with random labels and random pixels, in about a minute."""

from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

RANDOMIZATIONS = (
    *(Randomization(labels=p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)),
    *(Randomization(pixels=p) for p in ("shuffled", "random", "gaussian")),
)
HYPERPARAMETERS: dict[str, dict[str, object]] = {
    "mlp-1x512": {"learning_rate": 0.05},
    "small-cnn": {"learning_rate": 0.05, "decay_steps": None},  # it does not converge at a constant learning rate
}


def demo_specs(seed: int = 0) -> list[RunSpec]:
    """List the runs of an MLP and of a small convolutional network on digits: five label corruptions, three pixel randomizations."""
    common = {"epochs": 80, "batch_size": 32, "stop_when_fitted": True}
    return [
        RunSpec("digits", n_train=1000, randomization=r, params={"network": network, **common, **hyperparameters}, seed=seed)
        for network, hyperparameters in HYPERPARAMETERS.items()
        for r in RANDOMIZATIONS
    ]
