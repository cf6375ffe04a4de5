"""Define the sizes of the papers' experiments. The code is the same; data, budgets and numbers of seeds differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from shattering.data.noise import Pixels
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec

CONVOLUTIONAL = ("inception", "inception-no-bn", "alexnet")
NETWORKS = (*CONVOLUTIONAL, "mlp-3x512", "mlp-1x512")
WEIGHT_DECAY = 5e-4  # the "default coefficient", which the paper does not give
CORRUPTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # on kernels whose diagonal is 1 (on average)
GAMMA_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the bandwidth; all are tried on the hold-out


@dataclass(frozen=True, kw_only=True)
class CifarScale:
    """A size of the experiments with the small networks.

    Args:
        dataset: a name in `DATASETS`, or a path.
        n_train: training images; None: all.
        n_test: test images; None: all.
        n_validation: images held out, beside n_train, for early stopping that is not chosen on the test set.
        epochs: network → the budget of a run in epochs; 100 for those not named.
        long_epochs: the budget of Inception with augmented images and random labels, where the learning rate hardly decays.
        stop_when_fitted: end a run once it fits its training set.
        seeds: network → how many seeds; one for those not named.
        compared_seeds: the least number of seeds where test accuracies on original labels are compared: in table 1 and figure 2b.
        spare_seeds: network → further seeds where test accuracies are compared, in the place of those that diverge or learn nothing;
            none for those not named.
        timed_seeds: the least number of seeds where times are compared, in figures 1a, 1b and 1c.
        precision: of the convolutional networks.
        decay_steps: updates between two decays of the learning rate; None: an epoch; "auto": see `NetworkClassifier`.

    Example:
        >>> scale = CifarScale(dataset="digits", n_train=100, seeds={"alexnet": 2})
        >>> [spec.seed for spec in scale.specs("alexnet", labels=1.0)]
        [0, 1]
    """

    dataset: str = "cifar10"
    n_train: int | None = None
    n_test: int | None = None
    n_validation: int = 5000
    epochs: Mapping[str, int] = field(default_factory=dict)
    long_epochs: int = 200
    stop_when_fitted: bool = False
    seeds: Mapping[str, int] = field(default_factory=dict)
    compared_seeds: int = 1
    spare_seeds: Mapping[str, int] = field(default_factory=dict)
    timed_seeds: int = 1
    precision: str = "float32"
    decay_steps: int | Literal["auto"] | None = "auto"

    def specs(
        self, network: str, labels: float = 0.0, pixels: Pixels = "true", validation: bool = False, least: int = 1, **params
    ) -> list[RunSpec]:
        """List the runs of a configuration, one per seed.

        Args:
            network: a name in `NETWORKS`.
            labels: the probability that a label is corrupted, in 0…1.
            pixels: how the images are randomized.
            validation: hold out n_validation images.
            least: the least number of seeds.
            params: further parameters of the model.
        """
        common: dict[str, object] = {"network": network, "epochs": self.epochs.get(network, 100), "stop_when_fitted": self.stop_when_fitted}
        common["precision"] = self.precision if network in CONVOLUTIONAL else "float32"
        if self.decay_steps != "auto":
            common["decay_steps"] = self.decay_steps
        spec = RunSpec(
            self.dataset,
            self.n_train,
            self.n_test,
            Randomization(labels, pixels),
            params=common | params,
            n_validation=self.n_validation if validation else None,
        )
        return [replace(spec, seed=seed) for seed in range(max(least, self.seeds.get(network, 1)))]

    def compared_specs(self, network: str, validation: bool = False, **params) -> list[RunSpec]:
        """List the runs of a configuration on original labels whose test accuracy is compared, one per seed; see `specs`."""
        return self.specs(network, validation=validation, least=self.compared_seeds + self.spare_seeds.get(network, 0), **params)


@dataclass(frozen=True, kw_only=True)
class ImageNetScale:
    """A size of the experiments with Inception V3.

    Args:
        dataset: the dataset in the place of ImageNet; None: the user has to name one.
        image_size: side of the images in pixels.
        n_test: test images; None: all.
        hold_out: hold out a fifth of a dataset that has no test split; see `RunSpec`.
        params: parameters of the network's training.
        compared_seeds: seeds of the rows whose last accuracy is compared with the best along the way, those on original labels without
            augmentation; one of the others.

    Example:
        >>> ImageNetScale(dataset="digits", image_size=75, params={"epochs": 1}).hold_out
        True
    """

    dataset: str | None = None
    image_size: int
    n_test: int | None = None
    hold_out: bool = True
    params: Mapping[str, object]
    compared_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class KernelScale:
    """A size of section 5's experiments, and the choices that were made on a hold-out of the training images.

    Args:
        grey: dataset in the place of MNIST.
        color: dataset in the place of CIFAR-10.
        n_train: training images of either; None: all.
        n_test: test images of either; None: all.
        n_select: training images for the choices.
        n_holdout: held-out images for the choices.
        gammas: of the Gaussian kernel on raw grey pixels ("raw"), on their Gabor features ("gabor"), and on raw pixels of
            the color dataset ("color"). The first is a choice of ours for
            MNIST, for the papers name none; the others are the best on the hold-out.
        norm_gammas: bandwidths "raw" and "gabor", tried for the paper's norms on all of MNIST; empty: none is tried. "raw" is
            1 / (784 times the variance of a pixel): the kernel exp(-‖x - z‖² / 784) on standardized pixels.
        filters: numbers of random filters, ascending.
        conv: further parameters of `RandomConvClassifier` and `RandomConvKernelClassifier`.
        ridges: the best of `RIDGES` on the hold-out, for these three and "conv".
        conv_sizes: (training images, filters) of the Gaussian kernel on random convolutional features, ascending; None: all images.
        conv_select: filters for the choices of that kernel.
        conv_bandwidth: its best bandwidth on the hold-out without ridge.
        conv_ridge: its best bandwidth and ridge on the hold-out.
        n_study: training images of the studies.
        n_study_test: test images of the studies.

    Example:
        >>> SCALES["demo"].kernels.grey
        'digits'
    """

    grey: str
    color: str
    n_train: int | None = None
    n_test: int | None = None
    n_select: int
    n_holdout: int
    gammas: Mapping[str, float]
    norm_gammas: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    filters: tuple[int, ...]
    conv: Mapping[str, object]
    ridges: Mapping[str, float]
    conv_sizes: tuple[tuple[int | None, int], ...]
    conv_select: int
    conv_bandwidth: float = 0.3
    conv_ridge: tuple[float, float] = (0.1, 1e-3)
    n_study: int
    n_study_test: int


@dataclass(frozen=True, kw_only=True)
class CapacityScale:
    """A size of the experiments on capacity and stability (section 2.2, theorem 1 and corollary 1).

    Args:
        dataset: of all these experiments.
        sizes: numbers of images whose random labels are interpolated by construction.
        noise: the same for images of random bytes, for numbers that the dataset does not have.
        trained: numbers of images for networks of the same size, trained by SGD.
        n_rademacher: images for the Rademacher complexity.
        n_draws: draws of random signs for it.
        n_stability: training images for the stability.
        n_replaced: how many of these are replaced, one at a time.
        epochs: the budget of trained networks.
        widths: of the networks of double descent.
        width_data: (dataset, training images, test images) of these; the first is that of the claim, and others have claims of their
            own.
        width_epochs: their budget.
        width_seeds: their seeds.

    Example:
        >>> SCALES["demo"].capacity.sizes
        (100, 300, 1000)
    """

    dataset: str
    sizes: tuple[int, ...]
    noise: tuple[int, ...] = ()
    trained: tuple[int, ...]
    n_rademacher: int
    n_draws: int
    n_stability: int
    n_replaced: int
    epochs: int
    widths: tuple[int, ...] = (1, 4, 8, 16, 64, 256, 1024)
    width_data: tuple[tuple[str, int, int], ...] = (("digits", 100, 500),)
    width_epochs: int = 150
    width_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A size of all the papers' experiments.

    Args:
        name: what it is called on the command line and in the names of files.
        cifar: tables 1 and 4, and figure 1; and figure 2b, unless that has its own.
        early_stopping: figure 2b, where cifar's runs end before their learning rate has decayed.
        imagenet: table 2 and figure 2a.
        kernels: table 3 and the rest of section 5.
        capacity: section 2.2, theorem 1 and corollary 1.

    Example:
        >>> from shattering.experiments.scales import SCALES
        >>> SCALES["small"].cifar.n_train
        2000
    """

    name: str
    cifar: CifarScale
    imagenet: ImageNetScale
    kernels: KernelScale
    capacity: CapacityScale
    early_stopping: CifarScale | None = None


