"""The training loop: SGD on data that lives on the device or streams from disk, without synchronizing inside an epoch."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from shattering import seeds
from shattering.errors import InputError
from shattering.learners.scores import top5_accuracy, top5_hits
from shattering.learners.train.batches import Stream
from shattering.learners.train.checkpoint import Checkpointer, Training, plain, resume
from shattering.learners.train.epoch import EpochTotals
from shattering.learners.train.ranks import Ranks, stop_without_launcher
from shattering.learners.train.tracker import Tracker

if TYPE_CHECKING:
    from shattering.learners.train.asynchronous import Asynchronous

_STREAMED = 256  # examples evaluated at a time where they are not in memory
AfterUpdate = Callable[[Callable[[], dict]], None]  # is given what makes the next `Training.within`
FIT_CHECK = 0.99  # running accuracy from which a full evaluation decides whether the training set is fitted


@dataclass(frozen=True)
class Examples:
    """Images and labels on the device. images: (n, height, width, c) if channels_last, else (n, …).

    The images are preprocessed, unless there is an `augment`: then they are as they were given, and it makes this
    epoch's version of the images of a batch, preprocessed: (images (b, c, h, w), draws (b, k)) → (b, c, h', w'). Its
    draws for a whole epoch, (n, k) on the CPU, come from `draw(epoch)`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    channels_last: bool
    augment: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    draw: Callable[[int], torch.Tensor] | None = None

    def batch(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """The images of some rows, in memory of their own: a module may change what it is given."""
        images = (
            self.images[rows].clone() if isinstance(rows, slice) else self.images.index_select(0, rows)
        )  # five times faster than [rows]
        return images.permute(0, 3, 1, 2) if self.channels_last else images

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of each batch, as they are in this epoch."""
        if self.augment is None or self.draw is None:
            yield from map(self.batch, batches)
            return
        draws = self.draw(epoch).to(self.labels.device)
        for rows in batches:
            yield self.augment(self.batch(rows), draws.index_select(0, rows))

    def in_order(self, first: int, last: int, size: int) -> Iterator[torch.Tensor]:
        """The images first…last-1, `size` at a time."""
        for start in range(first, last, size):
            yield self.batch(slice(start, min(start + size, last)))

    @property
    def windows(self) -> None:
        """All are shuffled together."""


@dataclass(frozen=True)
class Hyperparameters:
    """What the loop needs of the model's parameters. See `NetworkClassifier` for their meaning."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    decay: float
    decay_steps: int | None
    weight_decay: float
    label_smoothing: float
    auxiliary: float
    order_seed: int
    stop_when_fitted: bool
    evaluate_train: bool
    autocast: Callable[[], AbstractContextManager]
    checkpoint_every: float
    accumulate: int = 1

    def learning_rate_at(self, epoch: int, step: int) -> float:
        """The rate of the update that follows `step` updates and `epoch` whole epochs."""
        return self.learning_rate * self.decay ** (step // self.decay_steps if self.decay_steps else epoch)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)

    def losses(
        self, output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor, reduction: str = "mean"
    ) -> tuple[torch.Tensor, ...]:
        """(logits, their cross-entropy, what is minimized) of a batch: with label smoothing and the auxiliary classifier, if on."""
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        cross_entropy = partial(F.cross_entropy, target=labels, reduction=reduction)
        loss = objective = cross_entropy(logits)
        if self.label_smoothing:
            objective = cross_entropy(logits, label_smoothing=self.label_smoothing)
        if self.auxiliary:
            if auxiliary is None:
                raise InputError(f"auxiliary is {self.auxiliary}, but the network gives no auxiliary logits, expected a pair of logits")
            objective = objective + self.auxiliary * cross_entropy(auxiliary, label_smoothing=self.label_smoothing)
        return logits, loss, objective


def batch_rows(
    n: int,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device | str = "cpu",
    windows: tuple[torch.Tensor, int] | None = None,
) -> list[torch.Tensor]:
    """The rows of each batch of an epoch, a function of (seed, epoch) and the data. A last batch of one joins its neighbour.

    windows: (group (n,) of each row, groups in a window), for data too large to be read in any order: the groups are shuffled, and
    the rows within each window of groups. None: all rows are shuffled.
    """
    generator = torch.Generator().manual_seed(seeds.integer(seed, "order", epoch))
    order = torch.randperm(n, generator=generator)
    if windows is not None:
        groups, size = windows
        place = torch.randperm(int(groups.max()) + 1, generator=generator) // size  # of each group: its window
        order = order[torch.argsort(place[groups[order]], stable=True)]
    batches = list(order.to(device).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch normalization has no variance on one example
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Examples | Stream,
    hyperparameters: Hyperparameters,
    state: Training,
    tracker: Tracker | None = None,
    ranks: Ranks | None = None,
    after_update: AfterUpdate | None = None,
) -> dict:
    """One pass over the data, or what `state.within` has left of it. Returns running (online) loss and accuracy: of each batch just before
    its update.

    tracker: sees each batch, and adds its columns. ranks: the processes that share each batch. after_update: called with what gives the
    next `state.within`. Randomness inside the model, such as dropout, is a function of (seed, epoch), or, with several processes, of
    (seed, step, rank); no global generator is changed.
    """
    model.train()
    epoch, device, ranks = len(state.history), data.labels.device, ranks or Ranks()
    running = EpochTotals(state.within, hyperparameters.learning_rate_at(epoch, state.step), device, ranks, tracker)
    batches = batch_rows(len(data.labels), hyperparameters.batch_size, hyperparameters.order_seed, epoch, device, data.windows)[
        running.batches :
    ]
    shares = [ranks.share(rows) for rows in batches]
    with seeded(device, seeds.integer(hyperparameters.order_seed, "dropout", epoch)), closing(data.epoch(epoch, shares)) as images:  # type: ignore[type-var]
        running.restore_generators()
        for batch, rows in zip(batches, shares, strict=True):
            if ranks.world > 1:
                _seed(device, seeds.integer(hyperparameters.order_seed, f"dropout/{ranks.rank}", state.step))
            for group in optimizer.param_groups:
                group["lr"] = hyperparameters.learning_rate_at(epoch, state.step)
            network = model if len(batch) == hyperparameters.batch_size or ranks.world > 1 else plain(model)  # compiled for one shape alone
            labels = data.labels[rows]
            loss, logits = _update(network, optimizer, next(images), labels, len(batch), hyperparameters, ranks)
            running.add(rows, loss, logits, labels)
            state.step += 1
            if after_update:
                after_update(running.snapshot)
    state.within = {}
    columns = running.columns(len(data.labels))
    return {"epoch": epoch + 1, "step": state.step, "learning_rate": running.rate, **columns}


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    n: int,
    hyperparameters: Hyperparameters,
    ranks: Ranks,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Update by the gradient of the mean loss over a global batch of n, of which these are this process's part.

    Returns the sum of losses, and the logits, of the part.
    """
    optimizer.zero_grad()
    parts = max(1, min(hyperparameters.accumulate, n // (2 * ranks.world)))  # none of fewer than two examples
    if parts == ranks.world == 1:
        with hyperparameters.autocast():
            logits, loss, objective = hyperparameters.losses(model(images), labels)
        objective.backward()
        optimizer.step()
        return loss.detach() * n, logits.detach()
    losses, outputs = [], []
    for i, (part, targets) in enumerate(zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)):
        with nullcontext() if i == parts - 1 else ranks.apart(model):
            with hyperparameters.autocast():
                logits, loss, objective = hyperparameters.losses(model(part), targets, "sum")
            (objective * (ranks.world / n)).backward()  # gradients are averaged over the processes
        losses.append(loss.detach())
        outputs.append(logits.detach())
    optimizer.step()
    return torch.stack(losses).sum(), torch.cat(outputs)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators for the CPU and this device, and put them back afterwards."""
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


def _block(device: torch.device) -> int:
    """Examples evaluated at a time."""
    return 256 if device.type == "cpu" else 4096


@torch.no_grad()
def compute_logits(model: nn.Module, data: Examples | Stream, autocast: Callable[[], AbstractContextManager]) -> torch.Tensor:
    """(n, classes) float32 logits in evaluation mode, on the device."""
    model.eval()
    with autocast():
        return torch.cat([model(images).float() for images in data.in_order(0, len(data.labels), _block(data.labels.device))])


@torch.no_grad()
def predict(model: nn.Module, data: Stream, autocast: Callable[[], AbstractContextManager]) -> torch.Tensor:
    """(n,) the most probable class of each example, on the CPU; the logits are not kept."""
    model.eval()
    with autocast():
        return torch.cat([model(images).argmax(1).cpu() for images in data.in_order(0, len(data.labels), _STREAMED)])


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Examples | Stream,
    autocast: Callable[[], AbstractContextManager],
    ranks: Ranks | None = None,
    predictions: torch.Tensor | None = None,
) -> dict[str, float]:
    """In evaluation mode: loss (mean cross-entropy in nats), accuracy in 0…1, and top5_accuracy if there are more than five classes.

    ranks: the processes that share the work. predictions: (n,) int64 on the device, zeros, to be filled in.
    """
    ranks, n = ranks or Ranks(), len(data.labels)
    if isinstance(data, Examples) and ranks.world == 1:
        logits = compute_logits(model, data, autocast)
        loss = F.cross_entropy(logits, data.labels).item()
        accuracy = (logits.argmax(1) == data.labels).sum().item() / n
        return {"loss": loss, "accuracy": accuracy, **top5_accuracy(logits, data.labels)}
    model.eval()
    start, last = ranks.bounds(n)
    sums = torch.zeros(4, dtype=torch.float64, device=data.labels.device if data.labels.device.type != "mps" else "cpu")
    predicted = torch.zeros_like(data.labels) if predictions is None else predictions
    with autocast():
        for images in data.in_order(start, last, _STREAMED):
            logits, rows = model(images).float(), slice(start, start + len(images))
            labels, predicted[rows] = data.labels[rows], logits.argmax(1)
            losses, right = F.cross_entropy(logits, labels, reduction="sum"), (predicted[rows] == labels).sum()
            sums += torch.stack([losses, right, *top5_hits(logits, labels)]).to(sums)
            start += len(images)
    ranks.total(sums, *([] if predictions is None else [predictions]))
    loss, right, hits, counted = sums.tolist()
    return {"loss": loss / n, "accuracy": right / n} | ({"top5_accuracy": hits / n} if counted else {})


def fit(
    model: nn.Module,
    train: Examples | Stream,
    watched: Mapping[str, Examples | Stream],
    hyperparameters: Hyperparameters,
    *,
    clean: Examples | Stream | None = None,
    tracker: Tracker | None = None,
    checkpoint: Path | None = None,
    key: str = "",
    world_matters: bool = False,
    on_epoch: Callable[[dict], None] | None = None,
    asynchronous: "Asynchronous | None" = None,
) -> Training:
    """Train until the budget ends, the loss is no longer finite, or (if so asked) the training set is fitted.

    Fitted means: every training example is classified as labelled, in evaluation mode. This is checked after each
    epoch whose running accuracy is at least `FIT_CHECK`, until it holds for the first time.

    watched: name → examples to evaluate after every epoch. clean: the training examples without augmentation, which
    are those that have to be fitted; None: train. tracker: of the training examples. checkpoint: a file to resume from
    if it exists, and to write `checkpoint_every` seconds or more after the last one. key: what the checkpoint must belong
    to. world_matters: whether another number of processes gives other results. on_epoch: called with each row of the
    history. asynchronous: who trains in place of this process. Evaluation does not use a compiled model: its batches have
    other shapes. In a process group all processes train together, and rank 0 alone writes and calls.
    """
    ranks = Ranks.current()
    optimizer = hyperparameters.optimizer(model.parameters())
    state = resume(checkpoint, key, model, optimizer, tracker, ranks, world_matters)
    bare, network = plain(model), ranks.wrap(model, train.labels.device)
    keeper = Checkpointer(checkpoint, key, bare, optimizer, tracker, hyperparameters.checkpoint_every, ranks, asynchronous)
    one_epoch = asynchronous.train_epoch if asynchronous else train_epoch
    while len(state.history) < hyperparameters.epochs and not _finished(state, hyperparameters):
        start = time.perf_counter() - state.within.get("seconds", 0.0)

        def after_update(snapshot: Callable[[], dict], start: float = start) -> None:
            stop_without_launcher()
            keeper.within_epoch(state, lambda: snapshot() | {"seconds": time.perf_counter() - start})

        row = one_epoch(network, optimizer, train, hyperparameters, state, tracker, ranks, after_update)
        ranks.spread(bare.buffers())
        state.diverged = not math.isfinite(row["train_loss"])
        row |= _evaluations(
            bare, clean or train, watched, hyperparameters, state.epochs_to_fit is None and row["train_accuracy"] >= FIT_CHECK, ranks
        )
        row["seconds"] = time.perf_counter() - start
        state.history.append(row)
        if row["full_train_accuracy"] == 1 and state.epochs_to_fit is None:
            state.epochs_to_fit = row["epoch"]
        keeper.after_epoch(state)
        if on_epoch and ranks.rank == 0:
            on_epoch(dict(row))
    return state


def _evaluations(
    model: nn.Module,
    clean: Examples | Stream,
    watched: Mapping[str, Examples | Stream],
    hyperparameters: Hyperparameters,
    checks: bool,
    ranks: Ranks,
) -> dict:
    """What the history has of an epoch in evaluation mode. checks: whether the training set is to be evaluated."""
    full = evaluate(model, clean, hyperparameters.autocast, ranks) if hyperparameters.evaluate_train or checks else {}
    found = {f"full_train_{name}": full.get(name, math.nan) for name in ("loss", "accuracy")}
    for name, examples in watched.items():
        found |= {f"{name}_{key}": value for key, value in evaluate(model, examples, hyperparameters.autocast, ranks).items()}
    return found


def _finished(state: Training, hyperparameters: Hyperparameters) -> bool:
    return state.diverged or (hyperparameters.stop_when_fitted and state.epochs_to_fit is not None)
