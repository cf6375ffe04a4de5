"""Rank labels by how likely they are wrong, and find the epoch in which a network begins to memorize wrong labels.

Networks fit simple patterns, and with them the clean examples, before they memorize what contradicts the patterns (Arpit et
al., ICML 2017). So an example with a wrong label has a large loss for long. Its *final* loss says nothing once it is
memorized: that of every fitted example is near 0. The mean over all presentations remembers. The same idea trains on
small-loss examples (Han et al., "Co-teaching", NeurIPS 2018), separates by a mixture of losses (Arazo et al., ICML
2019), and, with margins in place of losses, is the area under the margin (Pleiss et al., NeurIPS 2020).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from shattering.errors import InputError, shown, unknown
from shattering.parameters import is_of

DIFFICULTIES: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {  # the larger, the likelier a label is wrong
    "mean_loss": lambda examples: examples["mean_loss"].to_numpy(float),
    "final_loss": lambda examples: examples["final_loss"].to_numpy(float),
    "epochs_to_fit": lambda examples: examples["epochs_to_fit"].to_numpy(float, na_value=np.inf),
    # those never learned count as forgotten infinitely often (Toneva et al. 2019)
    "forgetting_events": lambda examples: np.where(examples["first_fit"].isna(), np.inf, examples["forgetting_events"]),
}


def label_error_ranking(examples: pd.DataFrame, by: str = "mean_loss") -> pd.DataFrame:
    """Rank examples by how likely their label is wrong, the likeliest first; ties by id.

    Args:
        examples: (n rows) `examples_` of a `NetworkClassifier` with `track_examples`, or `examples` of its run.
        by: a name in `DIFFICULTIES`: "mean_loss" (over all presentations; the one to use), "final_loss", "epochs_to_fit" (those
            not fitted at the end come first) or "forgetting_events" (those never learned come first).

    Returns:
        The examples with one more column, label_quality: as cleanlab's, the lower, the likelier the label is wrong; but its unit and
        range are other. It is minus the quantity that `by` names: minus the mean loss in nats, for example; possibly -inf.

    Raises:
        InputError: for another name, what is no table of examples, or NaN losses, which a diverged training leaves.

    Example:
        >>> examples = pd.DataFrame({"id": [0, 1, 2], "mean_loss": [0.1, 2.0, 0.3]})
        >>> label_error_ranking(examples)["id"].tolist()
        [1, 2, 0]
    """
    if not isinstance(by, str) or by not in DIFFICULTIES:
        raise unknown("ranking", by, DIFFICULTIES)
    _check_columns("examples", examples, "id", "first_fit" if by == "forgetting_events" else by, by)
    difficulty = DIFFICULTIES[by](examples)
    if np.isnan(difficulty).any():
        raise InputError(
            f"{by} is NaN for {np.isnan(difficulty).sum()} of {len(examples)} examples, expected those of a training that converged"
        )
    return examples.assign(label_quality=-difficulty).sort_values(["label_quality", "id"], ignore_index=True)


def _check_columns(name: str, table: object, *columns: str) -> None:
    """Raise InputError for what is no table with these columns."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{name} is {shown(table)}, expected a table with one row per example: train with track_examples=True")
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{name} has no column {missing[0]}, expected those of a training with track_examples=True")


def _corrupted(ranking: pd.DataFrame) -> np.ndarray:
    """Return which labels of a ranking are corrupted, (n,) bool. Raises InputError for what is no ranking, or has other values or NaN."""
    _check_columns("ranking", ranking, "changed", "label_quality")
    strange = [value for value in ranking["changed"].tolist() if value not in (True, False)]
    if strange:
        raise InputError(f"ranking has {shown(strange[0])} in its column changed, expected True for a corrupted label, else False")
    n_missing = int(np.isnan(ranking["label_quality"].to_numpy(float)).sum())
    if n_missing:
        raise InputError(f"ranking has {n_missing} NaN in its column label_quality, expected numbers")
    return ranking["changed"].to_numpy(dtype=bool)


def precision_curve(ranking: pd.DataFrame) -> pd.DataFrame:
    """Compute precision and recall of the first k of a ranking against the corrupted labels, for every k.

    Where examples have the same label quality, these are the expected values over their orders.

    Args:
        ranking: (n rows) label_quality and changed (True for a corrupted label), the lowest quality first.

    Returns:
        (n rows) k; precision, the fraction of the first k that are corrupted; recall, the fraction of the corrupted labels that are
        among the first k (NaN if there are none). Both are in 0…1.

    Raises:
        InputError: for rows in another order, NaN, and values of changed that are not True or False.

    Example:
        >>> ranking = pd.DataFrame({"label_quality": [-2.0, -0.3, -0.1], "changed": [True, False, True]})
        >>> precision_curve(ranking)["recall"].tolist()
        [0.5, 0.5, 1.0]
    """
    corrupted, quality = _corrupted(ranking).astype(float), ranking["label_quality"].to_numpy(dtype=float)
    if (quality[1:] < quality[:-1]).any():
        raise InputError("ranking is not in the order of label_quality, expected the lowest first: ranking.sort_values('label_quality')")
    tie = np.concatenate([[0], np.cumsum(quality[1:] != quality[:-1])])[: len(corrupted)]  # the group of equal quality of each row
    share = (np.bincount(tie, corrupted) / np.bincount(tie))[tie]
    k, hits, n = np.arange(1, len(corrupted) + 1), np.cumsum(share), corrupted.sum()
    return pd.DataFrame({"k": k, "precision": hits / k, "recall": hits / n if n else np.nan})


