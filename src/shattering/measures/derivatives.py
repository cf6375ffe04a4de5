"""Derivatives of a network's mean loss in its parameters, over the training examples in blocks: what curvature and gradients share.

Vectors over the parameters are dictionaries by name, as `Fitted.parameters`. Loss: mean cross-entropy in nats.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch.nn import functional as F

from shattering import seeds
from shattering.measures.fitted import MEMORY, Fitted, NotComputable

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


class Hessian:
    """The Hessian, in the parameters, of a sum over the training examples, as products with vectors, by differentiating ⟨gradient, v⟩.

    The gradients are computed once, with the graphs that they are differentiated by, where these fit in `MEMORY`; else for each product.

    Args:
        fitted: the network.
        summand: returns a scalar of the logits (b, k) and labels (b,) of a block, to be added up over the blocks.
    """

    def __init__(self, fitted: Fitted, summand: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        self.fitted, self.summand = fitted, summand
        self._values = {name: p.clone().requires_grad_() for name, p in fitted.parameters.items()}
        self._blocks: Sequence[list[torch.Tensor]] | None = None

    def product(self, vector: Vector) -> Vector:
        """Return H v."""
        values = list(self._values.values())
        total = {name: torch.zeros_like(p) for name, p in self._values.items()}
        for slopes in self._gradients():
            along = torch.stack([(slope * vector[name]).sum() for name, slope in zip(self._values, slopes, strict=True)]).sum()
            if along.requires_grad:  # else the summand is linear in the parameters
                parts = torch.autograd.grad(along, values, retain_graph=True, materialize_grads=True)
                for name, part in zip(self._values, parts, strict=True):
                    total[name] += part
        return total

    def _gradients(self) -> Iterable[list[torch.Tensor]]:
        """Return the gradients of the blocks, each with its graph."""
        if self._blocks is None:
            fits = self.fitted.n * self._bytes() <= MEMORY
            self._blocks = [self._gradient(inputs, labels) for inputs, labels in self.fitted.blocks()] if fits else []
        return self._blocks or (self._gradient(inputs, labels) for inputs, labels in self.fitted.blocks())

    def _gradient(self, inputs: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        with torch.enable_grad():
            block = self.summand(self.fitted.call(self._values, inputs), labels)
            return list(torch.autograd.grad(block, list(self._values.values()), create_graph=True, materialize_grads=True))

    def _bytes(self) -> int:
        """Return what the graph of one example's gradient takes, parameters apart."""
        sizes: dict[int, int] = {}

        def count(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor.detach()

        first = self.fitted.inputs(torch.zeros(1, dtype=torch.int64, device=self.fitted.device))
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            self._gradient(first, self.fitted.labels[:1])
        own = {p.untyped_storage().data_ptr() for p in self._values.values()}
        return sum(size for place, size in sizes.items() if place not in own)


def loss_hessian(fitted: Fitted) -> Hessian:
    """Return the Hessian of the mean loss at the network's parameters."""
    return Hessian(fitted, lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum") / fitted.n)


def residual_hessian(fitted: Fitted) -> Hessian:
    """Return H - G, G the Gauss-Newton matrix: Σ_i Σ_c (p_ic - [c = y_i]) ∂²z_ic/∂θ² / n, as the Hessian of a sum with p held fixed."""

    def linear(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        own = logits.detach()
        return (logits * (own.softmax(1) - F.one_hot(labels, logits.shape[1]))).sum() / fitted.n

    return Hessian(fitted, linear)


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
