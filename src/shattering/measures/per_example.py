"""Gradients of single examples in the parameters, as outer products wherever the network allows it.

For one example, the gradient of a linear layer's weights is the derivative in the layer's output times the layer's input. One evaluation
and one backward pass of a whole block give both for every example, so that lengths, moments and scalar products of gradients need no
gradient that is written out (Goodfellow, "Efficient per-example gradient computations", 2015). Where a layer has several positions, as a
convolution has, its gradients are sums over them, and are written out layer by layer, in blocks of examples. Parameters of other kinds of
layers, and those that are used twice or elsewhere, are differentiated one example at a time (`torch.func.vmap`). Which parameters are
which shows in a comparison with plain gradients of two examples.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.func import grad, vmap
from torch.nn import functional as F

from shattering.measures.derivatives import Vector
from shattering.measures.fitted import MEMORY, Fitted

Scalars = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (logits (b, k), labels (b,)) → a number per example, (b,)
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
_SAME = 1e-3  # relative difference of a gradient from the plain one


@dataclass(frozen=True, eq=False)
class Outer:
    """The gradients of b examples in one tensor of parameters: that of example i is slopes[i] ⊗ inputs[i].

    Args:
        slopes: (b, o).
        inputs: (b, d), of which o d is the number of parameters; ones (b, 1) where the gradients are written out in slopes.
    """

    slopes: torch.Tensor
    inputs: torch.Tensor

    def squares(self) -> torch.Tensor:
        """Return the squared lengths of the gradients, (b,) float64."""
        return self.slopes.double().square().sum(1) * self.inputs.double().square().sum(1)

    def sums(self, power: int = 1) -> torch.Tensor:
        """Return the sum over the examples of the gradients' components to a power, (o d,) float64."""
        return (self.slopes.double().pow(power).T @ self.inputs.double().pow(power)).flatten()

    def products(self, other: "Outer") -> torch.Tensor:
        """Return the scalar products with the gradients of b' other examples, (b, b') float64."""
        return (self.slopes.double() @ other.slopes.double().T) * (self.inputs.double() @ other.inputs.double().T)


def written_out(gradients: torch.Tensor) -> Outer:
    """Return gradients (b, …) of b examples as they are; those in a single number are (b,)."""
    return Outer(gradients.view(len(gradients), -1) if gradients.ndim == 1 else gradients.flatten(1), gradients.new_ones(len(gradients), 1))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The logits of a block of examples, of which any number per example can be differentiated in the parameters.

    Args:
        fitted: the network.
        inputs: (b, …).
        logits: (b, k), joined by autograd to what was added to the outputs of layers.
        layers: the layers whose gradients are outer products, by name.
        taps: for each call of such a layer its name, its inputs (b, …), and zeros that were added to its output (b, …).
    """

    fitted: Fitted
    inputs: torch.Tensor
    logits: torch.Tensor
    layers: dict[str, nn.Module]
    taps: list[tuple[str, torch.Tensor, torch.Tensor]]

    @cached_property
    def _rows(self) -> list[torch.Tensor]:
        return [_positions(self.layers[name], inputs) for name, inputs, _ in self.taps]

    def gradients(self, scalars: Scalars, labels: torch.Tensor) -> dict[str, Outer]:
        """Return the gradients of a number per example in each tensor of parameters, by name. Nothing is divided by b.

        Args:
            scalars: returns a number per example, (b,), of logits (b, k) and labels.
            labels: (b,), given to `scalars`.
        """
        found: dict[str, Outer] = {}
        if self.taps:
            total = scalars(self.logits, labels).sum()
            zeros = [added for _, _, added in self.taps]
            slopes = torch.autograd.grad(total, zeros, retain_graph=True, materialize_grads=True)
            for name in dict.fromkeys(name for name, _, _ in self.taps):
                calls = [i for i, (own, _, _) in enumerate(self.taps) if own == name]
                found |= _of_layer(name, self.layers[name], [slopes[i] for i in calls], [self._rows[i] for i in calls])
        others = {name: p for name, p in self.fitted.parameters.items() if name not in found}
        found |= {name: written_out(part) for name, part in one_by_one(self.fitted, others, scalars, self.inputs, labels).items()}
        return {name: found[name] for name in self.fitted.parameters}

    def mean_squares(self, scalars: Scalars, probabilities: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return Σ_i Σ_c p_ic g_icj² in each parameter j, by name, float64; g_ic: gradient of the number of example i with the label c.

        Args:
            scalars: as in `gradients`.
            probabilities: (b, k) p, the weights of the labels.
        """
        rows: dict[str, torch.Tensor] = {}
        sums: dict[str, torch.Tensor] = {}
        inputs: dict[str, torch.Tensor] = {}
        for c, weights in enumerate(probabilities.T):
            for name, found in self.gradients(scalars, torch.full((len(weights),), c, device=weights.device)).items():
                if found.inputs.shape[1] == 1:  # the sum over the examples is as small as can be
                    sums[name] = sums.get(name, 0) + ((weights * found.inputs[:, 0].square()) @ found.slopes.square()).double()
                else:  # inputs are the same for each label, so that one product does for all
                    rows[name] = rows.get(name, 0) + weights[:, None] * found.slopes.square()
                    inputs[name] = found.inputs
        return sums | {name: (part.double().T @ inputs[name].double().square()).flatten() for name, part in rows.items()}


