"""PAC-Bayesian measures: how much noise the parameters bear, and bits of a network; and a bound from labels drawn at random.

σ is the largest standard deviation of Gaussian noise on all parameters at which the expected training error is at most 0.1 above that of
the network. The expectation is over 32 draws (16 and their negatives), the same at every σ, so that the search has a fixed result.
"""

import math

import numpy as np
import torch

from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.noise import Noisy

ALLOWED = 0.1  # error above that of the network
DRAWS = 32
_LEAST, _LARGEST, _CLOSE = 1e-6, 1e4, 0.2  # bounds of the search, and the difference of log σ within which it interpolates
_HIGHEST = 2**15  # levels on either side of 0


def pac_bayes_distance(fitted: Fitted) -> float:
    """Return ‖θ − θ⁰‖²/4σ² + log(n/σ) + 10 (Jiang et al. 2020, eq. 48).

    Example:
        >>> print(f"{pac_bayes_distance(fitted):.3g}")
        6.2e+06
    """
    return _bound(fitted, _squared(fitted, fitted.initial_parameters))


def pac_bayes_norm(fitted: Fitted) -> float:
    """Return ‖θ‖²/4σ² + log(n/σ) + 10 (Jiang et al. 2020, eq. 49).

    Example:
        >>> print(f"{pac_bayes_norm(fitted):.3g}")
        6.2e+06
    """
    return _bound(fitted, _squared(fitted, None))


def pac_bayes_flatness(fitted: Fitted) -> float:
    """Return 1/σ² (Jiang et al. 2020, eq. 53).

    Example:
        >>> print(f"{pac_bayes_flatness(fitted):.3g}")
        1.38e+03
    """
    return fitted.once(tolerated_noise, False) ** -2


def pac_bayes_relative_flatness(fitted: Fitted) -> float:
    """Return 1/σ'², with noise of standard deviation √(σ'²θ_j² + ε²), ε = 10⁻³ (Jiang et al. 2020, eq. 61).

    Example:
        >>> print(f"{pac_bayes_relative_flatness(fitted):.3g}")
        113
    """
    return fitted.once(tolerated_noise, True) ** -2


