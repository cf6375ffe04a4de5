"""Linear layers and convolutions of any network: which there are, what they do to their inputs, and batch normalization within them.

The layers are found by one evaluation with hooks, not by their names nor by the order of their registration.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from shattering import seeds
from shattering.learners.train.outputs import taken

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
LINEAR = (nn.Linear, *_CONVOLUTIONS)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_DENSE = 64  # the largest dimension of an operator whose matrix is written out
_SAME = 1e-4  # relative difference of the logits of a folded network


@dataclass(frozen=True)
class Layer:
    """A linear layer or convolution of a network.

    Args:
        name: its name in the network.
        module: the layer itself.
        input_shape: shape of one of its inputs, without the batch, at its first call.

    Example:
        >>> [(layer.name, layer.input_shape, tuple(layer.weight.shape)) for layer in fitted.layers]
        [('0', (4,), (24, 4)), ('2', (24,), (24, 24)), ('4', (24,), (3, 24))]
    """

    name: str
    module: nn.Module
    input_shape: tuple[int, ...]

    @cached_property
    def weight(self) -> torch.Tensor:
        """The array of weights, float64, detached."""
        return self.module.weight.detach().double()  # type: ignore[operator]  # a tensor, possibly parametrized

    @property
    def matrix(self) -> torch.Tensor:
        """The weights as a matrix, float64: (outputs, inputs) of a linear layer, (c_out, c_in k_h k_w) of a convolution."""
        return by_output(self.module, self.weight)

    @cached_property
    def norm(self) -> float:
        """The largest singular value of the operator x ↦ W x: of a convolution, with its stride and padding on its true input size."""
        return operator_norm(self.module, self.weight, self.input_shape)

    @property
    def kernel_norm(self) -> float:
        """The largest singular value of `matrix`: for a convolution not that of the operator, but what the literature often takes."""
        return spectral_norm(self.matrix)


def by_output(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Return weights of a layer as a matrix with a row for each output: those of a transposed convolution have the inputs first."""
    return (_by_group(layer, weight).transpose(1, 2).flatten(0, 1) if isinstance(layer, _TRANSPOSED) else weight).flatten(1)


def _by_group(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Return the weights of a transposed convolution as (groups, inputs of a group, outputs of a group, …)."""
    return weight.unflatten(0, (layer.groups, -1))  # type: ignore[arg-type]  # a whole number


def record(network: nn.Module, inputs: torch.Tensor) -> list[Layer]:
    """Return the linear layers and convolutions that an evaluation on inputs (b, …) uses, in the order of their first use."""
    names = {module: name for name, module in network.named_modules()}
    found: dict[nn.Module, Layer] = {}

    def note(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        found.setdefault(module, Layer(names[module], module, tuple(arguments[0].shape[1:])))

    _evaluate(network, inputs, {module: note for module in network.modules() if isinstance(module, LINEAR)})
    return list(found.values())


def foreign_weight(network: nn.Module) -> str | None:
    """Return the name of a parameter of two or more axes that belongs to no linear layer, convolution or normalization; None: all do."""
    for name, module in network.named_modules():
        if not isinstance(module, (*LINEAR, *_NORMS)):
            for own, parameter in module.named_parameters(recurse=False):
                if parameter.ndim > 1 and parameter.requires_grad:
                    return f"{name}.{own}".lstrip(".")
    return None


def uncalled_weight(network: nn.Module, inputs: torch.Tensor) -> str | None:
    """Return the name of a layer's weight on which the output depends though the layer is never called; None: there is none."""
    called = {parameter for layer in record(network, inputs) for parameter in layer.module.parameters()}
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LINEAR)}
    weights = {
        f"{name}.weight": layer.weight for name, layer in layers.items() if layer.weight not in called and layer.weight.requires_grad
    }
    if not weights:
        return None
    with torch.enable_grad():
        slopes = torch.autograd.grad(taken(network(inputs))[0].sum(), list(weights.values()), allow_unused=True)
    return next((name for name, slope in zip(weights, slopes, strict=True) if slope is not None), None)


def repeated_layer(network: nn.Module, inputs: torch.Tensor) -> str | None:
    """Return the name of a linear layer or convolution that one evaluation calls more than once; None: there is none."""
    names = {module: name for name, module in network.named_modules() if isinstance(module, LINEAR)}
    calls: list[str] = []
    _evaluate(network, inputs, dict.fromkeys(names, lambda module, arguments, output: calls.append(names[module])))
    return next((name for name in calls if calls.count(name) > 1), None)


