"""How large the papers' experiments are run: the same code, other data, budgets and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

CONVOLUTIONAL = ("inception", "inception-no-bn", "alexnet")
NETWORKS = (*CONVOLUTIONAL, "mlp-3x512", "mlp-1x512")
WEIGHT_DECAY = 5e-4  # the "default coefficient", which the paper does not give
CORRUPTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Scale:
    """A size of the papers' experiments on CIFAR-10.

    Args:
        name: what it is called.
        dataset: a name in `DATASETS`, or a path.
        n_train: training images; None: all.
        n_test: test images; None: all.
        n_validation: held out, beside n_train, where early stopping is made rigorous.
        epochs: network → the budget of a run in epochs; 100 for those not named.
        long_epochs: the budget of Inception with augmented images and random labels, where the rate hardly decays.
        stop_when_fitted: end a run once its training set is fitted.
        seeds: network → how many seeds; one for those not named.
        precision: of the convolutional networks.
    """

    name: str
    dataset: str = "cifar10"
    n_train: int | None = None
    n_test: int | None = None
    n_validation: int = 5000
    epochs: Mapping[str, int] = field(default_factory=dict)
    long_epochs: int = 200
    stop_when_fitted: bool = False
    seeds: Mapping[str, int] = field(default_factory=dict)
    precision: str = "float32"

    def n_seeds(self, network: str) -> int:
        return self.seeds.get(network, 1)

    def specs(self, network: str, labels: float = 0.0, pixels: str = "true", validation: bool = False, **params) -> list[RunSpec]:
        """A configuration's runs, one a seed. params: of the learner, beside those of the scale."""
        common: dict[str, object] = {"network": network, "epochs": self.epochs.get(network, 100), "stop_when_fitted": self.stop_when_fitted}
        common["precision"] = self.precision if network in CONVOLUTIONAL else "float32"
        spec = RunSpec(
            self.dataset,
            self.n_train,
            self.n_test,
            Randomization(labels, pixels),  # type: ignore[arg-type]
            params=common | params,
            n_validation=self.n_validation if validation else None,
        )
        return [replace(spec, seed=seed) for seed in range(self.n_seeds(network))]


SCALES = {
    "demo": Scale("demo", "digits", 300, None, 100, epochs=dict.fromkeys(NETWORKS, 200), long_epochs=300, stop_when_fitted=True),
    "small": Scale(
        *("small", "cifar10", 2000, 1000, 500),
        long_epochs=200,
        stop_when_fitted=True,
        seeds={"mlp-1x512": 3, "mlp-3x512": 3},
        precision="bfloat16",
    ),
    "full": Scale("full", epochs=dict.fromkeys(CONVOLUTIONAL, 60), seeds={"mlp-1x512": 2, "mlp-3x512": 2}, precision="bfloat16"),
}
