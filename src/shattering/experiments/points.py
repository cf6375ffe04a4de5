"""Images as points, and a description of the data, for the two experiments with kernels and features."""

from torch import Tensor

from shattering.data.dataset import Dataset
from shattering.data.preprocess import to_float
from shattering.data.split import Split


def points_of(split: Split) -> Tensor:
    """Return the images of a split as points (n, d), float64 in 0…1."""
    return to_float(split.inputs).flatten(1).double()


def about(data: Dataset) -> dict:
    """Describe the data of a study, as entries of its numbers."""
    return {"data": f"{data.variant}, n = {len(data.train):,}", "n_test": len(data.test), "dataset_fingerprint": data.fingerprint()}