def keyword_call(network: nn.Module, inputs: torch.Tensor) -> str | None:
    """Return the name of a layer or batch normalization that one evaluation calls with its input as a keyword; None: there is none."""
    names = {module: name for name, module in network.named_modules() if isinstance(module, (*LINEAR, *BATCH_NORMS))}
    found: list[str] = []
    _evaluate(network, inputs, dict.fromkeys(names, lambda module, arguments, _: None if arguments else found.append(names[module])))
    return found[0] if found else None


def hidden(network: nn.Module, name: str, inputs: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Return (input of the layer at its first call, output of the network) for inputs (b, …), joined by autograd where it records."""
    caught: list[torch.Tensor] = []

    def catch(module: nn.Module, arguments: tuple) -> None:
        if not caught:
            caught.append(arguments[0])

    handle = network.get_submodule(name).register_forward_pre_hook(catch)
    try:
        output = network(inputs)
    finally:
        handle.remove()
    return caught[0], output


def _evaluate(network: nn.Module, inputs: torch.Tensor, hooks: dict[nn.Module, Callable]) -> Any:
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        with torch.no_grad():
            return network(inputs)
    finally:
        for handle in handles:
            handle.remove()


def fold(network: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """Merge each batch normalization into the layer whose output it takes: W ← sW, b ← β + s(b − m), s = scale/√(v + ε).

    The network itself is changed, and returned. Which layer comes before a normalization shows in one evaluation. Normalizations
    without scale, layers without bias and parallel branches are folded too.

    Args:
        network: in evaluation mode, with nothing that its caller needs.
        inputs: (b, …), on which the folded network is compared with the network.

    Raises:
        ValueError: if a batch normalization does not take the output of a linear layer or convolution, or if the logits change.
    """
    producers, output = _producers(network, inputs)
    if not producers:
        return network
    names = {module: name for name, module in network.named_modules()}
    for norm, layer in producers.items():
        if layer is None:
            raise ValueError(f"batch normalization {names[norm]} does not follow a linear layer or convolution")
        if norm.num_features != len(by_output(layer, layer.weight)):  # type: ignore[arg-type]  # a tensor
            raise ValueError(f"batch normalization {names[norm]} does not normalize the outputs of the layer before it")
        _merge(layer, norm)
        _replace(network, names[norm])
    with torch.no_grad():
        now, before = taken(network(inputs))[0], taken(output)[0]
    if not bool((now - before).abs().max() <= _SAME * before.abs().max().clamp(min=1.0)):
        raise ValueError("batch normalization does not follow a linear layer: folded into it, the logits change")
    return network


@torch.no_grad()
def _merge(layer: Any, norm: Any) -> None:
    """Merge a batch normalization into the layer before it."""
    spread = torch.rsqrt(norm.running_var + norm.eps)
    scale = spread if norm.weight is None else norm.weight * spread
    bias = (0 if layer.bias is None else layer.bias) - norm.running_mean
    shape = (-1, *[1] * (layer.weight.ndim - 1))
    if isinstance(layer, _TRANSPOSED):
        weight = (_by_group(layer, layer.weight) * scale.view(layer.groups, 1, *shape[:-1])).flatten(0, 1)
    else:
        weight = layer.weight * scale.view(shape)
    layer.weight = nn.Parameter(weight)
    layer.bias = nn.Parameter(bias * scale + (0 if norm.bias is None else norm.bias))


def _producers(network: nn.Module, inputs: torch.Tensor) -> tuple[dict[nn.Module, nn.Module | None], Any]:
    """Return the layer that each batch normalization takes its input from, and the output of the network."""
    produced: dict[int, tuple[torch.Tensor, nn.Module]] = {}  # the tensors are kept, so that no other has their id
    producers: dict[nn.Module, nn.Module | None] = {}

    def produce(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        produced[id(output)] = (output, module)

    def consume(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        producers[module] = produced.get(id(arguments[0]), (None, None))[1]

    kinds = [(m, produce if isinstance(m, LINEAR) else consume) for m in network.modules() if isinstance(m, (*LINEAR, *BATCH_NORMS))]
    return producers, _evaluate(network, inputs, dict(kinds))


def _replace(network: nn.Module, name: str) -> None:
    """Replace a module, by name, by the identity."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, nn.Identity())


def spectral_norm(matrix: torch.Tensor) -> float:
    """Return the largest singular value of a matrix, from the eigenvalues of its smaller Gram matrix in float64."""
    matrix = matrix.double()
    if not matrix.numel():
        return 0.0
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt())


