"""A GPU that is not there: tensors that say that they are on it, compute on the CPU, and refuse what a GPU refuses.

They are mixed with tensors of the CPU only as torch allows it: `copy_`, numbers without axes in elementwise operations, and indices on the
CPU. They have no `numpy()`, are drawn by no generator of the CPU, and on "mps" are never float64. What torch computes by kernels of its own
on a GPU (autocast, compiled code, forward derivatives of `torch.func`) is not pretended.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes  # the one interface for modes below autograd
from torch.utils._pytree import tree_flatten, tree_map_only

_ANYWHERE = ("copy_", "_copy_from")  # operations between devices
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")


class OnGpu(torch.Tensor):
    """A tensor of the GPU. It holds one on the CPU; for torch's own code it is a "meta" tensor, which autograd knows everywhere."""

    held: torch.Tensor
    on = "cuda"

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        if cls.on == "mps" and held.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]  # private, and what torch's own documents make such tensors by
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="meta",
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __reduce_ex__(self, protocol):  # in a file it is what a machine without the GPU reads
        return self.held.__reduce_ex__(protocol)

    def __repr__(self, **_) -> str:
        return f"OnGpu({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        there = kwargs.get("device")
        if there is not None:
            kwargs["device"] = torch.device("cpu")
        name = func._schema.name.removeprefix("aten::")
        if name == "_to_copy" and there is not None and torch.device(there).type == "cpu":
            return func(args[0].held, **kwargs)
        _check(func, name, args, kwargs)
        known = {id(t.held): t for t in tree_flatten((args, kwargs))[0] if isinstance(t, OnGpu)}
        out = func(*tree_map_only(OnGpu, lambda t: t.held, args), **tree_map_only(OnGpu, lambda t: t.held, kwargs))
        return tree_map_only(torch.Tensor, lambda t: known[id(t)] if id(t) in known else OnGpu(t), out)


def _check(func: Any, name: str, args: tuple, kwargs: dict) -> None:
    """Raise RuntimeError for tensors of the CPU where a GPU takes none."""
    if name in _ANYWHERE:
        return
    others = [t for t in tree_flatten((args[0], args[2:]) if name in _INDEXED else (args, kwargs))[0] if _is_on_cpu(t)]
    changed = func._schema.is_mutable and _is_on_cpu(args[0])
    if changed or any(t.ndim or not (torch.Tag.pointwise in func.tags or name in _INDEXED) for t in others):
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found at least two devices, {OnGpu.on}:0 and cpu!")


def _is_on_cpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, OnGpu)


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, to_gpu):
        ctx.to_gpu = to_gpu
        return OnGpu(tensor.clone()) if to_gpu else tensor.held.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[override]  # torch's takes any arguments
        return (gradient.held if ctx.to_gpu else OnGpu(gradient)), None


