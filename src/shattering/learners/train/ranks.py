"""`Ranks`: the processes that train one network together, as `torchrun` starts them. With one process everything here does nothing."""

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from shattering.errors import InputError
from shattering.networks import BatchNorm
from shattering.system.lifetime import end_with_parent
from shattering.system.machine import launched

_PATIENCE = timedelta(hours=2)  # for the process that writes the result
_START = timedelta(minutes=10)  # until all processes have started


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together.

    Args:
        rank: number of this process, 0…world-1. Rank 0 alone writes.
        world: number of processes.

    Example:
        >>> Ranks(rank=1, world=2).share(torch.arange(5))
        tensor([3, 4])
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> "Ranks":
        """Return the rank in the process group, if there is one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a global batch; the parts differ in length by one at most, and may be empty."""
        return rows if self.world == 1 else rows.tensor_split(self.world)[self.rank]

    def bounds(self, n: int) -> tuple[int, int]:
        """Return first and last (exclusive) row of this process's part of n examples."""
        return n * self.rank // self.world, n * (self.rank + 1) // self.world

    def total(self, *tensors: torch.Tensor) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.world > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def agree(self, value: Any) -> Any:
        """Return rank 0's value in every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy rank 0's values to every process."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the module whose gradients are averaged over the processes."""
        if self.world == 1:
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def apart(self, model: nn.Module) -> AbstractContextManager:
        """Return a context in which gradients are summed up locally and not averaged over the processes."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun has started, if it has, unless that has been done.

    Raises InputError where the environment says something else than torchrun does.

    Example:
        >>> with joined() as ranks:
        ...     ranks.world
        1
    """
    rank, world = launched("RANK"), launched("WORLD_SIZE")
    if world == 1 or dist.is_initialized():
        yield Ranks.current()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(f"WORLD_SIZE is {world} in an environment without {missing[0]}, expected both, as torchrun sets them")
    if rank >= world:
        raise InputError(f"RANK is {rank} where WORLD_SIZE is {world}, expected less than that")
    if _LAUNCHER is not None:
        end_with_parent(_LAUNCHER)
    if launched("LOCAL_RANK") < torch.cuda.device_count():  # else it trains on the CPU, or is told that this GPU is not there
        torch.cuda.set_device(launched("LOCAL_RANK"))
    store, rank, world = next(rendezvous("env://", timeout=_START))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_fresh(store, rank, world), rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()


def _fresh(store: Store, rank: int, world: int) -> Store:
    """Return the part of a store that belongs to this start of all processes alone.

    torchrun keeps one store over its restarts, where gloo would find the addresses of dead processes. So everyone greets with a new
    word, rank 0 answers to that word with the name of the part, and goes on when all have heard it: nothing left behind looks like an
    answer.
    """
    word, start = uuid.uuid4().hex, time.monotonic()
    if rank:
        store.set(f"greeting/{rank}", word)
        name = store.get(f"answer/{word}").decode()
        store.add(f"heard/{name}", 1)
        return PrefixStore(name, store)
    while store.add(f"heard/{word}", 0) < world - 1:
        stop_without_launcher()
        if time.monotonic() - start > _START.total_seconds():
            raise InputError(f"not all of {world} processes have started within {_START}, expected them all")
        for other in range(1, world):
            if store.check([f"greeting/{other}"]):
                store.set(f"answer/{store.get(f'greeting/{other}').decode()}", word)
        time.sleep(0.02)
    return PrefixStore(word, store)


_LAUNCHER = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None


def stop_without_launcher() -> None:
    """Raise KeyboardInterrupt if torchrun, which started this process, has died: nobody would watch over the others."""
    if _LAUNCHER is not None and os.getppid() != _LAUNCHER:
        raise KeyboardInterrupt


def local_device() -> str | None:
    """Return the GPU of this process among those of its machine, if several train together."""
    return f"cuda:{launched('LOCAL_RANK')}" if Ranks.current().world > 1 and "LOCAL_RANK" in os.environ else None


class _Total(torch.autograd.Function):
    """The sum over the processes; so is its gradient."""

    @staticmethod
    def forward(_, values: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # torch's takes any arguments
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # likewise
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(layer, BatchNorm) for layer in model.modules())


def synchronize_batch_norm(model: nn.Module) -> None:
    """Make every batch normalization take its moments, while training, over the batches of all processes.

    torch's `SyncBatchNorm` does so on GPUs alone, and not for a layer without a learned scale.

    Example:
        >>> with joined():
        ...     synchronize_batch_norm(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    """
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.forward = _Synchronized(layer, layer.forward)  # type: ignore[method-assign]  # of this instance alone


@dataclass(frozen=True)
class _Synchronized:
    layer: Any
    plain: Any

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        if not layer.training:
            return self.plain(x)
        dims, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        n = x.numel() / x.shape[1] if len(x) else 0.0
        sums = _Total.apply(torch.cat([values.sum(dims), values.new_tensor([n])]))
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        centred = values - mean.view(shape)
        variance = _Total.apply(centred.square().sum(dims)) / n
        with torch.no_grad():
            if layer.running_mean is not None:
                layer.num_batches_tracked += 1
                weight = layer.momentum if layer.momentum is not None else 1 / layer.num_batches_tracked
                layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), float(weight))
                layer.running_var.lerp_((variance * n / (n - 1)).to(layer.running_var.dtype), float(weight))
        out = centred * (variance + layer.eps).rsqrt().view(shape)
        out = out if layer.weight is None else out * layer.weight.view(shape)
        return (out if layer.bias is None else out + layer.bias.view(shape)).to(x.dtype)
