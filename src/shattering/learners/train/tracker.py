"""`Tracker`: records the predictions and losses of each training example as it is presented."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F


class Tracker:
    """Predictions and losses of n training examples, in one presentation per epoch, just before the update.

    "Online", as Toneva et al. (ICLR 2019, section 3) define forgetting: on the batch as it is trained on, in training mode, with its
    augmentation. It only reads logits, so the training is the same without it; it stays on the device, and is O(n) however many
    epochs. Counted in whole epochs: an example is presented once in each.

    Args:
        labels: (n,) int64, what the examples are trained on.
        true_labels: (n,) int64, the labels before any randomization. An example whose label is another one is *changed*.
        ids: (n,) int64, names of the examples.
        device: where the network is.

    Example:
        >>> true = torch.tensor([0, 1, 1])
        >>> tracker = Tracker(torch.tensor([0, 1, 0]), true, torch.arange(3), "cpu")  # the last label is corrupted
        >>> tracker.record(torch.arange(3), F.one_hot(true, 2).float())  # and its true class is predicted
        >>> end = tracker.end_epoch()
        >>> end["clean_accuracy"], end["corrupted_accuracy"], end["corrupted_as_true"]
        (1.0, 0.0, 1.0)
    """

    def __init__(self, labels: torch.Tensor, true_labels: torch.Tensor, ids: torch.Tensor, device: torch.device | str):
        n, self.ids = len(labels), ids
        self.labels, self.true_labels = labels.to(device), true_labels.to(device)
        self.changed = self.labels != self.true_labels
        self.epochs = 0
        self.prediction = torch.zeros(n, dtype=torch.int64, device=device)  # of the last presentation, as is the loss
        self.loss = torch.zeros(n, device=device)
        self.loss_sum = torch.zeros(n, device=device)
        self.first_fit = torch.zeros(n, dtype=torch.int64, device=device)  # 0: never
        self.fit_since = torch.zeros(n, dtype=torch.int64, device=device)  # 0: not at the last presentation
        self.forgotten = torch.zeros(n, dtype=torch.int64, device=device)

    @torch.no_grad()
    def record(self, rows: torch.Tensor, logits: torch.Tensor) -> None:
        """Record the logits (b, classes) of a batch before its update. rows: (b,) its examples."""
        self.prediction[rows] = logits.argmax(1)
        self.loss[rows] = F.cross_entropy(logits.float(), self.labels[rows], reduction="none")

    def gather(self, mine: torch.Tensor, total: Callable[..., None]) -> None:
        """Take the records of other processes for the rows that they have recorded in this epoch.

        mine: the rows that this one has. total: replaces each of its tensors by the sum over the processes.
        """
        known = torch.zeros_like(self.prediction, dtype=torch.bool)
        known[mine] = True
        covered = known.long()
        prediction, loss = self.prediction.where(known, 0), self.loss.where(known, 0.0)
        total(covered, prediction, loss)
        self.prediction.copy_(prediction.where(covered > 0, self.prediction))
        self.loss.copy_(loss.where(covered > 0, self.loss))

    def end_epoch(self) -> dict[str, float]:
        """Count the epoch in which every example has been recorded. Returns its columns of the history.

        clean_accuracy, clean_loss: over the examples with their true label. corrupted_accuracy, corrupted_loss: over the
        examples with corrupted labels, against these labels; what is fitted of them is memorized. corrupted_as_true:
        fraction of these that are predicted as their true class. Accuracies in 0…1, losses in nats; NaN where
        there are no such examples.
        """
        self.epochs += 1
        fitted, was_fitted = self.prediction == self.labels, self.fit_since > 0
        self.loss_sum += self.loss
        self.forgotten += was_fitted & ~fitted
        self.first_fit[fitted & (self.first_fit == 0)] = self.epochs
        self.fit_since[fitted & ~was_fitted] = self.epochs
        self.fit_since[~fitted] = 0
        as_true = self.prediction == self.true_labels
        return {
            "clean_accuracy": _mean(fitted, ~self.changed),
            "corrupted_accuracy": _mean(fitted, self.changed),
            "corrupted_as_true": _mean(as_true, self.changed),
            "clean_loss": _mean(self.loss, ~self.changed),
            "corrupted_loss": _mean(self.loss, self.changed),
        }

    def table(self, classes: np.ndarray) -> pd.DataFrame:
        """Return a table with one row per example, in the order of the data.

        - id, label, true_label, changed: which example it is; whether its two labels differ.
        - epochs_to_fit: first epoch from which it was classified as labelled at every presentation; missing if it was
          not at the last one.
        - first_fit: first epoch in which it was classified as labelled; missing if never ("never learned").
        - forgetting_events: presentations at which it was misclassified, having been classified as labelled at the one
          before. An example never learned has 0 here; Toneva et al. count it as forgotten infinitely often.
        - mean_loss, final_loss: over all presentations, and at the last one, in nats; NaN or infinite if training
          diverged.
        - final_prediction: at the last presentation.

        Args:
            classes: (k,) what the labels 0…k-1 stand for.
        """

        def names(codes: torch.Tensor) -> np.ndarray:
            return classes[codes.cpu().numpy()]

        return pd.DataFrame(
            {
                "id": self.ids.numpy(),
                "label": names(self.labels),
                "true_label": names(self.true_labels),
                "changed": self.changed.cpu().numpy(),
                "epochs_to_fit": _epoch(self.fit_since),
                "first_fit": _epoch(self.first_fit),
                "forgetting_events": self.forgotten.cpu().numpy(),
                "mean_loss": (self.loss_sum / self.epochs).cpu().numpy(),
                "final_loss": self.loss.cpu().numpy(),
                "final_prediction": names(self.prediction),
            }
        )

    def state(self) -> dict:
        """Return what a checkpoint keeps of the tracker; `restore` reads it."""
        return {name: value for name, value in vars(self).items() if name not in ("ids", "labels", "true_labels", "changed")}

    def restore(self, state: dict) -> None:
        """Go on from the state that another tracker had."""
        self.epochs = state["epochs"]
        for name, value in state.items():
            if name != "epochs":
                getattr(self, name).copy_(value)


def _mean(values: torch.Tensor, which: torch.Tensor) -> float:
    """Return the mean over the chosen examples, NaN if there are none."""
    n = which.sum().item()
    return values[which].sum().item() / n if n else math.nan


def _epoch(epochs: torch.Tensor) -> pd.Series:
    """Return epochs as whole numbers, missing where they are 0."""
    return pd.Series(epochs.cpu().numpy(), dtype="Int64").replace(0, pd.NA)
