"""Images as points in float64, as two experiments read them, and what their studies say of the data."""

from torch import Tensor

from shattering.data.dataset import Dataset, Split
from shattering.data.preprocess import to_float


def points_of(split: Split) -> Tensor:
    """(n, d) float64 in 0…1."""
    return to_float(split.images).flatten(1).double()


def about(data: Dataset) -> dict:
    return {"data": f"{data.variant}, n = {len(data.train):,}", "n_test": len(data.test), "dataset_fingerprint": data.fingerprint()}
