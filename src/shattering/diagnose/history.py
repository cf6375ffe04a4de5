"""Find reasons in the history of a network's training why it did not fit. Each rule has a threshold, named here and tested."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from shattering.diagnose.finding import Finding
from shattering.errors import counted

FALLS = 0.001  # relative decrease of the loss per epoch, from which it falls; in total it must also exceed twice its scatter
SLOWER = 5.0  # times by which the loss must fall more slowly after the learning rate has decayed than before
DECAYED = 10.0  # the factor by which it must have decayed
SPIKE = 2.0  # times ln k, the loss of guessing: a loss this high was caused by the updates
RISES = 1.05  # ratio of the loss at the end to its minimum before; both are averages over the same number of epochs
SCATTER = 0.1  # relative standard deviation of the loss around its trend at the end, from which it counts as fluctuating
TOO_SOON = "learning rate decayed too soon"
DECAY_LESS = "Train with decay=1, or a larger decay or decay_steps."
FARTHEST = 10  # times the epochs trained: extrapolations end there


def tail(history: pd.DataFrame) -> pd.DataFrame:
    """Return the last tenth of the epochs, at least three."""
    return history.iloc[-max(3, math.ceil(len(history) / 10)) :]


def fall(losses: np.ndarray) -> float | None:
    """Return the relative decrease of the loss per epoch, from a line of least squares; None if it does not clearly fall."""
    if len(losses) < 2 or not np.isfinite(losses).all():
        return None
    slope, scatter = trend(losses)
    rate = -slope / losses.mean()
    return float(rate) if rate >= FALLS and -slope * (len(losses) - 1) > 2 * scatter else None


def trend(values: np.ndarray) -> tuple[float, float]:
    """Return the slope per epoch of the line of least squares, and the standard deviation around it."""
    epochs = np.arange(len(values))
    slope, level = np.polyfit(epochs, values, 1)
    return float(slope), float(np.std(values - level - slope * epochs))


def rate_too_high(history: pd.DataFrame, n_classes: int, diverged: bool, noisy: bool, own: bool = False) -> Iterator[Finding]:
    """Report a loss that is not finite, spikes, rises or fluctuates.

    Args:
        history: one row per epoch.
        n_classes: k; guessing has a loss of ln k.
        diverged: True if the loss was not finite, or the outputs at the end are not, which may begin with the last update.
        noisy: True if dropout or augmentation make the online loss fluctuate at any learning rate.
        own: True if the network or the loss is the user's: its own formula may give what is not finite at any learning rate.
    """
    rate = f"The initial learning rate is {history['learning_rate'].iloc[0]:.3g}"
    remedy = "Train with a learning rate a tenth as high."
    losses, cause = history["train_loss"].to_numpy(), "learning rate too high"
    if diverged:
        where = "the outputs were not finite after" if math.isfinite(losses[-1]) else "the loss was not finite in"
        but = " A formula of the network or of the loss that gives no finite number, or no finite gradient, does the same." if own else ""
        yield Finding(cause, f"{rate}, and {where} epoch {len(losses)}.{but}", remedy, "likely" if own else "certain")
        return
    end, width = tail(history)["train_loss"].to_numpy(), len(tail(history))
    averages = np.convolve(losses, np.ones(width) / width, "valid")
    peak, least = int(losses.argmax()), int(averages.argmin())
    scatter = trend(end)[1] / end.mean() if len(end) >= 3 else 0.0
    high = SPIKE * math.log(n_classes)
    if losses[peak] > high:
        said = f"the loss was {losses[peak]:.3g} in epoch {peak + 1}, where guessing has ln {n_classes} = {math.log(n_classes):.3g}"
    elif averages[-1] > RISES * averages[least]:
        said = f"the loss rose from {averages[least]:.3g} at epoch {least + width} to {averages[-1]:.3g} (averages over {width} epochs)"
    elif scatter > SCATTER and not noisy:
        said = f"the loss still jumps by {scatter:.0%} around its trend (standard deviation over the last {width} epochs)"
    else:
        return
    yield Finding(cause, f"{rate}, and {said}.", remedy, "possible" if noisy and losses[peak] <= high else "likely")


def decayed_too_soon(history: pd.DataFrame) -> Iterator[Finding]:
    """Report a loss that fell until the learning rate had decayed by `DECAYED`, and hardly afterwards."""
    rates, losses = history["learning_rate"].to_numpy(), history["train_loss"].to_numpy()
    before = int((rates > rates[0] / DECAYED).sum())
    late = losses[before:]
    if len(late) < 3 or before < 2:
        return
    early = fall(losses[before // 2 : before] if before >= 6 else losses[:before])
    later = 1 - (late[-1] / late[0]) ** (1 / (len(late) - 1))
    if early is None or not later < early / SLOWER:
        return
    evidence = (
        f"The learning rate fell from {rates[0]:.3g} to {rates[-1]:.3g}, below a tenth after epoch {before}. Until then the loss fell by "
        f"{early:.2%} per epoch, to {losses[before - 1]:.3g}; afterwards by {max(later, 0):.2%}, to {losses[-1]:.3g}."
    )
    still = _still_to_come(rates)
    if still is not None:
        evidence += f" All later learning rates, however many epochs follow, would add up to {still / rates.sum():.2g} times those so far."
    yield Finding(TOO_SOON, evidence, DECAY_LESS, "likely")


def still_falling(history: pd.DataFrame) -> float | None:
    """Return the relative decrease of the loss per epoch over the second half of the epochs; None unless it also falls at the end.

    It falls at the end if the average over the last tenth is below the average over as many epochs before. The last tenth alone may
    fall by chance.
    """
    losses, width = history["train_loss"].to_numpy(), len(tail(history))
    falls = fall(recent(history)["train_loss"].to_numpy())
    if falls is None or len(losses) < 2 * width:
        return falls
    return falls if losses[-width:].mean() <= (1 - FALLS * width) * losses[-2 * width : -width].mean() else None


def recent(history: pd.DataFrame) -> pd.DataFrame:
    """Return the second half of the epochs, at least three."""
    return history.iloc[-max(3, math.ceil(len(history) / 2)) :]


def too_few_epochs(history: pd.DataFrame) -> Iterator[Finding]:
    """Report a loss that was still falling when training stopped: likely if `epochs_needed` is known, or below three epochs."""
    half, n_epochs = recent(history), len(history)
    losses, accuracies = half["train_loss"].to_numpy(), half["train_accuracy"].to_numpy()
    cause, remedy = "too few epochs", f"Train for more than {counted(n_epochs, 'epoch')}, or with a higher learning rate."
    if n_epochs < 3 and np.isfinite(losses).all():
        ended = f"It trained for {counted(n_epochs, 'epoch')}; the online loss of the last is {losses[-1]:.3g}."
        yield Finding(cause, ended, remedy, "likely")
        return
    falls = still_falling(history)
    if falls is None:
        return
    evidence = (
        f"The loss was still falling when training stopped, from {losses[0]:.3g} to {losses[-1]:.3g} over the last {len(half)} of "
        f"{n_epochs} epochs ({falls:.2%} per epoch), and the online accuracy went from {accuracies[0]:.1%} to {accuracies[-1]:.1%}."
    )
    needed = epochs_needed(history)
    evidence += f" At this pace it would take about {needed:,} more." if needed else ""
    yield Finding(cause, evidence, remedy, "likely" if needed else "possible")


def epochs_needed(history: pd.DataFrame) -> int | None:
    """Estimate the epochs until the online accuracy is 1 if it keeps its pace, measured in learning rates still to come.

    The pace is that of the last tenth of the epochs or, if the accuracy does not clearly rise there, of the second half. None if no
    estimate is sound: the accuracy rises in neither, it would take more than `FARTHEST` times the epochs trained, or the learning
    rate decays too fast.
    """
    rates = history["learning_rate"].to_numpy()
    for window in (tail(history), recent(history)):
        accuracies = window["train_accuracy"].to_numpy()
        slope, scatter = trend(accuracies) if len(window) >= 3 else (0.0, 0.0)
        if slope * (len(window) - 1) > 2 * scatter:
            epochs = epochs_at(rates, (1 - accuracies[-1]) / slope * window["learning_rate"].mean())
            return max(1, math.ceil(epochs)) if epochs <= FARTHEST * len(history) else None
    return None


def epochs_at(rates: np.ndarray, total: float) -> float:
    """Return after how many more epochs the learning rates, decaying as before, add up to a total; infinite if never."""
    factor = _factor(rates)
    if factor >= 1 or rates[-1] <= 0:
        return total / rates[-1] if rates[-1] > 0 else math.inf
    share = total * (1 - factor) / (rates[-1] * factor)
    return math.log(1 - share) / math.log(factor) if share < 1 else math.inf


def _factor(rates: np.ndarray) -> float:
    """Return the mean factor on the learning rate from epoch to epoch."""
    return float(rates[-1] / rates[0]) ** (1 / max(1, len(rates) - 1)) if rates[0] > 0 else 1.0


def _still_to_come(rates: np.ndarray) -> float | None:
    """Return the sum of all later learning rates if they decay as before; None for a rate that does not decay."""
    factor = _factor(rates)
    return float(rates[-1]) * factor / (1 - factor) if factor < 1 else None
