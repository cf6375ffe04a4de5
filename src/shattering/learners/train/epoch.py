"""One epoch of training: how this process trains it, and what is summed up on the way."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import nn

from shattering import seeds
from shattering.learners.train.batches import Examples, batch_rows
from shattering.learners.train.checkpoint import TrainState, plain
from shattering.learners.train.hyperparameters import Hyperparameters
from shattering.learners.train.optimizers import first_rate, set_rates
from shattering.learners.train.outputs import Outputs
from shattering.learners.train.ranks import Ranks
from shattering.learners.train.tracker import Tracker

AfterUpdate = Callable[[Callable[[], dict]], None]  # is called with a function that makes the next `TrainState.epoch_state`


class Strategy(Protocol):
    """A way to compute the epochs of a training: in this process (`Synchronous`), or by a server and its workers (`Asynchronous`)."""

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
        """Train on all batches of an epoch, or on those that `state.epoch_state` has left.

        Args:
            network: the module to train.
            optimizer: of its parameters.
            data: the training examples.
            hyperparameters: how to train.
            state: where the training stands; its step advances.
            tracker: records each batch, and adds its columns to the result.
            ranks: the processes that share each batch.
            after_update: is called after each update with a function that makes the next `state.epoch_state`.

        Returns:
            Columns of the history: epoch, step, learning_rate, and the online train_loss and train_accuracy (of a regression train_r2),
            which are measured on each batch just before its update.
        """
        ...

    def fetch(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        """Bring the network, the optimizer and the state up to date for a checkpoint within an epoch."""
        ...


class Synchronous:
    """Training by this process, and by those in its process group, which share each batch.

    Randomness inside the network, such as dropout, is a function of (seed, epoch), or, with several processes, of
    (seed, step, rank). Global generators are left as they were.
    """

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
        """Train on what is left of an epoch, as `Strategy` says."""
        network.train()
        epoch, device, seed = len(state.history), data.labels.device, hyperparameters.order_seed
        rate = first_rate(optimizer, hyperparameters.learning_rate_at(epoch, state.step))
        totals = EpochTotals(state.epoch_state, rate, device, hyperparameters.outputs, ranks, tracker)
        batches = batch_rows(len(data.labels), hyperparameters.batch_size, seed, epoch, device, data.windows)[totals.batches :]
        shares = [ranks.share(rows) for rows in batches]
        with seeded(device, seeds.integer(seed, "dropout", epoch)), closing(data.epoch(epoch, shares)) as images:
            totals.restore_generators()
            for batch, rows in zip(batches, shares, strict=True):
                if ranks.world > 1:
                    _seed(device, seeds.integer(seed, f"dropout/{ranks.rank}", state.step))
                set_rates(optimizer, hyperparameters.learning_rate_at(epoch, state.step))
                # a compiled network is compiled for the shape of a whole batch alone
                module = network if len(batch) == hyperparameters.batch_size or ranks.world > 1 else plain(network)
                labels = data.labels[rows]
                loss, logits = _update(module, optimizer, next(images), labels, len(batch), hyperparameters, ranks)
                totals.add(rows, loss, logits, labels)
                state.step += 1
                after_update(totals.snapshot)
        return totals.finish(state, data.labels)

    def fetch(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        """Do nothing: this process has everything at any time."""


class EpochTotals:
    """Loss and correct predictions, summed over the part of an epoch that is done. It stays on the device and only reads.

    Args:
        begun: the `snapshot` of an interrupted epoch to go on with; empty: a new epoch.
        rate: learning rate at the beginning of the epoch.
        device: where the network is.
        outputs: says what is measured of the network's outputs.
        ranks: the processes that share each batch.
        tracker: records the training examples; None: nothing is recorded.
    """

    def __init__(self, begun: dict, rate: float, device: torch.device, outputs: Outputs, ranks: Ranks, tracker: Tracker | None):
        self.outputs = outputs
        self.device, self.ranks, self.tracker = device, ranks, tracker
        self.generators = begun.get("generators", {})
        self.rate = begun.get("rate", rate)
        self.batches = begun.get("batches", 0)
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        if begun and ranks.rank == 0:
            self.loss += begun["loss"].to(device)
            self.correct += begun["correct"].to(device)
        self.mine: list[torch.Tensor] = []

    def add(self, rows: torch.Tensor, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch, or this process's part of one. rows, labels: (b,); loss: summed over them; logits: (b, classes)."""
        self.batches += 1
        self.loss += loss
        self.correct += self.outputs.right(logits, labels)
        if self.tracker:
            self.tracker.record(rows, logits)
            if self.ranks.world > 1:
                self.mine.append(rows)

    def snapshot(self) -> dict:
        """Return what a checkpoint must hold of the epoch beside the model, the optimizer and the tracker."""
        loss, correct = self._totals()
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type in ("cuda", "mps"):
            generators["device"] = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.mps.get_rng_state()
        return {"batches": self.batches, "rate": self.rate, "loss": loss.cpu(), "correct": correct.cpu(), "generators": generators}

    def restore_generators(self) -> None:
        """Let the randomness inside the network go on where it stood."""
        if "cpu" in self.generators:
            torch.set_rng_state(self.generators["cpu"])
        if "device" in self.generators and self.device.type == "cuda":
            torch.cuda.set_rng_state(self.generators["device"], self.device)
        elif "device" in self.generators and self.device.type == "mps":
            torch.mps.set_rng_state(self.generators["device"])

    def finish(self, state: TrainState, labels: torch.Tensor) -> dict:
        """End an epoch of examples with labels (n,).

        Returns its row of the history: epoch, step, learning_rate, the online train_loss and train_accuracy (train_r2 of a regression),
        and the tracker's columns.
        """
        state.epoch_state = {}
        loss, correct = self._totals()
        row = {"epoch": len(state.history) + 1, "step": state.step, "learning_rate": self.rate}
        row |= {f"train_{name}": value for name, value in self.outputs.measured(loss.item(), int(correct), labels).items()}
        return row | (self.tracker.end_epoch() if self.tracker else {})

    def _totals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum loss and correct predictions over all processes; the tracker gathers their records."""
        loss, correct = self.loss.clone(), self.correct.clone()
        self.ranks.total(loss, correct)
        if self.tracker and self.ranks.world > 1:
            mine = torch.cat(self.mine) if self.mine else torch.zeros(0, dtype=torch.int64, device=self.device)
            self.tracker.gather(mine, self.ranks.total)
        return loss, correct


def _update(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    n: int,
    hyperparameters: Hyperparameters,
    ranks: Ranks,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Update by the gradient of the mean loss over a batch of n examples, of which `images` are this process's part.

    Returns the summed loss and the logits of the part.
    """
    optimizer.zero_grad()
    parts = max(1, min(hyperparameters.accumulate, n // (2 * ranks.world)))  # each has at least two examples
    if parts == ranks.world == 1:
        with hyperparameters.autocast():
            logits, loss, objective = hyperparameters.losses(hyperparameters.call(network, images), labels)
        objective.backward()
        optimizer.step()
        return loss.detach() * n, logits.detach()
    losses, outputs = [], []
    for i, (part, targets) in enumerate(zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)):
        with nullcontext() if i == parts - 1 else ranks.apart(network):
            with hyperparameters.autocast():
                logits, loss, objective = hyperparameters.losses(hyperparameters.call(network, part), targets, "sum")
            (objective * (ranks.world / n)).backward()  # gradients are averaged over the processes
        losses.append(loss.detach())
        outputs.append(logits.detach())
    optimizer.step()
    return torch.stack(losses).sum(), torch.cat(outputs)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators for the CPU and this device, and restore them afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _seed(device, seed)
        yield


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
