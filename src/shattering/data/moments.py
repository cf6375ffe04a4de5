"""Mean and standard deviation of the features of a table, and of the channels of images, in float64."""

from collections.abc import Iterable, Iterator

import torch

_ENTRIES = 2**24  # of a part of a table, 128 MiB in float64

MeanStd = tuple[torch.Tensor, torch.Tensor]

_ROUNDED = 1e-6  # of the squared mean: a variance below it is not computed from squares


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Return images (n, c, h, w) of uint8 as float32 in 0…1, and images of floats and other inputs as they are.

    The type carries the scale, so 255 is divided out once.
    """
    return images.float().div_(255) if images.dtype == torch.uint8 and images.ndim == 4 else images


def feature_moments(table: torch.Tensor) -> MeanStd:
    """Return mean and standard deviation (features,) of a table (n, features), also of numbers whose squares float64 cannot hold."""
    means, stds = zip(*map(column_moments, in_float64(table)), strict=True)
    return torch.cat(means), torch.cat(stds)


def in_float64(table: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield a table in float64, some columns at a time."""
    for columns in table.split(max(1, _ENTRIES // len(table)), dim=1):
        yield columns.double()


def column_moments(values: torch.Tensor) -> MeanStd:
    """Return mean and standard deviation (k,) of float64 columns (n, k), over the values that are not NaN; NaN where all are."""
    missing = values.isnan()
    if bool(missing.any()):
        present = [column[~gaps] for column, gaps in zip(values.T, missing.T, strict=True)]
        pairs = [column_moments(one[:, None]) if len(one) else (torch.full((1,), torch.nan, dtype=torch.float64),) * 2 for one in present]
        return torch.cat([mean for mean, _ in pairs]), torch.cat([std for _, std in pairs])
    low, high = values.amin(0), values.amax(0)
    exponent = torch.maximum(low.abs(), high.abs()).frexp().exponent.clamp(-1000, 1000)
    scale = torch.exp2(exponent.double())  # a power of two, so that scaling is exact
    std, mean = torch.std_mean(values / scale, dim=0, correction=0)
    varies = high > low
    return torch.where(varies, mean * scale, low), torch.where(varies, std * scale, 0.0)


def channel_moments(chunks: Iterable[torch.Tensor]) -> MeanStd:
    """Return mean and standard deviation (c,) of the channels of images or sequences, which come in chunks (b, c, …).

    Bytes of images count as 0…1.
    """
    n, first = 0, None
    total = squares = near = near_squares = torch.zeros((), dtype=torch.float64)
    for chunk in chunks:
        values = to_float(chunk).double()
        others = [axis for axis in range(values.ndim) if axis != 1]
        if first is None:
            first = values.mean(others, keepdim=True)
        n += values[:, 0].numel()
        total, squares = total + values.sum(others), squares + values.square().sum(others)
        values = values - first
        near, near_squares = near + values.sum(others), near_squares + values.square().sum(others)
    mean, variance = total / n, squares / n - (total / n).square()
    of_near = near_squares / n - (near / n).square()  # of values far from 0, of whose squares the difference is rounding
    return mean, torch.where(variance < _ROUNDED * mean.square(), of_near, variance).clamp(min=0).sqrt()
