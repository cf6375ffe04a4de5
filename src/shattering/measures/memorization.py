"""Which labels are likely wrong, and when a network begins to memorize them.

Networks fit simple patterns, and with them the clean examples, before they memorize what contradicts the patterns (Arpit et
al., ICML 2017, section 4). So an example with a wrong label has a large loss for long. Its *final* loss says nothing once it is
memorized: that of every fitted example is near 0. The mean over all presentations remembers. The same idea trains on
small-loss examples (Han et al., "Co-teaching", NeurIPS 2018, section 3), separates by a mixture of losses (Arazo et al., ICML
2019), and, with margins in place of losses, is the area under the margin (Pleiss et al., NeurIPS 2020, section 3).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from shattering.errors import InputError, unknown

SUSPICIONS: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "mean_loss": lambda examples: examples["mean_loss"].to_numpy(float),
    "final_loss": lambda examples: examples["final_loss"].to_numpy(float),
    "epochs_to_fit": lambda examples: examples["epochs_to_fit"].to_numpy(float, na_value=np.inf),
    # those never learned count as forgotten infinitely often (Toneva et al. 2019, section 3)
    "forgetting_events": lambda examples: np.where(examples["first_fit"].isna(), np.inf, examples["forgetting_events"]),
}


def label_error_ranking(examples: pd.DataFrame, by: str = "mean_loss") -> pd.DataFrame:
    """The examples by how likely their label is wrong, the most suspicious first; equally suspicious ones by id.

    Args:
        examples: (n rows) `examples_` of a `NetworkClassifier` with `track_examples`, or `examples` of its run.
        by: a name in `SUSPICIONS`: "mean_loss" (over the presentations; the one to use), "final_loss", "epochs_to_fit"
            (those not fitted at the end come first) or "forgetting_events" (those never learned come first).

    Returns:
        The examples with one more column, suspicion: the larger, the likelier; of no unit, and infinite at times.

    Raises:
        InputError: for another name, or NaN losses, which a diverged training leaves.
    """
    if by not in SUSPICIONS:
        raise unknown("suspicion", by, SUSPICIONS)
    suspicion = SUSPICIONS[by](examples)
    if np.isnan(suspicion).any():
        raise InputError(
            f"{by} is NaN for {np.isnan(suspicion).sum()} of {len(examples)} examples, expected those of a training that converged"
        )
    return examples.assign(suspicion=suspicion).sort_values(["suspicion", "id"], ascending=[False, True], ignore_index=True)


def precision_curve(ranking: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall of the first k of a ranking against what was planted, for every k.

    Where examples are equally suspicious, these are the expected values over their orders.

    Args:
        ranking: (n rows) suspicion and changed, the most suspicious first.

    Returns:
        (n rows) k, precision (fraction of the first k that are changed), recall (fraction of the changed that are among
        the first k; NaN if none is changed); both in 0…1.
    """
    changed, suspicion = ranking["changed"].to_numpy(dtype=float), ranking["suspicion"].to_numpy(dtype=float)
    group = np.concatenate([[0], np.cumsum(suspicion[1:] != suspicion[:-1])])[: len(changed)]  # of equally suspicious ones
    share = (np.bincount(group, changed) / np.bincount(group))[group]
    k, found, n = np.arange(1, len(changed) + 1), np.cumsum(share), changed.sum()
    return pd.DataFrame({"k": k, "precision": found / k, "recall": found / n if n else np.nan})


def precision_at_k(ranking: pd.DataFrame, k: int) -> float:
    """The fraction in 0…1 of the first k of a ranking that are changed; see `precision_curve`. Raises InputError if k is not in 1…n."""
    if not 1 <= k <= len(ranking):
        raise InputError(f"k is {k}, expected 1…{len(ranking)}")
    return float(precision_curve(ranking)["precision"].iloc[k - 1])


def average_precision(ranking: pd.DataFrame) -> float:
    """Mean precision over the recalls, in 0…1 (scikit-learn's); NaN if no example is changed. By chance: the fraction changed."""
    if not ranking["changed"].to_numpy().any():
        return float("nan")
    return float(average_precision_score(ranking["changed"], ranking["suspicion"].rank(method="dense")))  # it takes no infinities


@dataclass(frozen=True)
class Moment:
    """An epoch of a tracked training; accuracies in 0…1, running, as `Tracker.end_epoch` defines them."""

    epoch: int
    clean_accuracy: float
    corrupted_accuracy: float
    corrupted_as_true: float


def memorization_start(history: pd.DataFrame) -> Moment | None:
    """The first epoch from which on more changed examples are predicted as their wrong label than as their true class.

    "From which on": in every epoch from there to the last, so that chance does not decide in the first epochs, when a
    network predicts neither. None if it is not so in the last epoch, or there are no changed examples.

    Raises InputError for a history without `track_examples`.
    """
    wrong, true = _curves(history)
    memorizes = wrong > true
    if not len(memorizes) or not memorizes[-1]:
        return None
    before = np.flatnonzero(~memorizes)
    return _moment(history, before[-1] + 1 if len(before) else 0)


def peak(history: pd.DataFrame) -> Moment | None:
    """The (first) epoch with the most changed examples predicted as their true class: what early stopping would exploit.

    None if there are no changed examples. Raises InputError for a history without `track_examples`.
    """
    _, true = _curves(history)
    return _moment(history, int(np.nanargmax(true))) if not np.isnan(true).all() else None


def _curves(history: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    if "corrupted_as_true" not in history:
        raise InputError("history has no column corrupted_as_true, expected that of a training with track_examples")
    return history["corrupted_accuracy"].to_numpy(float), history["corrupted_as_true"].to_numpy(float)


def _moment(history: pd.DataFrame, row: int) -> Moment:
    at = history.iloc[row]
    return Moment(int(at["epoch"]), *(float(at[name]) for name in ("clean_accuracy", "corrupted_accuracy", "corrupted_as_true")))