def precision_at_k(ranking: pd.DataFrame, k: int) -> float:
    """Return the fraction in 0…1 of the first k of a ranking that are corrupted; see `precision_curve`.

    Raises:
        InputError: if k is not in 1…n, and if no label is corrupted, so that there is none to find.

    Example:
        >>> ranking = pd.DataFrame({"label_quality": [-2.0, -0.3, -0.1], "changed": [True, False, True]})
        >>> precision_at_k(ranking, 2)
        0.5
    """
    corrupted = _corrupted(ranking)
    if not is_of(k, int) or not 1 <= k <= len(ranking):
        raise InputError(f"k is {k}, expected 1…{len(ranking)}")
    if not corrupted.any():
        raise InputError("ranking has no corrupted label (changed is False everywhere), expected some: there is none to find")
    return float(precision_curve(ranking)["precision"].iloc[k - 1])


def average_precision(ranking: pd.DataFrame) -> float:
    """Return the mean precision over the recalls, in 0…1 (scikit-learn's); NaN if no label is corrupted.

    A random ranking has the fraction of corrupted labels.

    Example:
        >>> ranking = pd.DataFrame({"label_quality": [-2.0, -0.3, -0.1], "changed": [True, False, True]})
        >>> round(average_precision(ranking), 3)
        0.833
    """
    corrupted = _corrupted(ranking)
    if not corrupted.any():
        return float("nan")
    return float(average_precision_score(corrupted, -ranking["label_quality"].rank(method="dense")))  # it takes no infinities


@dataclass(frozen=True)
class Moment:
    """An epoch of a tracked training, with its online accuracies in 0…1, as `Tracker.end_epoch` defines them.

    Example:
        >>> Moment(epoch=2, clean_accuracy=1.0, corrupted_accuracy=0.9, corrupted_as_true=0.1).epoch
        2
    """

    epoch: int
    clean_accuracy: float
    corrupted_accuracy: float
    corrupted_as_true: float


def memorization_start(history: pd.DataFrame) -> Moment | None:
    """Return the first epoch from which on more corrupted labels are predicted than true classes of these examples.

    That holds in every epoch from there to the last, so that chance does not decide in the first epochs, when a network predicts
    neither. None if it does not hold in the last epoch, or if no labels are corrupted.

    Raises:
        InputError: for a history without `track_examples`.

    Example:
        >>> history = pd.DataFrame(
        ...     {"epoch": [1, 2], "clean_accuracy": [0.9, 1.0], "corrupted_accuracy": [0.2, 0.9], "corrupted_as_true": [0.6, 0.1]}
        ... )
        >>> memorization_start(history).epoch
        2
    """
    wrong, true = _curves(history)
    memorizes = wrong > true
    if not len(memorizes) or not memorizes[-1]:
        return None
    before = np.flatnonzero(~memorizes)
    return _moment(history, before[-1] + 1 if len(before) else 0)


def peak(history: pd.DataFrame) -> Moment | None:
    """Return the first epoch of the largest share of corrupted examples predicted as their true class, which early stopping would exploit.

    None if no labels are corrupted.

    Raises:
        InputError: for a history without `track_examples`.

    Example:
        >>> history = pd.DataFrame(
        ...     {"epoch": [1, 2], "clean_accuracy": [0.9, 1.0], "corrupted_accuracy": [0.2, 0.9], "corrupted_as_true": [0.6, 0.1]}
        ... )
        >>> peak(history).epoch
        1
    """
    _, true = _curves(history)
    return _moment(history, int(np.nanargmax(true))) if not np.isnan(true).all() else None


def _curves(history: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    needed = ("corrupted_as_true", "corrupted_accuracy", "clean_accuracy", "epoch")
    missing = [name for name in needed if not isinstance(history, pd.DataFrame) or name not in history]
    if missing:
        raise InputError(f"history has no column {missing[0]}, expected that of a training with track_examples")
    return history["corrupted_accuracy"].to_numpy(float), history["corrupted_as_true"].to_numpy(float)


def _moment(history: pd.DataFrame, row: int) -> Moment:
    at = history.iloc[row]
    return Moment(int(at["epoch"]), *(float(at[name]) for name in ("clean_accuracy", "corrupted_accuracy", "corrupted_as_true")))
