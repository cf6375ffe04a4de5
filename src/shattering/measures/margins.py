"""Margins of logits, inputs and hidden layers, and norms of weights over margins.

γ is the tenth percentile of the margins: the ⌈n/10⌉-th smallest. It is negative where a tenth of the examples or more is misclassified:
then measures that divide by it are infinite, which ranks last. They never take |γ|.
"""

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from shattering import seeds
from shattering.measures.fitted import Fitted, NotComputable, margins_of, slope_in
from shattering.measures.layers import by_output
from shattering.measures.norms import log, log_frobenius_product, log_path_norm, log_spectral_product, pairs, squared

_LARGEST_CLASS = 250  # examples of a class between which transport is computed: it costs their cube


def margin(fitted: Fitted) -> float:
    """Return γ: the ⌈n/10⌉-th smallest margin.

    Example:
        >>> print(f"{margin(fitted):.3g}")
        1.98
    """
    return float(fitted.margins.kthvalue(math.ceil(fitted.n / 10)).values)


def inverse_margin(fitted: Fitted) -> float:
    """Return 1/γ², and +∞ for γ ≤ 0 (Jiang et al. 2020, eq. 22).

    Example:
        >>> print(f"{inverse_margin(fitted):.3g}")
        0.255
    """
    gamma = margin(fitted)
    return 1 / gamma**2 if gamma > 0 else math.inf


def spectral_over_margin(fitted: Fitted) -> float:
    """Return Σ_l log ‖W_l‖² − 2 log γ (Jiang et al. 2020, eq. 31).

    Example:
        >>> print(f"{spectral_over_margin(fitted):.3g}")
        11.6
    """
    return _over_margin(fitted, log_spectral_product(fitted))


def frobenius_over_margin(fitted: Fitted) -> float:
    """Return Σ_l log ‖W_l‖_F² − 2 log γ (Jiang et al. 2020, eq. 36).

    Example:
        >>> print(f"{frobenius_over_margin(fitted):.3g}")
        14.9
    """
    return _over_margin(fitted, log_frobenius_product(fitted))


def path_norm_over_margin(fitted: Fitted) -> float:
    """Return the logarithm of the path norm − 2 log γ (Jiang et al. 2020, eq. 43).

    Example:
        >>> print(f"{path_norm_over_margin(fitted):.3g}")
        8.63
    """
    return _over_margin(fitted, log_path_norm(fitted))


def spectral_init_main(fitted: Fitted) -> float:
    """Return Σ_l log ‖W_l‖² − 2 log γ + log Σ_l ‖W_l − W_l⁰‖_F²/‖W_l‖² (Jiang et al. 2020, eq. 29; Neyshabur et al. 2018).

    In the ratios both norms are of unfolded weights, as distances are.

    Example:
        >>> print(f"{spectral_init_main(fitted):.3g}")
        12
    """
    ratio = sum(squared(now - then) / norm**2 for (now, then), norm in zip(pairs(fitted), _unfolded_norms(fitted), strict=True))
    return _over_margin(fitted, log_spectral_product(fitted) + log(ratio))


def spectral_complexity(fitted: Fitted) -> float:
    """Return log(R ‖X‖_F/(nγ)), R = Π_l ‖W_l‖ · (Σ_l (‖(W_l − W_l⁰)ᵀ‖_{2,1}/‖W_l‖)^{2/3})^{3/2}.

    (Bartlett, Foster & Telgarsky, NeurIPS 2017.) ‖Aᵀ‖_{2,1} is the sum over the rows of A, one for each output
    unit, of their Euclidean norms; the rows of a convolution are its filters. In the ratios all norms are of unfolded weights.

    Example:
        >>> print(f"{spectral_complexity(fitted):.3g}")
        5.18
    """
    changes = zip(fitted.layers, pairs(fitted), strict=True)
    rows = [float(by_output(layer.module, now - then).norm(dim=1).sum()) for layer, (now, then) in changes]
    ratio = sum((row / norm) ** (2 / 3) for row, norm in zip(rows, _unfolded_norms(fitted), strict=True))
    size = math.sqrt(sum(float(inputs.double().square().sum()) for inputs, _ in fitted.blocks()))
    log_r = log_spectral_product(fitted) / 2 + 1.5 * log(ratio)
    return _over_margin(fitted, 2 * (log_r + log(size / fitted.n))) / 2


def input_margin(fitted: Fitted) -> float:
    """Return minus the median of γ_i/‖∇_x(z_y − z_j)‖, j the best other class: to first order the distance to the decision boundary.

    (Elsayed, Krishnan, Mobahi, Regan & Bengio, NeurIPS 2018, with the Euclidean norm.)

    Example:
        >>> print(f"{input_margin(fitted):.3g}")
        -0.375
    """
    return -float(np.median(_distances(fitted, hidden=False)[0]))


