"""`OwnModel`: what this library's own models offer beyond scikit-learn's interface.

It is read by type, from instances of `OwnModel` and of users' subclasses of ours. An attribute of the same name on anyone
else's estimator (`train_predictions_`, `history_`, `n_iter_`, `save`) means what its author meant by it, and is never looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from shattering.learners.others import given_weights


@dataclass(frozen=True)
class FitRecord:
    """A model's report of its fit, besides its predictions. The defaults stand for any estimator that is not ours.

    Args:
        history: one row per epoch, or empty.
        examples: a table of the training examples; None where they were not tracked.
        epochs: number of epochs trained; None for models without epochs.
        epochs_to_fit: first epoch after which the training set was seen to be fitted, or None.
        diverged: True if a loss was not finite.
        n_parameters: trainable scalars; None where they are not counted.
        summary: more numbers for a run's result, the same whenever the same is fitted.
        device: where the model was fitted.
        predicted: (n,) labels predicted for the training examples, if `fit` has computed them already.
        top5: top-5 accuracy on the training examples, if `fit` has computed it already.
        notes: what has to be known of the fit, in sentences.
        timings: seconds per stage of the fit; they differ between fits and belong to the run's provenance.
    """

    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"epoch": []}))
    examples: pd.DataFrame | None = None
    epochs: int | None = None
    epochs_to_fit: int | None = None
    diverged: bool = False
    n_parameters: int | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    predicted: np.ndarray | None = None
    top5: float | None = None
    notes: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)


class OwnModel:
    """Base of this library's models.

    Attributes:
        takes_splits: True if `fit` and `predict` take a `Split`; else arrays.
        not_identity: parameters that do not change what is learned.
        later: parameters that are younger than stored runs, with the values at which they are left out of every identity.
        files: parameters that name a file, which is identified by its content.
    """

    takes_splits: ClassVar[bool] = False
    not_identity: ClassVar[tuple[str, ...]] = ()
    later: ClassVar[Mapping[str, object]] = {}
    files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @cache  # scikit-learn reads the signature at each look at parameters, which checks of specifications take many of
    def _get_param_names(cls) -> list[str]:
        return super()._get_param_names()  # type: ignore[misc]  # of `BaseEstimator`, the next base of every model

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit."""
        return FitRecord()

    def name_in_messages(self) -> str:
        """Return what messages call the model: its class, unless it holds a model of the user's, who knows only that one."""
        return type(self).__name__


def traits(model: object) -> type[OwnModel]:
    """Return the class that says takes_splits, not_identity, later and files of a model, or of its class."""
    cls = model if isinstance(model, type) else type(model)
    return cls if issubclass(cls, OwnModel) else OwnModel


def record_of(model: object) -> FitRecord:
    """Return what a fitted model reports of its fit. Of anyone else's that is whether skorch's nets have started from given weights."""
    return model.record() if isinstance(model, OwnModel) else FitRecord(notes=given_weights(model))


def is_exactly_ours(model: object) -> bool:
    """Return whether all of its code is this library's: a user's subclass may predict otherwise than the class that it extends."""
    return isinstance(model, OwnModel) and type(model).__module__.partition(".")[0] == __name__.partition(".")[0]


def epochs_of(model: object) -> int | None:
    """Return how many epochs a model of ours trains at most; None for one without epochs, and for anyone else's."""
    return model.get_params(deep=False).get("epochs") if isinstance(model, OwnModel) else None  # type: ignore[attr-defined]  # from BaseEstimator