def code_length(fitted: Fitted) -> float:
    """Return the bits that describe θ − θ⁰ with the fewest levels at which the training error is at most 0.1 above the network's.

    Each tensor of parameters is rounded to 2q + 1 equally spaced levels up to its largest change; the code has the empirical entropy of
    its levels, and 32 bits for its step. q is the smallest that a doubling and a bisection find (after Zhou, Veitch, Austern, Adams &
    Orbanz, ICLR 2019, and Lotfi et al., NeurIPS 2022). q = 0 is the initial network.

    Example:
        >>> print(f"{code_length(fitted):.3g}")
        343
    """
    changes = {name: value.double() - fitted.initial_parameters[name].double() for name, value in fitted.parameters.items()}
    limit = fitted.error + ALLOWED

    def is_enough(q: int) -> bool:
        values = {name: fitted.initial_parameters[name] + quantize(change, q)[1] for name, change in changes.items()}
        return _error(fitted, {name: value.to(fitted.dtype) for name, value in values.items()}) <= limit

    low, high = -1, 0
    while not is_enough(high):
        low, high = high, 2 * high or 1
        if high > _HIGHEST:
            raise NotComputable(f"rounded to {2 * _HIGHEST + 1} levels, the network errs more than its error + {ALLOWED}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return sum(32 + entropy_bits(quantize(change, high)[0]) for change in changes.values())


def ratt(fitted: Fitted) -> float:
    """Return the least over epochs of err_kept + (k − 1) − k err_redrawn, without the slack of the theorem.

    (Garg, Balakrishnan, Kolter & Lipton, ICML 2021.) Redrawn examples are also those that drew their own label; they are like
    the clean ones. So in expectation err_redrawn = ((k − 1) err_corrupted + err_clean)/k and err_kept = err_clean, and the bound is
    (k − 1) times the share of corrupted labels that are predicted: what the tracked history has (online, as `Tracker.end_epoch` says).

    Example:
        >>> print(f"{ratt(fitted):.3g}")
        0.4
    """
    if fitted.history is None or not {"clean_accuracy", "corrupted_accuracy"} <= set(fitted.history):
        raise NotComputable("the history has no corrupted_accuracy: train with track_examples")
    clean, corrupted = (fitted.history[f"{name}_accuracy"].to_numpy(float) for name in ("clean", "corrupted"))
    if np.isnan(clean).any() or np.isnan(corrupted).any() or not len(clean):
        raise NotComputable("the labels are not partly random: none or all of them are corrupted")
    k = fitted.n_classes
    redrawn = ((k - 1) * (1 - corrupted) + (1 - clean)) / k
    return float(((1 - clean) + (k - 1) - k * redrawn).min())


def tolerated_noise(fitted: Fitted, relative: bool) -> float:
    """Return σ, or σ' for noise relative to the parameters, between two sizes a tenth apart, by interpolation in log σ.

    A search with the first four draws says where that with all begins.

    Raises NotComputable if every noise, or none, is borne within 10⁻⁶…10⁴.
    """
    noisy = fitted.once(Noisy, relative, DRAWS) if relative else Noisy(fitted, relative, DRAWS)
    return _largest_borne(noisy, DRAWS, _largest_borne(noisy, 4, 0.1, 2.0), 1.1)


def _largest_borne(noisy: Noisy, n: int, start: float, factor: float) -> float:
    """Return the largest borne σ by n draws: steps by a factor from a start until it is enclosed, then halving, then interpolation."""
    limit = noisy.fitted.error + ALLOWED

    def excess(log_sigma: float) -> float:
        return sum(noisy.error(i, math.exp(log_sigma)) for i in range(n)) / n - limit

    low = high = math.log(start)
    below = above = excess(low)
    while above <= 0:
        low, below, high = high, above, high + math.log(factor)
        if low > math.log(_LARGEST):
            raise NotComputable("no noise of the parameters raises the training error by 0.1")
        above = excess(high)
    while below > 0:
        high, above, low = low, below, low - math.log(factor)
        if high < math.log(_LEAST):
            raise NotComputable("the least noise of the parameters raises the training error by 0.1")
        below = excess(low)
    while high - low > _CLOSE:
        middle = (low + high) / 2
        value = excess(middle)
        low, below, high, above = (middle, value, high, above) if value <= 0 else (low, below, middle, value)
    return math.exp(low + (high - low) * below / (below - above))


def quantize(change: torch.Tensor, q: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (levels −q…q, the values that they stand for) of a tensor, with steps of its largest magnitude over q."""
    largest = float(change.abs().max()) if change.numel() else 0.0
    if not q or not largest:
        return torch.zeros_like(change), torch.zeros_like(change)
    levels = (change * (q / largest)).round()
    return levels, levels * (largest / q)


def entropy_bits(levels: torch.Tensor) -> float:
    """Return the length in bits of levels under the code of their own frequencies: n times Shannon's entropy."""
    counts = levels.unique(return_counts=True)[1].double()
    return max(0.0, float(-(counts * (counts / counts.sum()).log2()).sum()))


def _bound(fitted: Fitted, size: float) -> float:
    sigma = fitted.once(tolerated_noise, False)
    return size / (4 * sigma**2) + math.log(fitted.n / sigma) + 10


def _squared(fitted: Fitted, center: dict[str, torch.Tensor] | None) -> float:
    values = fitted.parameters.items()
    return sum(float((value.double() - (center[name].double() if center else 0)).square().sum()) for name, value in values)


@torch.no_grad()
def _error(fitted: Fitted, parameters: dict[str, torch.Tensor]) -> float:
    """Return the share of the training examples that the network with these parameters misclassifies."""
    wrong = sum(int((fitted.call(parameters, inputs).argmax(1) != labels).sum()) for inputs, labels in fitted.blocks())
    return wrong / fitted.n
