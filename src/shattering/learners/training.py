"""The training loop: SGD on data that lives on the device, without synchronizing inside an epoch."""

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.nn import functional as F

from shattering import seeds
from shattering.errors import InputError

FIT_CHECK = 0.99  # running accuracy from which a full evaluation decides whether the training set is fitted


@dataclass(frozen=True)
class Examples:
    """Preprocessed images and labels on the device. images: (n, height, width, c) if channels_last, else (n, …)."""

    images: torch.Tensor
    labels: torch.Tensor
    channels_last: bool

    def batch(self, rows: torch.Tensor | slice) -> torch.Tensor:
        images = self.images[rows] if isinstance(rows, slice) else self.images.index_select(0, rows)  # five times faster than [rows]
        return images.permute(0, 3, 1, 2) if self.channels_last else images


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
    order_seed: int
    stop_when_fitted: bool
    evaluate_train: bool
    autocast: Callable[[], AbstractContextManager]
    checkpoint_every: float

    def learning_rate_at(self, epoch: int, step: int) -> float:
        """The rate of the update that follows `step` updates and `epoch` whole epochs."""
        return self.learning_rate * self.decay ** (step // self.decay_steps if self.decay_steps else epoch)


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


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: Examples, recipe: Recipe, state: Training) -> dict:
    """One pass over the data. Returns running (online) loss and accuracy: of each batch just before its update."""
    model.train()
    epoch, device = len(state.history), data.labels.device
    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    rate = recipe.learning_rate_at(epoch, state.step)
    for rows in batch_rows(len(data.labels), recipe.batch_size, recipe.order_seed, epoch, device):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(epoch, state.step)
        labels = data.labels[rows]
        with recipe.autocast():
            logits = model(data.batch(rows))
            loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(rows)
        correct += (logits.detach().argmax(1) == labels).sum()
        state.step += 1
    n = len(data.labels)
    return {
        "epoch": epoch + 1,
        "step": state.step,
        "learning_rate": rate,
        "train_loss": loss_sum.item() / n,
        "train_accuracy": correct.item() / n,
    }


@torch.no_grad()
def compute_logits(model: nn.Module, data: Examples, autocast: Callable[[], AbstractContextManager]) -> torch.Tensor:
    """(n, classes) float32 logits in evaluation mode, on the device."""
    model.eval()
    size = 256 if data.labels.device.type == "cpu" else 4096
    with autocast():
        return torch.cat([model(data.batch(slice(i, i + size))).float() for i in range(0, len(data.labels), size)])


def evaluate(model: nn.Module, data: Examples, autocast: Callable[[], AbstractContextManager]) -> tuple[float, float]:
    """(mean cross-entropy in nats, accuracy in 0…1) in evaluation mode."""
    logits = compute_logits(model, data, autocast)
    loss = F.cross_entropy(logits, data.labels).item()
    return loss, (logits.argmax(1) == data.labels).sum().item() / len(data.labels)


def fit(
    model: nn.Module,
    train: Examples,
    test: Examples | None,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    key: str = "",
    on_epoch: Callable[[dict], None] | None = None,
) -> Training:
    """Train until the budget ends, the loss is no longer finite, or (if so asked) the training set is fitted.

    Fitted means: every training example is classified as labelled, in evaluation mode. This is checked after each
    epoch whose running accuracy is at least `FIT_CHECK`, until it holds for the first time.

    checkpoint: a file to resume from if it exists, and to write after epochs that end `checkpoint_every` seconds or
    more after the last one. key: what the checkpoint must belong to. on_epoch: called with each row of the history.
    """
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    state = _resume(checkpoint, key, model, optimizer) if checkpoint and checkpoint.exists() else Training()
    saved = time.monotonic()
    while len(state.history) < recipe.epochs and not _finished(state, recipe):
        start = time.perf_counter()
        row = train_epoch(model, optimizer, train, recipe, state)
        checks = state.epochs_to_fit is None and row["train_accuracy"] >= FIT_CHECK
        state.diverged = not math.isfinite(row["train_loss"])
        full = evaluate(model, train, recipe.autocast) if recipe.evaluate_train or checks else (math.nan, math.nan)
        row["full_train_loss"], row["full_train_accuracy"] = full
        row["test_loss"], row["test_accuracy"] = evaluate(model, test, recipe.autocast) if test else (math.nan, math.nan)
        row["seconds"] = time.perf_counter() - start
        state.history.append(row)
        if full[1] == 1 and state.epochs_to_fit is None:
            state.epochs_to_fit = row["epoch"]
        if checkpoint and time.monotonic() - saved >= recipe.checkpoint_every:
            save_checkpoint(checkpoint, key, model, optimizer, state)
            saved = time.monotonic()
        if on_epoch:
            on_epoch(row)
    return state


def _finished(state: Training, recipe: Recipe) -> bool:
    return state.diverged or (recipe.stop_when_fitted and state.epochs_to_fit is not None)


def save_checkpoint(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, state: Training) -> None:
    """Write aside and rename, so that a kill leaves the old checkpoint or the new one."""
    aside = path.with_name(path.name + ".tmp")
    content = {"key": key, "model": _plain(model).state_dict(), "optimizer": optimizer.state_dict(), "training": vars(state)}
    try:
        torch.save(content, aside)
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        aside.unlink(missing_ok=True)
        raise OSError(f"checkpoint {path} cannot be written: {str(error).splitlines()[0]}") from None


def _plain(model: nn.Module) -> nn.Module:
    """The module that torch.compile wrapped, so that checkpoints fit compiled and plain ones alike."""
    return getattr(model, "_orig_mod", model)


def _resume(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Training:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
        raise InputError(f"checkpoint {path} is not readable, remove it to start again: {str(error).splitlines()[0]}") from None
    if content["key"] != key:
        raise InputError(f"checkpoint {path} belongs to other data or parameters, expected {key}, found {content['key']}")
    _plain(model).load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return Training(**content["training"])
