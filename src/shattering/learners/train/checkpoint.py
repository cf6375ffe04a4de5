"""The state of a training, and the checkpoint file that keeps it."""

import ast
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from shattering.errors import InputError, reason
from shattering.learners.train.autocast import Chosen
from shattering.learners.train.beside import Beside
from shattering.learners.train.ranks import Ranks
from shattering.learners.train.tracker import Tracker
from shattering.learners.weights import load_plain
from shattering.parameters import check_fields
from shattering.system.files import write_own

_ASK = 1.0  # seconds


@dataclass
class TrainState:
    """The state of a training. Together with the model, the optimizer, the tracker and `Beside` it is all that a checkpoint holds.

    Args:
        history: one row per epoch that is done.
        step: number of updates that have been made.
        epochs_to_fit: first epoch after which the training set was seen to be fitted, or None.
        diverged: True if the training loss of the last epoch was not finite.
        epoch_state: what is known of an epoch that has begun, as `EpochTotals.snapshot` gives it; empty between epochs.
        precision: in which the network computes, where that was left to a measurement; else None.
        versions: the earlier parameters that gradients are still to be computed from, in a checkpoint of asynchronous training only.
    """

    history: list[dict] = field(default_factory=list)
    step: int = 0
    epochs_to_fit: int | None = None
    diverged: bool = False
    epoch_state: dict = field(default_factory=dict)
    precision: Chosen | None = None
    versions: list = field(default_factory=list)


@dataclass
class Checkpointer:
    """Writes checkpoints from rank 0, at least `every` seconds apart; `every` 0: after each epoch, and only then.

    Args:
        path: the file; None: nothing is written.
        key: identifies the data and the parameters that the checkpoint belongs to.
        model, optimizer, tracker: what is kept beside the `TrainState`.
        every: seconds.
        ranks: the processes that train together.
        fetch: is called with the state before each checkpoint, to bring model, optimizer and state up to date.
        beside: what the model's code keeps in other places.
    """

    path: Path | None
    key: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    tracker: Tracker | None
    every: float
    ranks: Ranks
    fetch: Callable[[nn.Module, torch.optim.Optimizer, TrainState], None]
    beside: Beside | None = None

    def __post_init__(self):
        self.saved = self.asked = time.monotonic()
        self.updates = self.wait = 0  # since rank 0 was asked whether a checkpoint is due; until it is asked again

    def within_epoch(self, state: TrainState, snapshot: Callable[[], dict]) -> None:
        """Write a checkpoint after an update if one is due. snapshot: makes the `TrainState.epoch_state` to keep."""
        self.updates += 1
        if self.path and self.every and self.updates >= self.wait and self._is_due():
            state.epoch_state = snapshot()
            self._save(state)

    def after_epoch(self, state: TrainState) -> None:
        """Write a checkpoint after an epoch if one is due."""
        if self.path and self._is_due():
            self._save(state)

    def _is_due(self) -> bool:
        """Ask rank 0's clock. Asking makes the processes wait for each other, so they do it about once in `_ASK` seconds."""
        now = time.monotonic()
        pace = self.updates / max(now - self.asked, 1e-3)
        due, self.wait = self.ranks.agree((now - self.saved >= self.every, int(pace * min(_ASK, self.every / 10))))
        self.updates, self.asked = 0, now
        return due

    def _save(self, state: TrainState) -> None:
        if self.ranks.rank == 0 and self.path:
            self.fetch(self.model, self.optimizer, state)
            save_checkpoint(self.path, self.key, self.model, self.optimizer, state, self.tracker, self.beside, self.ranks.world)
            state.versions = []
        self.saved = time.monotonic()


def save_checkpoint(
    path: Path,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    tracker: Tracker | None = None,
    beside: Beside | None = None,
    world: int = 1,
) -> None:
    """Write aside and rename, so that a kill leaves the old checkpoint or the new one. Raises OSError if that fails."""
    content = {"key": key, "model": plain(model).state_dict(), "optimizer": optimizer.state_dict(), "training": vars(state), "world": world}
    content |= {"tracking": tracker.state()} if tracker else {}
    content |= {"beside": beside.state()} if beside else {}

    def write(aside: Path) -> None:
        with aside.open("wb") as file:  # rather than the path: torch's own files tell no full disk from other faults
            torch.save(content, file)

    try:
        write_own(path, write)
    except RuntimeError as error:  # as torch tells what the system has said
        raise OSError(f"checkpoint {path} cannot be written: {reason(error)}") from None


def plain(model: nn.Module) -> nn.Module:
    """Return the module that torch.compile wrapped, so that checkpoints fit compiled and plain ones alike."""
    return getattr(model, "_orig_mod", model)  # private: torch.compile keeps the module under no other name


def resume(
    path: Path | None,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tracker: Tracker | None,
    ranks: Ranks,
    world_matters: bool,
    beside: Beside | None = None,
) -> TrainState:
    """Restore model, optimizer, tracker and what is beside them from the checkpoint that rank 0 finds.

    Args:
        world_matters: True if training by another number of processes gives another result.

    Returns:
        The state of the training; that of its beginning if there is no checkpoint.

    Raises:
        InputError: if the checkpoint is damaged, belongs to something else, or is of another number of processes where that matters.
    """
    content = ranks.agree(_read(path) if path and ranks.rank == 0 and path.exists() else None)
    if content is None:
        return TrainState()
    if content["key"] != key:
        differs = _difference(key, content["key"])
        raise InputError(f"checkpoint {path} belongs to other data or parameters{differs}; remove it to start again, or name another file")
    before = content.get("world", 1)
    if before != ranks.world and world_matters:
        raise InputError(
            f"checkpoint {path} is of {before} processes and this training has {ranks.world}, expected {before}: what batch normalization "
            "or dropout do within the part of a batch that a process has depends on their number; remove it to start again"
        )
    try:
        plain(model).load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        if tracker:
            tracker.restore(content["tracking"])
        state = TrainState(**content["training"])
        check_fields(state)
        if beside and "beside" in content:
            beside.restore(content["beside"])
    except Exception as error:  # whatever another version of torch, or of this library, has put there
        raise InputError(f"checkpoint {path} does not fit this training, remove it to start again: {reason(error)}") from None
    return state


def _difference(key: str, found: object) -> str:
    """Say in what the key of a checkpoint differs from that of a training, if both can be read."""
    try:
        (mine, data), (other, other_data) = ((ast.literal_eval(params), data) for params, data in map(json.loads, (key, str(found))))
        names = [name for name in sorted(mine | other) if mine.get(name) != other.get(name)]
    except (ValueError, SyntaxError, TypeError, AttributeError):  # values that are no literals, or a key of another form
        return ""
    told = [f"{name} is {mine.get(name)!r} and was {other.get(name)!r}" for name in names]
    return ": " + ", ".join(told + ["the data are others"] * (data != other_data))


def _read(path: Path) -> dict:
    try:
        content = load_plain(path)
    except ValueError as error:
        raise InputError(f"checkpoint {path} is not readable, remove it to start again: {error}") from None
    for name in ("key", "model", "optimizer", "training"):
        if not isinstance(content, dict) or name not in content:
            raise InputError(f"checkpoint {path} is not readable, remove it to start again: it has no {name!r}")
    return content  # type: ignore[return-value]  # checked to be a dict above