def operator_norm(layer: nn.Module, weight: torch.Tensor, input_shape: tuple[int, ...]) -> float:
    """Return the largest singular value of x ↦ W x as a layer computes it.

    A convolution is taken with its stride and its padding at the size of its inputs: its adjoint comes from autograd, and the largest
    eigenvalue of the operator times its adjoint from Lanczos' method (ARPACK) in float64 with a fixed start.

    Args:
        layer: the linear layer or convolution.
        weight: its weights, or others of the same shape.
        input_shape: shape of one of its inputs.

    Raises:
        ArpackNoConvergence: where Lanczos' method does not converge, which should not happen.
    """
    weight = weight.detach().double().cpu()
    if isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward:  # others may scale their weights
        return spectral_norm(weight)
    if not bool(weight.any()):
        return 0.0
    apply = operator(layer, weight)
    size = int(np.prod(input_shape))
    if size <= _DENSE:
        return spectral_norm(apply(torch.eye(size, dtype=torch.float64).view(size, *input_shape)).flatten(1))

    def gram(vector: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy(vector.astype(np.float64)).view(1, *input_shape).requires_grad_()
        with torch.enable_grad():
            output = apply(inputs)
            (back,) = torch.autograd.grad(output, inputs, output.detach())
        return back.flatten().numpy()

    start = seeds.generator(0, "measures/operator norm").standard_normal(size)
    square = LinearOperator((size, size), matvec=gram, dtype=np.float64)  # type: ignore[call-arg]  # the stub lacks matvec
    values = eigsh(square, 1, v0=start, tol=1e-9, return_eigenvectors=False)  # type: ignore[arg-type]  # the stub wants tol whole
    return float(np.sqrt(values[0]))


def operator(layer: nn.Module, weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return x ↦ W x of a layer with other weights, without its bias and its hooks, in float64 on the CPU. x: (b, …)."""
    bare = unparametrized(copied(layer)).cpu().double()
    bare.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
    bare.register_parameter("bias", None)
    forward = type(bare).forward
    return lambda inputs: forward(bare, inputs)


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy; of weights that a hook computes before each evaluation, as older normalizations do, without their graph."""
    computed = [value for module in network.modules() for value in vars(module).values() if isinstance(value, torch.Tensor)]
    return deepcopy(network, {id(value): value.detach().clone() for value in computed if value.grad_fn is not None})


def unparametrized(network: nn.Module) -> nn.Module:
    """Replace the parametrizations of a network, such as weight normalization, by their values; the network itself is returned.

    torch's `remove_parametrizations` would also change the class of the module, which copies share with the caller's own.
    """
    for module in list(network.modules()):
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, (WeightNorm, SpectralNorm)):  # the older forms
                hook.remove(module)
                del module._forward_pre_hooks[key]
        if is_parametrized(module):
            names = list(module.parametrizations)  # type: ignore[arg-type]  # a ModuleDict; torch's stub says any module or tensor
            values = {name: getattr(module, name).detach().clone() for name in names}
            del module.parametrizations
            module.__class__ = type(module).__mro__[1]  # the class before, of which torch had made a subclass
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
    return network


class _WeightNorm(nn.Module):
    """Weight normalization g v / ‖v‖ by plain operations. torch's fused one has wrong second derivatives, and none in forward mode."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim  # of the units, each of which has a norm; -1: all have one

    def forward(self, g: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        others = [axis for axis in range(v.ndim) if axis != self.dim]
        return v * (g / v.square().sum(others, keepdim=self.dim >= 0).sqrt())


class _WeightNormHook(WeightNorm):
    """The same in the older form, which computes the weight in a hook before each evaluation."""

    def compute_weight(self, module: nn.Module) -> torch.Tensor:
        return _WeightNorm(self.dim)(getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v"))


def with_plain_weight_norms(network: nn.Module) -> nn.Module:
    """Replace torch's weight normalizations in a network by ones with right derivatives of all orders; the network itself is returned."""
    for module in network.modules():
        if isinstance(module, ParametrizationList) and isinstance(module[0], parametrizations._WeightNorm):
            module[0] = _WeightNorm(module[0].dim)  # type: ignore[arg-type]  # a whole number
        for key, hook in module._forward_pre_hooks.items():
            if isinstance(hook, WeightNorm):
                module._forward_pre_hooks[key] = _WeightNormHook(hook.name, hook.dim)
    return network
