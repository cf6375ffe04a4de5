"""The training loop: SGD on data that live on the device or stream from disk, without synchronizing inside an epoch."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from shattering.learners.train.batches import Examples
from shattering.learners.train.beside import Beside
from shattering.learners.train.checkpoint import Checkpointer, TrainState, plain, resume
from shattering.learners.train.epoch import Strategy
from shattering.learners.train.evaluation import evaluate
from shattering.learners.train.hyperparameters import Hyperparameters
from shattering.learners.train.precision import choose
from shattering.learners.train.ranks import Ranks, stop_without_launcher
from shattering.learners.train.tracker import Tracker


def fit(
    network: nn.Module,
    train: Examples,
    watched: Mapping[str, Examples],
    hyperparameters: Hyperparameters,
    strategy: Strategy,
    *,
    clean: Examples | None = None,
    tracker: Tracker | None = None,
    checkpoint: Path | None = None,
    key: str = "",
    world_matters: bool = False,
    on_epoch: Callable[[dict], None] | None = None,
    notes: list[str] | None = None,
) -> TrainState:
    """Train until the budget ends, the loss is no longer finite, or (if so asked) the training set is fitted or its loss is low enough.

    The training set is fitted when every example is classified as labelled, or the R² of a regression is at least 0.99, in evaluation
    mode. This is checked after each epoch whose online accuracy is at least 0.99, or whose R² is at least 0.9, until it holds for the
    first time; the loss, if training stops at one, after every epoch. Evaluation does not use a compiled network: its batches have other
    shapes. In a process group all processes train together, and rank 0 alone writes and calls. Where the precision is "auto" it is chosen
    first, and a resumed training keeps its choice.

    Args:
        network: the module to train, possibly compiled.
        train: the training examples.
        watched: name → examples to evaluate after every epoch.
        hyperparameters: how to train.
        strategy: computes the epochs: `Synchronous` or `Asynchronous`.
        clean: the training examples without augmentation, which are those that have to be fitted; None: train.
        tracker: records the training examples.
        checkpoint: a file to resume from if it exists, and to write `checkpoint_every` seconds or more after the last time.
        key: identifies the data and the parameters that the checkpoint must belong to.
        world_matters: True if another number of processes gives another result.
        on_epoch: is called with each row of the history.
        notes: a list to which training adds; a checkpoint keeps it.

    Returns:
        The state of the training at its end.
    """
    ranks, outputs = Ranks.current(), hyperparameters.outputs
    optimizer = hyperparameters.optimizer(network)
    beside = Beside(plain(network), hyperparameters.loss, notes)
    state = resume(checkpoint, key, network, optimizer, tracker, ranks, world_matters, beside)
    if hyperparameters.autocast.precision == "auto":
        chosen = state.precision = ranks.agree(state.precision or choose(plain(network), clean or train, hyperparameters))
        hyperparameters = hyperparameters.in_precision(chosen)
    bare, wrapped = plain(network), ranks.wrap(network, train.labels.device)
    checkpointer = Checkpointer(checkpoint, key, bare, optimizer, tracker, hyperparameters.checkpoint_every, ranks, strategy.fetch, beside)
    while len(state.history) < hyperparameters.epochs and not _finished(state, hyperparameters):
        start = time.perf_counter() - state.epoch_state.get("seconds", 0.0)

        def after_update(snapshot: Callable[[], dict], start: float = start) -> None:
            stop_without_launcher()
            checkpointer.within_epoch(state, lambda: snapshot() | {"seconds": time.perf_counter() - start})

        row = strategy.train_epoch(wrapped, optimizer, train, hyperparameters, state, tracker, ranks, after_update)
        ranks.spread(bare.buffers())
        state.diverged = not math.isfinite(row["train_loss"])
        check_fit = state.epochs_to_fit is None and row[f"train_{outputs.measure}"] >= outputs.looked_at_from
        row |= _evaluations(bare, clean or train, watched, hyperparameters, check_fit, ranks)
        row["seconds"] = time.perf_counter() - start
        state.history.append(row)
        if row[f"full_train_{outputs.measure}"] >= outputs.fits_from and state.epochs_to_fit is None:
            state.epochs_to_fit = row["epoch"]
        checkpointer.after_epoch(state)
        if on_epoch and ranks.rank == 0:
            on_epoch(dict(row))
    return state


def _evaluations(
    network: nn.Module,
    clean: Examples,
    watched: Mapping[str, Examples],
    hyperparameters: Hyperparameters,
    check_fit: bool,
    ranks: Ranks,
) -> dict:
    """Return the history's columns of evaluations after an epoch. check_fit: evaluate the training set in any case."""
    check = check_fit or hyperparameters.evaluate_train or hyperparameters.stop_at_loss is not None
    full = evaluate(network, clean, hyperparameters.forward, ranks) if check else {}
    columns = {f"full_train_{name}": full.get(name, math.nan) for name in ("loss", hyperparameters.outputs.measure)}
    for name, examples in watched.items():
        columns |= {f"{name}_{key}": value for key, value in evaluate(network, examples, hyperparameters.forward, ranks).items()}
    return columns


def _finished(state: TrainState, hyperparameters: Hyperparameters) -> bool:
    if state.diverged or (hyperparameters.stop_when_fitted and state.epochs_to_fit is not None):
        return True
    least = hyperparameters.stop_at_loss
    return least is not None and bool(state.history) and state.history[-1]["full_train_loss"] <= least
