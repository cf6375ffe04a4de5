"""The training loop: SGD on data that lives on the device, without synchronizing inside an epoch."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.nn import functional as F

from shattering import seeds
from shattering.errors import InputError
from shattering.learners.scores import top5_accuracy
from shattering.learners.tracking import Tracker

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
        images = self.images[rows] if isinstance(rows, slice) else self.images.index_select(0, rows)  # five times faster than [rows]
        return images.permute(0, 3, 1, 2) if self.channels_last else images

    def epoch(self, epoch: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """rows → the images of a batch, as they are in this epoch."""
        if self.augment is None or self.draw is None:
            return self.batch
        augment, draws = self.augment, self.draw(epoch).to(self.labels.device)
        return lambda rows: augment(self.batch(rows), draws.index_select(0, rows))


@dataclass(frozen=True)
class Recipe:
    """What the loop needs of the learner's parameters. See `NetworkClassifier` for their meaning."""

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

    def learning_rate_at(self, epoch: int, step: int) -> float:
        """The rate of the update that follows `step` updates and `epoch` whole epochs."""
        return self.learning_rate * self.decay ** (step // self.decay_steps if self.decay_steps else epoch)

    def losses(self, output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(logits, their cross-entropy, what is minimized) of a batch: with label smoothing and the auxiliary classifier, if on."""
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = objective = F.cross_entropy(logits, labels)
        if self.label_smoothing:
            objective = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self.auxiliary:
            if auxiliary is None:
                raise InputError(f"auxiliary is {self.auxiliary}, but the network gives no auxiliary logits, expected a pair of logits")
            objective = objective + self.auxiliary * F.cross_entropy(auxiliary, labels, label_smoothing=self.label_smoothing)
        return logits, loss, objective


@dataclass
class Training:
    """Where a training stands; what a checkpoint holds."""

    history: list[dict] = field(default_factory=list)
    step: int = 0
    epochs_to_fit: int | None = None
    diverged: bool = False


def resolve_device(device: str) -> torch.device:
    """ "auto" is CUDA, else MPS, else the CPU. Raises InputError for a device that is not there."""
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
        return resolved
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {device!r} is not available: {str(error).splitlines()[0]}") from None


def batch_rows(n: int, batch_size: int, seed: int, epoch: int, device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """The rows of each batch of an epoch, a function of (seed, epoch) alone. A last batch of one joins its neighbour."""
    generator = torch.Generator().manual_seed(seeds.integer(seed, "order", epoch))
    batches = list(torch.randperm(n, generator=generator).to(device).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch normalization has no variance on one example
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Examples, recipe: Recipe, state: Training, tracker: Tracker | None = None
) -> dict:
    """One pass over the data. Returns running (online) loss and accuracy: of each batch just before its update.

    tracker: sees each batch, and adds its columns. Randomness inside the model, such as dropout, is a function of (seed,
    epoch); no global generator is changed.
    """
    model.train()
    epoch, device = len(state.history), data.labels.device
    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    rate, images = recipe.learning_rate_at(epoch, state.step), data.epoch(epoch)
    with _seeded(device, seeds.integer(recipe.order_seed, "dropout", epoch)):
        for rows in batch_rows(len(data.labels), recipe.batch_size, recipe.order_seed, epoch, device):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(epoch, state.step)
            labels = data.labels[rows]
            network = model if len(rows) == recipe.batch_size else _plain(model)  # compiled for one shape alone
            optimizer.zero_grad()
            with recipe.autocast():
                logits, loss, objective = recipe.losses(network(images(rows)), labels)
            objective.backward()
            optimizer.step()
            loss_sum += loss.detach() * len(rows)
            correct += (logits.detach().argmax(1) == labels).sum()
            if tracker:
                tracker.record(rows, logits.detach())
            state.step += 1
    n = len(data.labels)
    return {
        "epoch": epoch + 1,
        "step": state.step,
        "learning_rate": rate,
        "train_loss": loss_sum.item() / n,
        "train_accuracy": correct.item() / n,
        **(tracker.end_epoch() if tracker else {}),
    }


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators for the CPU and this device, and put them back afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@torch.no_grad()
def compute_logits(model: nn.Module, data: Examples, autocast: Callable[[], AbstractContextManager]) -> torch.Tensor:
    """(n, classes) float32 logits in evaluation mode, on the device."""
    model.eval()
    size = 256 if data.labels.device.type == "cpu" else 4096
    with autocast():
        return torch.cat([model(data.batch(slice(i, i + size))).float() for i in range(0, len(data.labels), size)])


def evaluate(model: nn.Module, data: Examples, autocast: Callable[[], AbstractContextManager]) -> dict[str, float]:
    """In evaluation mode: loss (mean cross-entropy in nats), accuracy in 0…1, and top5_accuracy if there are more than five classes."""
    logits = compute_logits(model, data, autocast)
    loss = F.cross_entropy(logits, data.labels).item()
    accuracy = (logits.argmax(1) == data.labels).sum().item() / len(data.labels)
    return {"loss": loss, "accuracy": accuracy, **top5_accuracy(logits, data.labels)}


def fit(
    model: nn.Module,
    train: Examples,
    watched: Mapping[str, Examples],
    recipe: Recipe,
    *,
    clean: Examples | None = None,
    tracker: Tracker | None = None,
    checkpoint: Path | None = None,
    key: str = "",
    on_epoch: Callable[[dict], None] | None = None,
) -> Training:
    """Train until the budget ends, the loss is no longer finite, or (if so asked) the training set is fitted.

    Fitted means: every training example is classified as labelled, in evaluation mode. This is checked after each
    epoch whose running accuracy is at least `FIT_CHECK`, until it holds for the first time.

    watched: name → examples to evaluate after every epoch. clean: the training examples without augmentation, which
    are those that have to be fitted; None: train. tracker: of the training examples. checkpoint: a file to resume from
    if it exists, and to write after epochs that end `checkpoint_every` seconds or more after the last one. key: what the
    checkpoint must belong to. on_epoch: called with each row of the history. Evaluation does not use a compiled model:
    its batches have other shapes.
    """
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    state = _resume(checkpoint, key, model, optimizer, tracker) if checkpoint and checkpoint.exists() else Training()
    plain, saved = _plain(model), time.monotonic()
    while len(state.history) < recipe.epochs and not _finished(state, recipe):
        start = time.perf_counter()
        row = train_epoch(model, optimizer, train, recipe, state, tracker)
        checks = state.epochs_to_fit is None and row["train_accuracy"] >= FIT_CHECK
        state.diverged = not math.isfinite(row["train_loss"])
        full = evaluate(plain, clean or train, recipe.autocast) if recipe.evaluate_train or checks else {}
        row["full_train_loss"], row["full_train_accuracy"] = full.get("loss", math.nan), full.get("accuracy", math.nan)
        for name, examples in watched.items():
            row |= {f"{name}_{key}": value for key, value in evaluate(plain, examples, recipe.autocast).items()}
        row["seconds"] = time.perf_counter() - start
        state.history.append(row)
        if row["full_train_accuracy"] == 1 and state.epochs_to_fit is None:
            state.epochs_to_fit = row["epoch"]
        if checkpoint and time.monotonic() - saved >= recipe.checkpoint_every:
            save_checkpoint(checkpoint, key, model, optimizer, state, tracker)
            saved = time.monotonic()
        if on_epoch:
            on_epoch(row)
    return state


def _finished(state: Training, recipe: Recipe) -> bool:
    return state.diverged or (recipe.stop_when_fitted and state.epochs_to_fit is not None)


def save_checkpoint(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, state: Training, tracker: Tracker | None = None
) -> None:
    """Write aside and rename, so that a kill leaves the old checkpoint or the new one."""
    aside = path.with_name(path.name + ".tmp")
    content = {"key": key, "model": _plain(model).state_dict(), "optimizer": optimizer.state_dict(), "training": vars(state)}
    content |= {"tracking": tracker.state()} if tracker else {}
    try:
        torch.save(content, aside)
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        aside.unlink(missing_ok=True)
        raise OSError(f"checkpoint {path} cannot be written: {str(error).splitlines()[0]}") from None


def _plain(model: nn.Module) -> nn.Module:
    """The module that torch.compile wrapped, so that checkpoints fit compiled and plain ones alike."""
    return getattr(model, "_orig_mod", model)


def _resume(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, tracker: Tracker | None) -> Training:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
        raise InputError(f"checkpoint {path} is not readable, remove it to start again: {str(error).splitlines()[0]}") from None
    if content["key"] != key:
        raise InputError(f"checkpoint {path} belongs to other data or parameters, expected {key}, found {content['key']}")
    _plain(model).load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    if tracker:
        tracker.restore(content["tracking"])
    return Training(**content["training"])