def hidden_margin(fitted: Fitted) -> float:
    """Return minus the mean of the three quartiles of γ_i/‖∇_h(z_y − z_j)‖ over √(tr Cov h), h the input of the second layer.

    (Jiang, Krishnan, Mobahi & Bengio, ICLR 2019, at the first hidden layer. They fit a regression on such quartiles; here
    nothing is fitted.)

    Example:
        >>> print(f"{hidden_margin(fitted):.3g}")
        -0.0616
    """
    distances, total_variance = _distances(fitted, hidden=True)
    if not total_variance > 0:
        raise NotComputable("the first hidden layer is the same for all examples")
    return -float(np.quantile(distances.numpy(), (0.25, 0.5, 0.75)).mean()) / math.sqrt(total_variance)


def optimal_transport_margin(fitted: Fitted) -> float:
    """Return minus the median of γ_i over Λ Σ_c (n_c/n) V_c: the margin normalized by k-variances.

    V_c is the Wasserstein distance W₁ between the features of two random halves of class c (at most 250 examples of it), Λ the largest
    ‖w_a − w_b‖ of two rows of the last layer (Chuang, Mroueh, Greenewald, Torralba & Jegelka, NeurIPS 2021). The
    halves are drawn from the features themselves, so that the order of the examples does not matter.

    Example:
        >>> print(f"{optimal_transport_margin(fitted):.3g}")
        -0.0269
    """
    typical = float(np.median(fitted.margins.cpu()))  # there is none for a network that has diverged
    features, labels = fitted.features.numpy(), fitted.labels.cpu().numpy()
    spread = 0.0
    for c in np.unique(labels):
        own = features[labels == c]
        if len(own) < 2:
            raise NotComputable("a class has a single example, of which there are no two halves")
        spread += len(own) / fitted.n * _transport(own, fitted.seed)
    last = fitted.layers[-1].matrix.cpu().numpy()
    scale = spread * float(cdist(last, last).max() if len(last) > 1 else np.linalg.norm(last))  # one row: one logit for two classes
    if not scale > 0:
        raise NotComputable("the features of each class are the same, or the last layer does not tell classes apart")
    return -typical / scale


def _transport(features: np.ndarray, seed: int) -> float:
    """Return W₁ between two random halves of features (m, h)."""
    order = np.lexsort(features.T[::-1])  # an order that does not depend on that of the examples
    chosen = order[seeds.generator(seed, "measures/halves").permutation(len(order))][:_LARGEST_CLASS]
    half = len(chosen) // 2
    costs = cdist(features[chosen[:half]], features[chosen[half : 2 * half]])
    return float(costs[linear_sum_assignment(costs)].mean())


def _over_margin(fitted: Fitted, log_size: float) -> float:
    """Return log_size − 2 log γ, and +∞ for γ ≤ 0, whatever the size."""
    gamma = margin(fitted)
    return log_size - 2 * math.log(gamma) if gamma > 0 else math.inf


def _unfolded_norms(fitted: Fitted) -> list[float]:
    norms = [layer.norm for layer in fitted.layers]
    if not all(norms):
        raise NotComputable("a layer's weights are all 0")
    return norms


def _distances(fitted: Fitted, hidden: bool) -> tuple[torch.Tensor, float]:
    """Return (margins over the norms of their gradients (n,), tr Cov) at the inputs or at the first hidden layer, in float64."""
    if hidden and len(fitted.layers) < 2:
        raise NotComputable("the network has no hidden layer")
    found, sums, squares = [], torch.zeros(()), 0.0
    _ = fitted.logits  # finite, or there is no margin
    for inputs, labels in fitted.blocks():
        if not inputs.is_floating_point():
            raise NotComputable("inputs are whole numbers, which have no gradient")
        inputs = inputs.detach().requires_grad_()
        at, logits = fitted.hidden(inputs, 1) if hidden else (inputs, fitted.call(fitted.parameters, inputs))
        margins = margins_of(logits, labels)
        norms = slope_in(at, margins.sum()).flatten(1).double().norm(dim=1).cpu()
        margins, flat = margins.detach().double().cpu(), at.detach().flatten(1).double().cpu()
        found.append(torch.where(margins == 0, 0.0, margins / norms))  # infinite where the gradient is 0
        sums, squares = sums + flat.sum(0), squares + float(flat.square().sum())
    return torch.cat(found), squares / fitted.n - float((sums / fitted.n).square().sum())