def evaluate(fitted: Fitted, inputs: torch.Tensor) -> Evaluation:
    """Evaluate a block of examples (b, …), so that numbers of their logits can be differentiated for each of them."""
    return _evaluate(fitted, inputs, fitted.once(_layers))


def blocks(fitted: Fitted) -> Iterator[tuple[Evaluation, torch.Tensor]]:
    """Yield evaluations of the training examples with their labels (b,), so few at a time that they stay within `MEMORY`."""
    for inputs, labels in fitted.blocks(bytes_per_example=bytes_per_example(fitted)):
        yield evaluate(fitted, inputs), labels


def bytes_per_example(fitted: Fitted) -> int:
    """Return what one example takes: what layers get and give, and the gradients that are written out, twice. At most `MEMORY`."""
    return fitted.once(_bytes_per_example)


def _bytes_per_example(fitted: Fitted) -> int:
    first = evaluate(fitted, fitted.inputs(torch.zeros(1, dtype=torch.int64, device=fitted.device)))
    with torch.enable_grad():
        found = first.gradients(lambda logits, _: logits.sum(1), fitted.labels[:1])
    passed = sum(rows.numel() + 3 * added.numel() for rows, (_, _, added) in zip(first._rows, first.taps, strict=True))
    gradients = sum(part.slopes.numel() + part.inputs.numel() for part in found.values())
    return min(MEMORY, (passed + 2 * gradients) * fitted.dtype.itemsize)


