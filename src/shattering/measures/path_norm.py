"""The path norm of any network of positively homogeneous operations, found by evaluating it with squared parameters.

Operations are met where torch executes them (a dispatch mode), so that it does not matter whether the network calls modules or functions.
Those that are not known to keep sums over paths are a reason why there is no path norm, never passed over.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from shattering.learners.train.outputs import taken
from shattering.measures.fitted import Fitted, NotComputable
from shattering.networks.alexnet import LocalResponseNorm

_LEFT_OUT = (LocalResponseNorm, nn.LocalResponseNorm)  # as in the literature
_SAME = (  # on numbers of 0 or more these are the identity, or only arrange them anew, or add them up
    *(
        "relu",
        "relu_",
        "leaky_relu",
        "hardtanh",
        "clone",
        "alias",
        "detach",
        "view",
        "_unsafe_view",
        "reshape",
        "t",
        "transpose",
        "permute",
    ),
    *("cat", "add", "add_", "sum", "flatten", "squeeze", "unsqueeze", "expand", "slice", "select", "narrow", "split", "chunk", "stack"),
    *(
        "constant_pad_nd",
        "contiguous",
        "_to_copy",
        "prelu",
        "_prelu_kernel",
        "native_dropout",
        "as_strided",
        "as_strided_",
        "unbind",
        "split_with_sizes",
    ),
)
_PRODUCTS = ("convolution", "addmm", "mm", "mul", "bmm", "mkldnn_convolution", "_convolution", "linear")
_IDENTITY_INSTEAD = ("relu", "relu_", "leaky_relu", "leaky_relu_", "hardtanh")


def path_norm(fitted: Fitted) -> float:
    """Return the sum over all paths of the product of squared weights; see `log_path_norm`."""
    squared = deepcopy(fitted.folded).double()
    for module in squared.modules():
        if isinstance(module, _LEFT_OUT):
            module.forward = lambda images: images  # type: ignore[method-assign]  # of this copy alone
    with torch.no_grad():
        for parameter in squared.parameters():
            parameter.square_()
    first = fitted.inputs(torch.zeros(1, dtype=torch.int64, device=fitted.device))
    if not first.is_floating_point():
        raise NotComputable("inputs are whole numbers, which no path starts from")
    ones = torch.ones_like(first, dtype=torch.float64)
    with torch.no_grad(), _Paths(squared.parameters(), ones):
        output = squared(ones)
    total = float(taken(output)[0].sum())
    if not math.isfinite(total):
        raise NotComputable("the sum over paths is not finite")
    return total


class _Paths(TorchDispatchMode):
    """Executes operations so that they add up paths.

    Args:
        parameters: squared.
        ones: the input.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], ones: torch.Tensor):
        super().__init__()
        self.parameters = {_place(parameter) for parameter in parameters}
        self.known = {*self.parameters, _place(ones)}  # what the network computes with that has been squared

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        for value in _tensors((args, kwargs)):
            if _place(value) not in self.known and not bool(((value == 0) | (value == 1)).all()):  # its own square
                raise NotComputable(
                    "the network computes with a tensor that is no parameter, such as a buffer, so that it has no path norm"
                )
        result = self._execute(name, func, args, kwargs)
        self.known |= {_place(value) for value in _tensors(result)}
        return result

    def _execute(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        if name in _POOLING:
            return _POOLING[name](func, args, kwargs)
        if name in ("mul", "div") and not isinstance(args[1], torch.Tensor):
            return func(args[0], args[1] ** 2)
        if name in _PRODUCTS and not any(self._is_parameter(value) for value in args):
            raise NotComputable(f"the network multiplies ({name}) by what is no parameter, so that it has no path norm")
        if name in ("add", "add_") and (not isinstance(args[1], torch.Tensor) or kwargs.get("alpha", 1) != 1):
            raise NotComputable("the network adds a constant or a multiple, so that it has no path norm")
        if name in _IDENTITY_INSTEAD:
            return args[0] if name.endswith("_") else args[0].clone()
        if name not in (*_SAME, *_PRODUCTS):
            raise NotComputable(f"the network has the operation {name}, whose paths are not known")
        return func(*args, **kwargs)

    def _is_parameter(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and _place(value) in self.parameters


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in the arguments or the result of an operation."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (tuple, list, dict)):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _tensors(value)


def _place(tensor: torch.Tensor) -> int:
    """Return where a tensor's numbers are; views of a tensor have them where it has."""
    return tensor.untyped_storage().data_ptr()


def _average(func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    """Average pooling with its weights squared: within a window they are equal, so Σ w² x is the average times w."""
    names = ("self", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    given = dict(zip(names, args, strict=False)) | kwargs
    inputs = given.pop("self")
    share = func(torch.ones_like(inputs), **given)  # count times w
    count = func(torch.ones_like(inputs), **given | {"divisor_override": 1})
    return func(inputs, **given) * share / count.clamp(min=1)


def _adaptive(func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    inputs, sizes = args[0], list(args[1])
    counts = torch.ones((), dtype=inputs.dtype)
    for size, out in zip(inputs.shape[-len(sizes) :], sizes, strict=True):
        own = [math.ceil((i + 1) * size / out) - i * size // out for i in range(out)]
        counts = counts[..., None] * torch.tensor(own, dtype=inputs.dtype)
    return func(inputs, args[1]) / counts.to(inputs.device)


def _mean(func: Any, args: tuple, kwargs: dict) -> torch.Tensor:
    mean = func(*args, **kwargs)
    return mean * mean.numel() / args[0].numel()


def _maximum(func: Any, args: tuple, kwargs: dict) -> Any:
    """Max-pooling as the sum over its windows."""
    given = dict(zip(("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode"), args, strict=False)) | kwargs
    if set(given.pop("dilation", [1])) != {1}:
        raise NotComputable("the network has a dilated max-pooling, whose paths are not added up")
    inputs = given.pop("self")
    given = {"stride": given["kernel_size"], **given} if given.get("stride") else {**given, "stride": given["kernel_size"]}
    pool = {"max_pool2d_with_indices": torch.ops.aten.avg_pool2d, "max_pool3d_with_indices": torch.ops.aten.avg_pool3d}
    summed = pool[func.overloadpacket.__name__](inputs, **given, divisor_override=1)
    return summed, torch.zeros_like(summed, dtype=torch.int64)


_POOLING: dict[str, Callable] = {
    "avg_pool2d": _average,
    "avg_pool3d": _average,
    "_adaptive_avg_pool2d": _adaptive,
    "_adaptive_avg_pool3d": _adaptive,
    "mean": _mean,
    "max_pool2d_with_indices": _maximum,
    "max_pool3d_with_indices": _maximum,
}