class _MadeByTorch(TorchDispatchMode):
    """Makes `OnGpu` of what torch itself makes on the device of another tensor, such as zeros in a backward pass."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        is_made = str(kwargs.get("device")) == "meta" and not any(isinstance(value, torch.Tensor) for value in tree_flatten(args)[0])
        return OnGpu(func(*args, **kwargs | {"device": torch.device("cpu")})) if is_made else func(*args, **kwargs)


class _Devices(TorchFunctionMode):
    """Sends what is made on, or moved to, the GPU to `OnGpu`, and lets those tensors say where they are."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name, first, where = getattr(func, "__name__", ""), args[0] if args else None, kwargs.get("device")
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
            return self._move(func, first, args[1:], kwargs)
        if isinstance(first, OnGpu):
            if name == "__set__" and func.__self__ is torch.Tensor.data:
                first.held = args[1].held
            if name == "__get__" and getattr(func, "__self__", None) in _SAID:
                return _SAID[func.__self__]()
            if func is torch.Tensor.numpy:
                raise TypeError(f"can't convert {OnGpu.on}:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")
            if func in (torch.Tensor.data_ptr, torch.Tensor.tolist, torch.Tensor.untyped_storage):
                return getattr(first.held, name)()
        if str(where) == "meta":
            with _disable_current_modes():
                return func(*args, **kwargs)
        if kwargs.get("generator") is not None and (_is_gpu(where) or isinstance(first, OnGpu)):
            raise RuntimeError(f"Expected a '{OnGpu.on}' device type for generator but found 'cpu'")
        if not _is_gpu(where) or name == "_parse_to":
            return func(*args, **kwargs)
        if any(isinstance(value, OnGpu) for value in tree_flatten((args, kwargs))[0]):  # such as zeros_like
            return func(*args, **{key: value for key, value in kwargs.items() if key != "device"})
        made = func(*args, **kwargs | {"device": "cpu"})
        return _Move.apply(made, True) if isinstance(made, torch.Tensor) else made

    def _move(self, func, tensor, args, kwargs):
        given = [*args, *kwargs.values()]
        to_gpu = func is torch.Tensor.cuda or any(_is_gpu(value) or isinstance(value, OnGpu) for value in given)
        to_cpu = func is torch.Tensor.cpu or any(_is_on_cpu(value) or _is_named(value, "cpu") for value in given)
        if isinstance(tensor, OnGpu) if to_cpu else to_gpu and not isinstance(tensor, OnGpu):
            if to_gpu and OnGpu.on == "mps" and (dtype := [value for value in given if isinstance(value, torch.dtype)]):
                tensor = tensor.to(dtype[0])
            tensor = _Move.apply(tensor, to_gpu)
        rest = [
            value.dtype if isinstance(value, torch.Tensor) else value for value in args if isinstance(value, (torch.Tensor, torch.dtype))
        ]
        named = {key: value for key, value in kwargs.items() if key in ("dtype", "memory_format", "copy") and value is not None}
        return func(tensor, *rest, **named) if func is torch.Tensor.to and (rest or named) else tensor


_SAID = {
    torch.Tensor.device: lambda: torch.device(OnGpu.on, 0),
    torch.Tensor.is_cuda: lambda: OnGpu.on == "cuda",
    torch.Tensor.is_meta: lambda: False,
}


def _is_named(value: Any, name: str) -> bool:
    return isinstance(value, (str, torch.device)) and str(value).partition(":")[0] == name


def _is_gpu(value: Any) -> bool:
    return _is_named(value, OnGpu.on)


@contextmanager
def pretended(where: str = "cuda") -> Iterator[None]:
    """Have a GPU within this context. where: "cuda" or "mps"."""
    state = torch.zeros(16, dtype=torch.uint8)
    generator = {
        "get_rng_state": lambda device=None: state.clone(),
        "set_rng_state": lambda new, device=None: state.copy_(new),
        "manual_seed": lambda seed: None,
    }
    cuda = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda device=None: "a pretended GPU",
        "manual_seed_all": lambda seed: None,
        "device": lambda device: nullcontext(),
        "empty_cache": lambda: None,
        "is_current_stream_capturing": lambda: False,
        "mem_get_info": lambda device=None: (8 * 10**9, 8 * 10**9),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
    }
    with ExitStack() as stack:
        stack.enter_context(patch.object(OnGpu, "on", where))
        if where == "cuda":
            stack.enter_context(patch.multiple(torch.cuda, **cuda, **generator))
        else:
            stack.enter_context(patch.multiple(torch.mps, **generator))
            stack.enter_context(patch.object(torch.backends.mps, "is_available", lambda: True))
        stack.enter_context(_MadeByTorch())
        stack.enter_context(_Devices())
        if (torch.ones(2, device=where) + 1).sum().cpu().tolist() != 4.0 or torch.ones(1, device=where).device.type != where:
            pytest.skip("this version of torch does not let a tensor say that it is on another device")
        yield