def one_by_one(fitted: Fitted, parameters: Vector, scalars: Scalars, inputs: torch.Tensor, labels: torch.Tensor) -> Vector:
    """Return the gradients in some of the parameters, name → (b, …), by `vmap`; in a loop where an operation has no rule for it."""
    if not parameters:
        return {}

    def one(some: Vector, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return scalars(fitted.call({**fitted.parameters, **some}, x[None]), y[None])[0]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        try:
            return vmap(grad(one), in_dims=(None, 0, 0))(parameters, inputs, labels)
        except RuntimeError:  # of a recurrent layer, say, or of a forward pass that branches on its numbers
            found = [_plain(fitted, x[None], scalars, y[None]) for x, y in zip(inputs, labels, strict=True)]
    return {name: torch.stack([one[name] for one in found]) for name in parameters}


def _evaluate(fitted: Fitted, inputs: torch.Tensor, layers: dict[str, nn.Module]) -> Evaluation:
    taps: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    names = {module: name for name, module in layers.items()}

    def tap(module: nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor:
        added = torch.zeros_like(output, requires_grad=True)
        taps.append((names[module], arguments[0].detach(), added))
        return output + added  # a tensor of its own, so that what comes next may change it in place

    handles = [module.register_forward_hook(tap) for module in names]
    try:
        with torch.enable_grad():
            logits = fitted.call(fitted.parameters, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Evaluation(fitted, inputs, logits, layers, taps)


def _layers(fitted: Fitted) -> dict[str, nn.Module]:
    """Return the layers whose gradients are right as outer products: on two examples they are those of plain backward passes."""
    own = {name: module for name, module in fitted.module.named_modules() if _is_candidate(fitted, name, module)}
    rows = torch.arange(min(2, fitted.n), device=fitted.device)
    inputs = fitted.inputs(rows)
    seen = _evaluate(fitted, inputs, own)
    strange = {name for name, given, added in seen.taps if not len(given) == len(added) == len(rows)}
    own = {name: own[name] for name in dict.fromkeys(name for name, _, _ in seen.taps) if name not in strange}

    def mixed(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return logits @ torch.arange(1, logits.shape[1] + 1, dtype=logits.dtype, device=logits.device)

    found = _evaluate(fitted, inputs, own).gradients(mixed, rows) if own else {}
    plain = [_plain(fitted, x[None], mixed, y[None]) for x, y in zip(inputs, fitted.labels[rows], strict=True)]
    names = [name for name in own if all(_is_same(found[full], plain, full) for full in _names(fitted, name))]
    return {name: own[name] for name in names}


def _is_candidate(fitted: Fitted, name: str, module: nn.Module) -> bool:
    return isinstance(module, _KINDS) and getattr(module, "groups", 1) == 1 and bool(_names(fitted, name))


def _names(fitted: Fitted, layer: str) -> list[str]:
    """Return the names of a layer's trainable parameters."""
    return [name for name in (f"{layer}.weight".lstrip("."), f"{layer}.bias".lstrip(".")) if name in fitted.parameters]


def _plain(fitted: Fitted, inputs: torch.Tensor, scalars: Scalars, labels: torch.Tensor) -> Vector:
    values = {name: p.clone().requires_grad_() for name, p in fitted.parameters.items()}
    with torch.enable_grad():
        total = scalars(fitted.call(values, inputs), labels).sum()
        slopes = torch.autograd.grad(total, list(values.values()), materialize_grads=True)
    return dict(zip(values, slopes, strict=True))


def _is_same(found: Outer, plain: list[Vector], name: str) -> bool:
    ours = torch.einsum("bo,bd->bod", found.slopes, found.inputs).flatten(1)
    theirs = torch.stack([one[name].flatten() for one in plain])
    return not ours.numel() or bool((ours - theirs).abs().max() <= _SAME * theirs.abs().max())


def _of_layer(name: str, layer: nn.Module, slopes: list[torch.Tensor], rows: list[torch.Tensor]) -> dict[str, Outer]:
    """Return the gradients in weight and bias, from slopes (b, …) and inputs (b, T, d) of each call of the layer."""
    linear = isinstance(layer, nn.Linear)
    given = [part.unsqueeze(1).flatten(1, -2) if linear else part.flatten(2).transpose(1, 2) for part in slopes]
    at, inputs = torch.cat(given, 1), torch.cat(rows, 1)  # (b, T, o), (b, T, d)
    once = at.shape[1] == 1
    weight = Outer(at[:, 0], inputs[:, 0]) if once else written_out(at.transpose(1, 2) @ inputs)
    found = {f"{name}.weight".lstrip("."): weight}
    if layer.bias is not None:
        found[f"{name}.bias".lstrip(".")] = written_out(at.sum(1))
    return found


def _positions(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what the layer multiplies its weights by at each of its T positions, (b, T, d), for inputs (b, …)."""
    if isinstance(layer, nn.Linear):
        return inputs.unsqueeze(1).flatten(1, -2)
    assert isinstance(layer, (nn.Conv1d, nn.Conv2d))
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    flat = (1,) * (2 - len(layer.kernel_size))  # a convolution of sequences is one of images of height 1
    kernel, dilation, stride = ((*flat, *sizes) for sizes in (layer.kernel_size, layer.dilation, layer.stride))
    return F.unfold(padded.unsqueeze(2) if flat else padded, kernel, dilation, 0, stride).transpose(1, 2)