_GAMMAS = {"raw": 0.02, "gabor": 1.7, "color": 0.01}
_NORM_GAMMAS = {"raw": (0.013436,), "gabor": (2.3, 2.2)}
_RIDGES = {"raw": 1e-3, "gabor": 1e-3, "color": 1e-1, "conv": 1e-2}
_IMAGENET_EPOCH = 801  # updates: 1,281,167 images in batches of 1,600, which are 50 workers' of 32

DEMO = Scale(
    name="demo",
    cifar=CifarScale(
        dataset="digits",
        n_train=300,
        n_validation=100,
        epochs=dict.fromkeys(NETWORKS, 200),
        long_epochs=300,
        stop_when_fitted=True,
    ),
    imagenet=ImageNetScale(
        dataset="imagenet-sample",
        image_size=75,
        n_test=100,
        hold_out=False,
        params={"epochs": 60, "batch_size": 50, "learning_rate": 0.01, "stop_when_fitted": True},
    ),
    kernels=KernelScale(
        grey="digits",
        color="digits",
        n_select=600,
        n_holdout=400,
        gammas={"raw": 0.1, "gabor": 1.7, "color": 0.1},
        filters=(64, 256),
        conv={"patch": 3},
        ridges=_RIDGES,
        conv_sizes=((300, 64), (None, 256)),
        conv_select=256,
        n_study=500,
        n_study_test=500,
    ),
    capacity=CapacityScale(
        dataset="digits",
        sizes=(100, 300, 1000),
        trained=(100, 300),
        n_rademacher=200,
        n_draws=5,
        n_stability=200,
        n_replaced=10,
        epochs=200,
    ),
)
SMALL = Scale(
    name="small",
    cifar=CifarScale(
        n_train=2000,
        n_test=1000,
        n_validation=500,
        epochs={"inception-no-bn": 300},
        stop_when_fitted=True,
        seeds={"mlp-1x512": 3, "mlp-3x512": 3},
        compared_seeds=3,
        spare_seeds={"inception-no-bn": 2},
        timed_seeds=3,
        precision="bfloat16",
    ),
    imagenet=ImageNetScale(
        image_size=128,
        params={"epochs": 100, "batch_size": 64, "learning_rate": 0.01},
        compared_seeds=3,
    ),
    kernels=KernelScale(
        grey="mnist",
        color="cifar10",
        n_train=10_000,
        n_select=10_000,
        n_holdout=5000,
        gammas=_GAMMAS,
        norm_gammas=_NORM_GAMMAS,
        filters=(256, 512, 1024, 2048),
        conv={"cache": "auto"},
        ridges=_RIDGES,
        conv_sizes=((2500, 512), (5000, 1024), (10_000, 2048)),
        conv_select=2048,
        n_study=1000,
        n_study_test=1000,
    ),
    capacity=CapacityScale(
        dataset="cifar10",
        sizes=(500, 2000, 10_000, 50_000),
        trained=(500, 1000, 2000),
        n_rademacher=1000,
        n_draws=10,
        n_stability=500,
        n_replaced=150,
        epochs=200,
        widths=(1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024),
        width_data=(("mnist", 10_000, 2000), ("cifar10", 1000, 2000), ("cifar10", 10_000, 10_000)),
        width_epochs=400,
        width_seeds=3,
    ),
    early_stopping=CifarScale(
        n_train=10_000,
        n_validation=2000,
        epochs=dict.fromkeys(CONVOLUTIONAL, 45),
        compared_seeds=3,
        spare_seeds={"inception-no-bn": 2},
        precision="bfloat16",
        decay_steps=None,
    ),
)
FULL = Scale(
    name="full",
    cifar=CifarScale(
        epochs=dict.fromkeys(CONVOLUTIONAL, 60),
        seeds={"mlp-1x512": 2, "mlp-3x512": 2},
        compared_seeds=3,
        timed_seeds=3,
        precision="bfloat16",
    ),
    imagenet=ImageNetScale(
        dataset="imagenet",
        image_size=299,
        params={"epochs": 100, "batch_size": 1600, "decay": 0.94, "decay_steps": 2 * _IMAGENET_EPOCH},
        compared_seeds=3,
    ),
    kernels=KernelScale(
        grey="mnist",
        color="cifar10",
        n_select=10_000,
        n_holdout=5000,
        gammas=_GAMMAS,
        norm_gammas=_NORM_GAMMAS,
        filters=(256, 1024, 4096, 8192, 32_000),
        conv={"cache": "auto"},
        ridges=_RIDGES,
        conv_sizes=((2500, 512), (5000, 1024), (10_000, 2048), (None, 8192)),
        conv_select=2048,
        n_study=2000,
        n_study_test=2000,
    ),
    capacity=CapacityScale(
        dataset="cifar10",
        sizes=(500, 2000, 10_000, 50_000),
        noise=(200_000, 1_281_167),
        trained=(500, 2000, 10_000, 50_000),
        n_rademacher=1000,
        n_draws=20,
        n_stability=2000,
        n_replaced=20,
        epochs=100,
        widths=(1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048),
        width_data=(("mnist", 10_000, 10_000), ("cifar10", 10_000, 10_000)),
        width_epochs=400,
        width_seeds=3,
    ),
)
SCALES = {scale.name: scale for scale in (DEMO, SMALL, FULL)}
