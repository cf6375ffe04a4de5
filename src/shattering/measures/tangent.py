"""The tangent kernel K_ij = ⟨∇ Σ_c z_c(x_i), ∇ Σ_c z_c(x_j)⟩ / k of at most 300 training examples, equally many of a class.

Logits are summed, so K is n_G by n_G, not the kernel of n_G k by n_G k that keeps them apart.
"""

import torch
from torch.nn import functional as F

from shattering.measures import per_example
from shattering.measures.fitted import MEMORY, Fitted, NotComputable
from shattering.measures.sampling import balanced

EXAMPLES = 300  # n_G
_RIDGE = 1e-6  # times the mean of the diagonal
_ROUGH = 0.01  # by which sums of probabilities may differ from 1 in types of few digits


def label_complexity(fitted: Fitted) -> float:
    """Return √(2 tr Ỹᵀ(K + εI)⁻¹Ỹ / n_G) for centred one-hot labels Ỹ, with ε = 10⁻⁶ tr K / n_G.

    Arora, Du, Hu, Li & Wang ("Fine-grained analysis of optimization and generalization for overparameterized two-layer neural
    networks", ICML 2019) bound the test error so, with the kernel of an infinitely wide network at initialization; here
    it is that of the trained network.

    Example:
        >>> print(f"{label_complexity(fitted):.3g}")
        0.0968
    """
    kernel, labels = fitted.once(kernel_and_labels)
    n = len(kernel)
    ridge = _RIDGE * float(kernel.trace()) / n
    solved = torch.linalg.solve(kernel + ridge * torch.eye(n, dtype=torch.float64), labels)
    return float((2 * (labels * solved).sum() / n).clamp(min=0).sqrt())


def kernel_alignment(fitted: Fitted) -> float:
    """Return -⟨K_c, ỸỸᵀ⟩ / (‖K_c‖ ‖ỸỸᵀ‖), Frobenius norms, with K_c the centred kernel and Ỹ centred one-hot labels.

    The centred alignment of Cortes, Mohri & Rostamizadeh ("Algorithms for learning kernels based on centered alignment", JMLR 2012),
    of the tangent kernel as in Baratin et al. ("Implicit regularization via neural feature alignment", AISTATS 2021).
    It is negated, since an aligned kernel should generalize.

    Example:
        >>> print(f"{kernel_alignment(fitted):.3g}")
        -0.232
    """
    kernel, labels = fitted.once(kernel_and_labels)
    centred = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    target = labels @ labels.T
    norms = float(centred.norm() * target.norm())
    if not norms:
        raise NotComputable("the centred tangent kernel is 0" if float(target.norm()) else "the examples are all of one class")
    return -float((centred * target).sum()) / norms


def kernel_and_labels(fitted: Fitted) -> tuple[torch.Tensor, torch.Tensor]:
    """Return K (n_G, n_G) and the centred one-hot labels (n_G, k), float64 on the CPU.

    Raises NotComputable for a diverged network, and for a kernel of zeros.
    """
    if _are_probabilities(fitted):
        raise NotComputable("the outputs are probabilities, as after a softmax: they add up to 1, so that the tangent kernel is 0")
    rows = balanced(fitted, EXAMPLES)
    kernel = _gram(fitted, rows) / fitted.n_classes
    if not bool(kernel.isfinite().all()) or not float(kernel.trace()):
        raise NotComputable("the tangent kernel is 0" if bool(kernel.isfinite().all()) else "the tangent kernel is not finite")
    labels = F.one_hot(fitted.labels[rows], fitted.n_classes).double().cpu()
    return kernel, labels - labels.mean(0)


def _are_probabilities(fitted: Fitted) -> bool:
    """Return whether the outputs are 0 or more and add up to 1 for all training examples, up to rounding."""
    rounding = min(_ROUGH, 4 * fitted.n_classes * torch.finfo(fitted.dtype).eps)
    return bool((fitted.logits >= 0).all()) and bool(((fitted.logits.sum(1) - 1).abs() <= rounding).all())


def _gram(fitted: Fitted, rows: torch.Tensor) -> torch.Tensor:
    """Return the scalar products of the gradients of the summed logits, in float64; two blocks of gradients exist at a time."""
    blocks = rows.split(max(1, MEMORY // (2 * per_example.bytes_per_example(fitted))))
    starts = [sum(len(block) for block in blocks[:i]) for i in range(len(blocks))]
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for i, first in zip(starts, blocks, strict=True):
        left = _gradients(fitted, first)
        for j, second in zip(starts, blocks, strict=True):
            if j >= i:
                right = left if j == i else _gradients(fitted, second)
                part = sum((left[name].products(right[name]) for name in left), torch.zeros(())).cpu()
                gram[i : i + len(first), j : j + len(second)] = part
                gram[j : j + len(second), i : i + len(first)] = part.T
    return gram


def _gradients(fitted: Fitted, rows: torch.Tensor) -> dict[str, per_example.Outer]:
    evaluation = per_example.evaluate(fitted, fitted.inputs(rows))
    return evaluation.gradients(lambda logits, _: logits.sum(1), fitted.labels[rows])
