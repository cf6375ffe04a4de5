"""Derivatives of a network's mean loss in its parameters, over the training examples in blocks: what curvature and gradients share.

Vectors over the parameters are dictionaries by name, as `Fitted.parameters`. Loss: mean cross-entropy in nats.
"""

import torch
from torch.nn import functional as F

from shattering import seeds
from shattering.measures.fitted import Fitted, NotComputable

Vector = dict[str, torch.Tensor]


def loss(fitted: Fitted, parameters: Vector) -> float:
    """Return the mean loss at other values of the parameters; infinite where it is not finite."""
    with torch.no_grad():
        sums = [F.cross_entropy(fitted.call(parameters, x).double(), y, reduction="sum") for x, y in fitted.blocks()]
    return _finite(float(torch.stack(sums).sum()) / fitted.n)


def _finite(value: float) -> float:
    return value if abs(value) < float("inf") else float("inf")


def gradient(fitted: Fitted, parameters: Vector) -> tuple[float, Vector]:
    """Return (mean loss, its gradient) at values of the parameters."""
    values = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    total, sums = 0.0, {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
    for inputs, labels in fitted.blocks():
        block = F.cross_entropy(fitted.call(values, inputs), labels, reduction="sum")
        total += float(block.detach())
        for name, part in zip(values, torch.autograd.grad(block, list(values.values()), materialize_grads=True), strict=True):
            sums[name] += part
    return _finite(total / fitted.n), {name: (part / fitted.n).to(parameters[name].dtype) for name, part in sums.items()}


def hessian_product(fitted: Fitted, vector: Vector) -> Vector:
    """Return H v for the Hessian H of the mean loss at the network's parameters, by differentiating ⟨gradient, v⟩."""
    values = {name: p.clone().requires_grad_() for name, p in fitted.parameters.items()}
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in values.items()}
    for inputs, labels in fitted.blocks():
        block = F.cross_entropy(fitted.call(values, inputs), labels, reduction="sum") / fitted.n
        slopes = torch.autograd.grad(block, list(values.values()), create_graph=True, materialize_grads=True)
        along = torch.stack([(slope * vector[name]).sum() for name, slope in zip(values, slopes, strict=True)]).sum()
        for name, part in zip(values, torch.autograd.grad(along, list(values.values()), materialize_grads=True), strict=True):
            total[name] += part
    return {name: part.to(fitted.dtype) for name, part in total.items()}


def flat(vector: Vector) -> torch.Tensor:
    """Return a vector over the parameters as one tensor, (P,) float64."""
    return torch.cat([part.flatten().double() for part in vector.values()])


def unflat(fitted: Fitted, values: torch.Tensor) -> Vector:
    """Return a tensor (P,) as a vector over the parameters, in the type of the network."""
    parts = values.to(fitted.device, fitted.dtype).split([p.numel() for p in fitted.parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(fitted.parameters.items(), parts, strict=True)}


def draws(fitted: Fitted, purpose: str) -> torch.Generator:
    """Return a generator on the CPU for a purpose: the same draws whatever the device and the global generators."""
    return torch.Generator().manual_seed(seeds.integer(fitted.seed, f"measures/{purpose}"))


def normal(fitted: Fitted, generator: torch.Generator) -> Vector:
    """Draw a standard normal vector over the parameters."""
    return unflat(fitted, torch.randn(fitted.n_parameters, generator=generator, dtype=torch.float64))


def signs(fitted: Fitted, generator: torch.Generator) -> Vector:
    """Draw a vector of -1 and 1 over the parameters."""
    return unflat(fitted, torch.randint(0, 2, (fitted.n_parameters,), generator=generator).double() * 2 - 1)


def dot(a: Vector, b: Vector) -> float:
    """Return ⟨a, b⟩, summed in float64."""
    return float(torch.stack([(a[name].double() * b[name].double()).sum() for name in a]).sum())


def plus(a: Vector, b: Vector, scale: float = 1.0) -> Vector:
    """Return a + scale b."""
    return {name: part + scale * b[name] for name, part in a.items()}


def checked(value: float, what: str) -> float:
    """Return a value, or raise NotComputable for one that is not finite."""
    if not abs(value) < float("inf"):
        raise NotComputable(f"{what} is not finite: the network has diverged, or float32 does not hold it")
    return value
