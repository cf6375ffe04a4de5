"""The papers' numbers as printed: accuracies and errors in percent.

C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, "Understanding deep learning requires rethinking generalization",
ICLR 2017.
"""

from dataclasses import dataclass

CITATION = "Zhang, Bengio, Hardt, Recht and Vinyals, ICLR 2017"
N_TRAIN = 50_000  # CIFAR-10
N_IMAGENET = 1_281_167
BATCH_NORM_GAIN = (3.0, 4.0)  # points of test accuracy; section 3

MODEL_NAMES = {
    "inception": "Inception",
    "inception-no-bn": "Inception w/o BatchNorm",
    "alexnet": "AlexNet",
    "mlp-3x512": "MLP 3x512",
    "mlp-1x512": "MLP 1x512",
}
PARAMETERS = {
    "inception": 1_649_402,
    "inception-no-bn": 1_649_402,
    "alexnet": 1_387_786,
    "mlp-3x512": 1_735_178,
    "mlp-1x512": 1_209_866,
    "inception-v3": 23_834_568,
}


@dataclass(frozen=True)
class Table1Row:
    """Table 1: train and test accuracy on CIFAR-10."""

    network: str
    random_labels: bool
    random_crop: bool
    weight_decay: bool
    train: float
    test: float


@dataclass(frozen=True)
class Table2Row:
    """Table 2: top-1 and top-5 accuracy of Inception V3 on ImageNet; best: the best test accuracy along the way."""

    random_labels: bool
    augmentation: bool
    dropout: bool
    weight_decay: bool
    train_top1: float
    train_top5: float
    test_top1: float
    test_top5: float
    best_top1: float | None = None
    best_top5: float | None = None


@dataclass(frozen=True)
class Table3Row:
    """Section 5: test error of interpolating kernel methods."""

    dataset: str
    features: str
    regularized: bool
    test_error: float
    norm: float | None = None


@dataclass(frozen=True)
class Table4Row:
    """Table 4: training accuracy on random labels of CIFAR-10; None: failed to converge. online: True if it is the online accuracy."""

    network: str
    regularizer: str
    train: float | None
    online: bool = False


TABLE_1 = (
    Table1Row("inception", False, True, True, 100.0, 89.05),
    Table1Row("inception", False, True, False, 100.0, 89.31),
    Table1Row("inception", False, False, True, 100.0, 86.03),
    Table1Row("inception", False, False, False, 100.0, 85.75),
    Table1Row("inception", True, False, False, 100.0, 9.78),
    Table1Row("inception-no-bn", False, False, True, 100.0, 83.00),
    Table1Row("inception-no-bn", False, False, False, 100.0, 82.00),
    Table1Row("inception-no-bn", True, False, False, 100.0, 10.12),
    Table1Row("alexnet", False, True, True, 99.90, 81.22),
    Table1Row("alexnet", False, True, False, 99.82, 79.66),
    Table1Row("alexnet", False, False, True, 100.0, 77.36),
    Table1Row("alexnet", False, False, False, 100.0, 76.07),
    Table1Row("alexnet", True, False, False, 99.82, 9.86),
    Table1Row("mlp-3x512", False, False, True, 100.0, 53.35),
    Table1Row("mlp-3x512", False, False, False, 100.0, 52.39),
    Table1Row("mlp-3x512", True, False, False, 100.0, 10.48),
    Table1Row("mlp-1x512", False, False, True, 99.80, 50.39),
    Table1Row("mlp-1x512", False, False, False, 100.0, 50.51),
    Table1Row("mlp-1x512", True, False, False, 99.34, 10.61),
)

TABLE_2 = (
    Table2Row(False, True, True, True, 92.18, 99.21, 77.84, 93.92),
    Table2Row(False, True, False, False, 92.33, 99.17, 72.95, 90.43),
    Table2Row(False, False, False, True, 90.60, 100.0, 67.18, 86.44, 72.57, 91.31),
    Table2Row(False, False, False, False, 99.53, 100.0, 59.80, 80.38, 63.16, 84.49),
    Table2Row(True, False, True, True, 91.18, 97.95, 0.09, 0.49),
    Table2Row(True, False, False, True, 87.81, 96.15, 0.12, 0.50),
    Table2Row(True, False, False, False, 95.20, 99.14, 0.11, 0.56),
)

TABLE_3 = (
    Table3Row("mnist", "raw pixels", False, 1.2, 220),
    Table3Row("mnist", "Gabor wavelets", False, 0.6, 390),
    Table3Row("cifar10", "raw pixels", False, 46),
    Table3Row("cifar10", "random conv-net, 32,000 filters", False, 17),
    Table3Row("cifar10", "random conv-net, 32,000 filters", True, 15),
)

TABLE_4 = (
    Table4Row("inception", "weight decay", 100.0),
    Table4Row("alexnet", "weight decay", None),
    Table4Row("mlp-3x512", "weight decay", 100.0),
    Table4Row("mlp-1x512", "weight decay", 99.21),
    Table4Row("inception", "random cropping", 99.93, online=True),
    Table4Row("inception", "augmentation", 99.28, online=True),
)


def table_1(network: str, random_labels: bool = False, random_crop: bool = False, weight_decay: bool = False) -> Table1Row:
    """Return the row of table 1 for a configuration. Raises StopIteration if the paper has none."""
    wanted = (network, random_labels, random_crop, weight_decay)
    return next(row for row in TABLE_1 if (row.network, row.random_labels, row.random_crop, row.weight_decay) == wanted)
