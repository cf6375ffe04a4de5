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
        photographs: dataset in the place of ImageNet; None: one has to be given.
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
    photographs: str | None = None

    def n_seeds(self, network: str) -> int:
        return self.seeds.get(network, 1)

    def specs(self, network: str, labels: float = 0.0, pixels: str = "true", validation: bool = False, **params) -> list[RunSpec]:
        """A configuration's runs, one a seed. params: of the model, beside those of the scale."""
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
    "demo": Scale(
        *("demo", "digits", 300, None, 100),
        epochs=dict.fromkeys(NETWORKS, 200),
        long_epochs=300,
        stop_when_fitted=True,
        photographs="imagenet-sample",
    ),
    "small": Scale(
        *("small", "cifar10", 2000, 1000, 500),
        long_epochs=200,
        stop_when_fitted=True,
        seeds={"mlp-1x512": 3, "mlp-3x512": 3},
        precision="bfloat16",
    ),
    "full": Scale(
        "full",
        epochs=dict.fromkeys(CONVOLUTIONAL, 60),
        seeds={"mlp-1x512": 2, "mlp-3x512": 2},
        precision="bfloat16",
        photographs="imagenet",
    ),
}


@dataclass(frozen=True)
class ImageNetScale:
    """A size of the experiments with Inception V3.

    Args:
        image_size: side of the images in pixels.
        n_test: test images; None: all.
        hold_out: whether a dataset without a test split has a fifth held out; see `RunSpec`.
        params: of the network's training.
    """

    image_size: int
    n_test: int | None
    hold_out: bool
    params: Mapping[str, object]


_IMAGENET_EPOCH = 801  # updates: 1,281,167 images in batches of 1,600, which are 50 workers' of 32
IMAGENET_SCALES = {
    "demo": ImageNetScale(75, 100, False, {"epochs": 60, "batch_size": 50, "learning_rate": 0.01, "stop_when_fitted": True}),
    "small": ImageNetScale(128, None, True, {"epochs": 100, "batch_size": 64, "learning_rate": 0.01}),
    "full": ImageNetScale(299, None, True, {"epochs": 100, "batch_size": 1600, "decay": 0.94, "decay_steps": 2 * _IMAGENET_EPOCH}),
}


RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # on kernels whose diagonal is 1 (on average)
GAMMA_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the bandwidths tried on the hold-out


@dataclass(frozen=True)
class KernelScale:
    """A size of section 5's experiments, and the choices made on a hold-out of the training images.

    Args:
        grey: dataset in the place of MNIST.
        color: dataset in the place of CIFAR-10.
        n_train, n_test: images of either; None: all.
        n_select, n_holdout: training and held-out images for the choices.
        gammas: of the Gaussian kernel on raw grey pixels ("raw"), their Gabor features ("gabor"), and raw pixels of the
            color dataset ("color"). The first is the first author's for MNIST; the others are the best on the hold-out.
        filters: how many random filters, ascending.
        conv: further parameters of `RandomConvClassifier`.
        ridges: the best of `RIDGES` on the hold-out, for these three and "conv".
        n_study, n_study_test: images of the studies.
    """

    grey: str
    color: str
    n_train: int | None
    n_test: int | None
    n_select: int
    n_holdout: int
    gammas: Mapping[str, float]
    filters: tuple[int, ...]
    conv: Mapping[str, object]
    ridges: Mapping[str, float]
    n_study: int
    n_study_test: int


_GAMMAS = {"raw": 0.02, "gabor": 1.7, "color": 0.01}
_RIDGES = {"raw": 1e-3, "gabor": 1e-3, "color": 1e-1, "conv": 1e-2}
KERNEL_SCALES = {
    "demo": KernelScale(
        *("digits", "digits", None, None, 600, 400),
        gammas={"raw": 0.1, "gabor": 1.7, "color": 0.1},
        filters=(64, 256),
        conv={"patch": 3},
        ridges=_RIDGES,
        n_study=500,
        n_study_test=500,
    ),
    "small": KernelScale(
        *("mnist", "cifar10", 10_000, None, 10_000, 5000), _GAMMAS, (256, 512, 1024, 2048), {"cache": "auto"}, _RIDGES, 1000, 1000
    ),
    "full": KernelScale(
        *("mnist", "cifar10", None, None, 10_000, 5000), _GAMMAS, (256, 1024, 4096, 8192, 32_000), {"cache": "auto"}, _RIDGES, 2000, 2000
    ),
}


@dataclass(frozen=True)
class CapacityScale:
    """A size of the experiments on capacity and stability (section 2.2, theorem 1 and corollary 1).

    Args:
        dataset: of all.
        sizes: numbers of images whose random labels are interpolated by construction.
        noise: the same of images of random bytes, for numbers that the dataset does not have.
        trained: numbers of images for networks of the same size, trained by SGD.
        n_rademacher, n_draws: images, and draws of signs.
        n_stability, n_replaced: images, and how many of them are replaced.
        epochs: the budget of trained networks.
    """

    dataset: str
    sizes: tuple[int, ...]
    noise: tuple[int, ...]
    trained: tuple[int, ...]
    n_rademacher: int
    n_draws: int
    n_stability: int
    n_replaced: int
    epochs: int


CAPACITY_SCALES = {
    "demo": CapacityScale("digits", (100, 300, 1000), (), (100, 300), 200, 5, 200, 10, epochs=200),
    "small": CapacityScale("cifar10", (500, 2000, 10_000, 50_000), (), (500, 1000, 2000), 1000, 10, 500, 20, epochs=200),
    "full": CapacityScale(
        *("cifar10", (500, 2000, 10_000, 50_000), (200_000, 1_281_167), (500, 2000, 10_000, 50_000), 1000, 20, 2000, 20), epochs=100
    ),
}
