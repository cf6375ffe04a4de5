"""Bits of memory: how much shorter a model's predictions make the description of the labels that it was trained on.

Whoever has the inputs and the model has to be told L bits to know the labels: the corrections of the model's predictions. Without
the model it takes H bits. What the model saves, H - L, is a lower bound for what it knows about the labels. For random labels
its expectation is at most the mutual information of the labels and the model, and a model that has not seen them saves b bits or
more with a probability of at most 2^-b. Both hold for the lengths below because they are lengths of codes: whatever the model
predicts, the sum of 2^-L over all labelings is at most 1 (Kraft's inequality; then Shannon's theorem, and Markov's inequality).

Morris et al. (2025, arXiv 2505.24832) measure the capacity of language models in such bits: about 3.5 to 3.8 per parameter.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from scipy.special import gammaln

from shattering import seeds
from shattering.errors import InputError, shown, unknown
from shattering.parameters import Natural, Range, check
from shattering.stats import Level, check_finite

Known = Literal["classes", "counts"]
ROUNDING = 1e-3  # by which the sum of an example's probabilities may differ from 1, as with numbers of 16 bits
_RESAMPLES = 20_000  # of the bootstrap


def bits_memorized(labels: np.ndarray, predicted: np.ndarray, n_classes: int, known: Known = "classes") -> float:
    """Measure how many bits a model's predictions save in the description of its training labels.

    The bits are H - L. L is the length of a code for the labels, given the predictions: -sum log2 p(label) for probabilities,
    and `error_bits` for predicted labels. H is their length without the model. For labels drawn at random (known="classes")
    it is n log2 k. For permuted labels, and for those that are not random (known="counts"), it is `arrangement_bits`, so that a
    model which always answers the most frequent class saves nothing.

    Bits that are saved on random or permuted labels are memorized. Those that are saved on true labels may be learned.

    Args:
        labels: (n,) the labels that the model was trained on, as whole numbers 0…k - 1.
        predicted: (n,) the labels predicted for the same examples, or (n, k) probabilities. Rows are divided by their sums,
            which may differ from 1 by rounding.
        n_classes: k, also where some classes have no label.
        known: what is known without the model: "classes", or "counts", how often each class is there.

    Returns:
        Bits, at most H; negative for predictions worse than chance, and -inf where a label has the probability 0.

    Raises:
        InputError: for labels or predictions that are not as described.

    Example:
        >>> import numpy as np
        >>> labels = np.array([0, 1, 1, 0, 1, 0, 0, 1])
        >>> bits_memorized(labels, np.eye(2)[labels], n_classes=2)
        8.0
        >>> round(bits_memorized(labels, labels, n_classes=2), 2)  # that there is no error costs log2(9) bits
        4.83
    """
    check("n_classes", n_classes, Annotated[int, Range(2)])
    labels, predicted = _codes("labels", labels, n_classes), np.asarray(predicted)
    if known not in get_args(Known):
        raise unknown("known", known, get_args(Known))
    if len(predicted) != len(labels):
        raise InputError(f"predicted has {len(predicted)} rows for {len(labels)} labels, expected as many")
    counts = np.bincount(labels, minlength=n_classes)
    entropy = len(labels) * float(np.log2(n_classes)) if known == "classes" else arrangement_bits(counts)
    if predicted.ndim == 2:
        return entropy + log2_likelihood(labels, predicted, n_classes)
    wrong = int((_codes("predicted", predicted, n_classes) != labels).sum())
    return entropy - error_bits(len(labels), wrong, n_classes)


def log2_likelihood(labels: np.ndarray, probabilities: np.ndarray, n_classes: int) -> float:
    """Return the sum of log2 p(label) over examples: minus the length in bits of the labels' ideal code under a model.

    Args:
        labels: (n,) whole numbers 0…k - 1.
        probabilities: (n, k), as `bits_memorized` takes them.
        n_classes: k.

    Raises:
        InputError: for another shape, rows that are no probabilities, and labels that are not in 0…k - 1.

    Example:
        >>> log2_likelihood(np.array([0, 1]), np.array([[0.5, 0.5], [0.75, 0.25]]), 2)
        -3.0
    """
    labels, probabilities = _codes("labels", labels, n_classes), np.asarray(probabilities)
    if probabilities.shape != (len(labels), n_classes) or probabilities.dtype.kind not in "biuf":
        raise InputError(
            f"predicted has shape {probabilities.shape} and type {probabilities.dtype}, expected ({len(labels)}, {n_classes}) probabilities"
        )
    values = probabilities.astype(np.float64)
    sums = values.sum(1)
    bad = ~(values >= 0).all(1) | ~(np.abs(sums - 1) <= ROUNDING)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"row {row} of predicted is {shown(values[row].tolist())}, expected probabilities: numbers from 0 that add up to 1 "
            f"({int(bad.sum())} of {len(bad)} rows are none)"
        )
    with np.errstate(divide="ignore"):
        return float(np.log2(values[np.arange(len(labels)), labels] / sums).sum())


def error_bits(n: int, n_wrong: int, n_classes: int) -> float:
    """Return the length of a code for n labels, given predictions of which n_wrong are wrong.

    It says how many are wrong, which ones, and the right label of each: log2(n + 1) + log2 C(n, m) + m log2(k - 1) bits.

    Args:
        n: examples.
        n_wrong: m, in 0…n.
        n_classes: k.

    Raises:
        InputError: for numbers out of range.

    Example:
        >>> round(error_bits(7, 1, 2), 2)  # 3 bits for how many, log2(7) for which
        5.81
    """
    check("n", n, Natural)
    check("n_wrong", n_wrong, Annotated[int, Range(0, n)])
    check("n_classes", n_classes, Annotated[int, Range(2)])
    choices = arrangement_bits(np.array([n_wrong, n - n_wrong]))
    return float(np.log2(n + 1) + choices + n_wrong * np.log2(n_classes - 1))


def arrangement_bits(counts: np.ndarray) -> float:
    """Return log2 of the multinomial coefficient n! / (n_1! … n_k!): in how many ways labels of these counts can be arranged.

    Args:
        counts: (k,) how many examples each class has.

    Raises:
        InputError: for what is no list of whole numbers from 0.

    Example:
        >>> round(2 ** arrangement_bits(np.array([2, 2])))
        6
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iuf":
        raise InputError(f"counts has shape {counts.shape} and type {counts.dtype}, expected whole numbers of shape (k,)")
    counts = counts.astype(np.float64)
    strange = ~(np.isfinite(counts) & (counts >= 0) & (counts == np.floor(counts)))
    if strange.any():
        raise InputError(f"counts has {counts[strange][0]:g}, expected whole numbers from 0")
    return max(0.0, float((gammaln(counts.sum() + 1) - gammaln(counts + 1).sum()) / np.log(2)))


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of a mean over seeds; None for fewer than three values.

    Three seeds give the range of their values, and so few give intervals that are too narrow: of 95 % intervals of three values
    from a normal distribution about 75 % contain the mean.

    Args:
        values: one per seed.
        level: of confidence, between 0 and 1.

    Raises:
        InputError: for NaN and infinite values, and for a level that is not between 0 and 1.

    Example:
        >>> bootstrap_interval([1.5, 1.0, 2.0])
        (1.0, 2.0)
    """
    check("level", level, Level)
    check_finite("values", values)
    if len(values) < 3:
        return None
    random = seeds.generator(0, "bootstrap")
    means = random.choice(np.asarray(values, dtype=float), (_RESAMPLES, len(values))).mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _codes(name: str, values: np.ndarray, n_classes: int) -> np.ndarray:
    codes = np.asarray(values)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise InputError(f"{name} has shape {codes.shape} and type {codes.dtype}, expected whole numbers of shape (n,)")
    strange = (codes < 0) | (codes >= n_classes)
    if strange.any():
        raise InputError(f"{name} has {codes[strange][0]}, expected 0…{n_classes - 1}")
    return codes.astype(np.int64)
