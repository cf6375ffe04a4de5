"""Asynchronous SGD (ICLR 2017, appendix A): workers compute gradients of parameters that are some updates old, and a server applies them.

Both are actors on Ray. Their order is fixed, so that a training can be repeated: the batches go to the workers in turn, the gradients are
applied in the order of the batches, and each is of the parameters as they were a given number of updates before.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from shattering import seeds
from shattering.errors import InputError
from shattering.learners.train.batches import Examples, batch_rows
from shattering.learners.train.checkpoint import TrainState
from shattering.learners.train.epoch import AfterUpdate, EpochTotals
from shattering.learners.train.hyperparameters import Hyperparameters
from shattering.learners.train.optimizers import set_rates
from shattering.learners.train.ranks import Ranks
from shattering.learners.train.tracker import Tracker
from shattering.networks import BatchNorm
from shattering.system.cluster import connected

_RESTARTS = 20  # of a worker
Given = Callable[[], tuple[nn.Module, Hyperparameters]]


@dataclass(frozen=True)
class Version:
    """The trained parameters after `number` updates."""

    number: int
    parameters: list[torch.Tensor]


@dataclass(frozen=True)
class Gradient:
    """The gradient of the mean loss over a batch.

    Args:
        version: number of the parameters that it was computed from.
        values: one per trained parameter; None for one that the loss does not depend on.
        moments: per batch normalization the mean and variance of its inputs, (channels,) each; None for one that was not used.
    """

    version: int
    values: list[torch.Tensor | None]
    moments: list[tuple[torch.Tensor, torch.Tensor] | None]


class ParameterServer:
    """An actor that holds the parameters, the running averages of batch normalization, and the state of SGD. It alone changes them.

    Args:
        given: returns the network as the training finds it, and the hyperparameters.
        optimizer: state dict of SGD.
        number: number of updates so far.
    """

    def __init__(self, given: Given, optimizer: dict, number: int):
        torch.set_num_threads(1)
        self.module, hyperparameters = given()
        self.number = number
        self.optimizer = hyperparameters.optimizer(self.module)
        self.optimizer.load_state_dict(optimizer)

    def version(self) -> Version:
        return Version(self.number, [parameter.detach() for parameter in _trained(self.module)])

    def update(self, gradient: Gradient, rate: float) -> tuple[Version, int]:
        """Update the parameters by a gradient. Returns their new version, and by how many updates the gradient was late."""
        late = self.number - gradient.version
        for parameter, value in zip(_trained(self.module), gradient.values, strict=True):
            parameter.grad = value
        set_rates(self.optimizer, rate)
        self.optimizer.step()
        for layer, moments in zip(_averaging(self.module), gradient.moments, strict=True):
            if moments is not None:
                _average(layer, *moments)
        self.number += 1
        return self.version(), late

    def state(self) -> tuple[dict, dict]:
        """Return the state dicts of the module and of SGD."""
        return self.module.state_dict(), self.optimizer.state_dict()


class GradientWorker:
    """An actor that computes gradients. It keeps no state between them, so that another worker can take its place.

    Args:
        given: returns a network of the same architecture, and the hyperparameters of the training.
    """

    def __init__(self, given: Given):
        torch.set_num_threads(1)
        module, self.hyperparameters = given()
        self.module = module.train()
        self.layers = _averaging(module)
        for layer in self.layers:
            layer.momentum = 1.0  # its running averages are then the moments of the last batch
        averages = {id(buffer) for layer in self.layers for buffer in (layer.running_mean, layer.running_var, layer.num_batches_tracked)}
        self.constant = {name: buffer.clone() for name, buffer in module.named_buffers() if id(buffer) not in averages}

    def gradient(
        self, version: Version, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> tuple[Gradient, tuple[torch.Tensor, torch.Tensor]]:
        """Compute the gradient on one batch. seed: for dropout, and whatever else is drawn from global generators.

        Returns:
            The gradient, and (summed loss, logits (b, classes)).

        Raises:
            InputError: if the network changes buffers other than batch normalization's: the workers' versions of them could not be
                combined.
        """
        parameters = _trained(self.module)
        with torch.no_grad():
            for parameter, value in zip(parameters, version.parameters, strict=True):
                parameter.copy_(value)
        for layer in self.layers:
            layer.num_batches_tracked.zero_()  # type: ignore[union-attr, operator]  # a tensor: the layer tracks
        self.module.zero_grad()
        with seeds.everywhere(seed):
            with self.hyperparameters.autocast():
                logits, loss, objective = self.hyperparameters.losses(self.hyperparameters.call(self.module, images), labels)
            objective.backward()
        self._check_buffers()
        moments = [(layer.running_mean, layer.running_var) if layer.num_batches_tracked else None for layer in self.layers]
        gradient = Gradient(version.number, [parameter.grad for parameter in parameters], moments)  # type: ignore[arg-type]  # tensors
        return gradient, (loss.detach() * len(labels), logits.detach())

    def _check_buffers(self) -> None:
        for name, buffer in self.module.named_buffers():
            if name in self.constant and not torch.equal(buffer, self.constant[name]):
                raise InputError(
                    f"the network changes its buffer {name!r} in training, expected none but batch normalization's beside asynchronous"
                )


class Asynchronous:
    """Training by a server and workers; this process only hands them the batches.

    Args:
        ray: the module, connected to a cluster.
        n_workers: number of workers, at least 1.
        staleness: by how many updates gradients are late, where there have been as many.
    """

    def __init__(self, ray: Any, n_workers: int, staleness: int):
        self.ray, self.n_workers, self.staleness = ray, n_workers, staleness
        self.server: Any = None
        self.workers: list[Any] = []
        self.versions: deque[Any] = deque(maxlen=staleness + 1)  # references to the last ones; the newest is the server's

    def train_epoch(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Examples,
        hyperparameters: Hyperparameters,
        state: TrainState,
        tracker: Tracker | None,
        ranks: Ranks,
        after_update: AfterUpdate,
    ) -> dict:
        """Train on what is left of an epoch, as `Strategy` says, and copy the server's parameters into the network at the end.

        The result has also the columns mean_staleness and max_staleness. The first gradients of an epoch are computed from parameters of
        the epoch before. Randomness inside the network is a function of (seed, step).
        """
        if not self.workers:
            self._start(network, optimizer, hyperparameters, state)
        epoch = len(state.history)
        rate, outputs = hyperparameters.learning_rate_at(epoch, state.step), hyperparameters.outputs
        totals = EpochTotals(state.epoch_state, rate, data.labels.device, outputs, ranks, tracker)
        late: list[int] = list(state.epoch_state.get("late", []))
        batches = batch_rows(len(data.labels), hyperparameters.batch_size, hyperparameters.order_seed, epoch, windows=data.windows)
        left = batches[totals.batches :]
        with closing(data.epoch(epoch, left)) as images:
            for rows, gradient, seen in self._gradients(left, images, data.labels, hyperparameters, state):
                late.append(self._update(gradient, hyperparameters.learning_rate_at(epoch, state.step)))
                loss, logits = self._get(seen)
                totals.add(rows, loss, logits, data.labels[rows])
                state.step += 1
                after_update(lambda: totals.snapshot() | {"late": late})
        network.load_state_dict(self._get(self.server.state.remote())[0])
        return totals.finish(state, data.labels) | {"mean_staleness": sum(late) / len(late), "max_staleness": max(late)}

    def fetch(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        """Copy the server's parameters, its optimizer and the earlier versions here, for a checkpoint."""
        of_network, of_optimizer = self._get(self.server.state.remote())
        network.load_state_dict(of_network)
        optimizer.load_state_dict(of_optimizer)
        state.versions = [version.parameters for version in self._get(list(self.versions)[:-1])]

    def end(self) -> None:
        for actor in [self.server, *self.workers]:
            if actor is not None:
                self.ray.kill(actor)

    def _start(self, network: nn.Module, optimizer: torch.optim.Optimizer, hyperparameters: Hyperparameters, state: TrainState) -> None:
        """Start the actors. They reserve no cores, as there may be more workers than cores."""
        ray, places = self.ray, {"num_cpus": 0, "scheduling_strategy": "SPREAD"}
        self.shared = ray.put((network, hyperparameters))  # kept, for workers that are started again
        given = partial(ray.get, self.shared)
        self.server = ray.remote(ParameterServer).options(**places).remote(given, optimizer.state_dict(), state.step)
        worker = ray.remote(GradientWorker).options(**places, max_restarts=_RESTARTS, max_task_retries=-1)
        self.workers = [worker.remote(given) for _ in range(self.n_workers)]
        first = state.step - len(state.versions)
        self.versions.extend(ray.put(Version(first + i, parameters)) for i, parameters in enumerate(state.versions))
        self.versions.append(self.server.version.remote())
        state.versions = []

    def _gradients(
        self,
        batches: Sequence[torch.Tensor],
        images: Iterator[torch.Tensor],
        labels: torch.Tensor,
        hyperparameters: Hyperparameters,
        state: TrainState,
    ) -> Iterator[tuple[torch.Tensor, Any, Any]]:
        """Yield for each batch in order: its rows, and references to its gradient and to (loss, logits).

        While one gradient is applied, the next that need no later parameters are computed, but at most two per worker.
        """
        todo, under_way = enumerate(zip(batches, images, strict=True), state.step), deque()
        while True:
            for step, (rows, inputs) in islice(todo, min(self.staleness + 1, 2 * self.n_workers) - len(under_way)):
                oldest = state.step + 1 - len(self.versions)
                version = self.versions[max(step - self.staleness, oldest) - oldest]
                worker = self.workers[step % self.n_workers].gradient.options(num_returns=2)
                seed = seeds.integer(hyperparameters.order_seed, "dropout/asynchronous", step)
                under_way.append((rows, *worker.remote(version, inputs, labels[rows], seed)))
            if not under_way:
                return
            yield under_way.popleft()

    def _update(self, gradient: Any, rate: float) -> int:
        version, late = self.server.update.options(num_returns=2).remote(gradient, rate)
        self.versions.append(version)
        return self._get(late)

    def _get(self, references: Any) -> Any:
        """Return the values of references. Raises what an actor has raised."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(references)
        except errors.RayError as error:
            cause = error.cause if isinstance(error, errors.RayTaskError) else error
            if not isinstance(cause, errors.RayError):
                raise cause from None
            what = f"the server of the asynchronous training, or one of its workers {_RESTARTS + 1} times, has died"
            raise RuntimeError(f"{what} ({type(cause).__name__}); the same call goes on from the last checkpoint") from None


@contextmanager
def opened(n_workers: int, staleness: int | None) -> Iterator[Asynchronous]:
    """Open asynchronous training by `n_workers` workers, at least one, and end its actors afterwards.

    They run on the cluster that this process is connected to or that RAY_ADDRESS names, else on one of this machine alone.

    Raises:
        InputError: if Ray is missing, or under torchrun.
    """
    if (world := Ranks.current().world) > 1:
        raise InputError(f"asynchronous is {n_workers} in a training by {world} processes, expected 0 there")
    with connected(None, f"asynchronous is {n_workers}") as ray:
        training = Asynchronous(ray, n_workers, n_workers - 1 if staleness is None else staleness)
        try:
            yield training
        finally:
            training.end()


def summary(history: pd.DataFrame) -> dict[str, float]:
    """Return mean_staleness and max_staleness over all updates of a history; empty for a synchronous one."""
    if "max_staleness" not in history:
        return {}
    updates = np.diff(history["step"].to_numpy(), prepend=0)
    mean = np.average(history["mean_staleness"].to_numpy(), weights=updates)
    return {"mean_staleness": float(mean), "max_staleness": int(history["max_staleness"].to_numpy().max())}


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _averaging(module: nn.Module) -> list[Any]:
    """Return the batch normalizations that keep running averages."""
    layers = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    return [layer for layer in layers if layer.running_mean is not None]


def _average(layer: Any, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Update running averages by the moments of a batch, as if the batch had passed through this layer."""
    layer.num_batches_tracked += 1
    weight = layer.momentum if layer.momentum is not None else 1 / layer.num_batches_tracked.item()
    layer.running_mean.lerp_(mean, weight)
    layer.running_var.lerp_(variance, weight)
