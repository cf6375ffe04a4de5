"""Size of a network and effort of its training: measures that know nothing of what was learned, and serve as controls."""

import math

import numpy as np

from shattering.errors import InputError
from shattering.measures.fitted import Fitted, NotComputable

FITTED_LOSS = 0.01  # mean cross-entropy in nats at which a training counts as fitted (Jiang et al. 2020)


def n_parameters(fitted: Fitted) -> float:
    """Return the number P of trainable scalars (Jiang et al., "Fantastic Generalization Measures", ICLR 2020, eq. 20).

    Example:
        >>> print(f"{n_parameters(fitted):.3g}")
        792
    """
    return float(fitted.n_parameters)


def vc_dimension(fitted: Fitted) -> float:
    """Return P L log2 P for P trainable scalars in L layers.

    The VC dimension of piecewise linear networks is between constants times P L log(P / L) and P L log P (Bartlett, Harvey, Liaw &
    Mehrabian, "Nearly-tight VC-dimension and pseudodimension bounds", JMLR 2019). L counts linear layers and
    convolutions.

    Example:
        >>> print(f"{vc_dimension(fitted):.3g}")
        2.29e+04
    """
    return fitted.n_parameters * len(fitted.layers) * math.log2(fitted.n_parameters)


def steps(fitted: Fitted) -> float:
    """Return the natural logarithm of the updates after which the loss was at most 0.01 nats for the first time.

    The loss is that of the training set in evaluation mode after each epoch (Jiang et al. 2020: number of iterations to a
    loss). It needs a history with `full_train_loss`, which `NetworkClassifier` records with `evaluate_train`.

    Example:
        >>> print(f"{steps(fitted):.3g}")
        3
    """
    losses = _column(fitted, "full_train_loss")
    if np.isnan(losses).all():
        raise NotComputable("the history has no full_train_loss: train with evaluate_train")
    reached = np.flatnonzero(losses <= FITTED_LOSS)
    if not len(reached):
        raise NotComputable(f"the training loss never reached {FITTED_LOSS}, its least value is {np.nanmin(losses):.3g}")
    first = float(_column(fitted, "step")[reached[0]])
    if not first > 0:
        raise NotComputable(f"the training loss was at most {FITTED_LOSS} before the first update")
    return math.log(first)


def training_loss_area(fitted: Fitted) -> float:
    """Return the sum over epochs of the online loss in nats: each batch just before its update.

    The faster a network learns, the smaller it is. It is the sum of training losses of Ru et al. ("Speedy performance estimation for
    neural architecture search", NeurIPS 2021), and a bound of Bayesian evidence for linear models (Lyle et al., "A Bayesian
    perspective on training speed and model selection", NeurIPS 2020).

    Example:
        >>> print(f"{training_loss_area(fitted):.3g}")
        1.1
    """
    losses = _column(fitted, "train_loss")
    if not np.isfinite(losses).all():
        raise NotComputable("a loss in the history is not finite: the training diverged")
    return float(losses.sum())


def _column(fitted: Fitted, name: str) -> np.ndarray:
    """Return a column of the history, one number per epoch. Raises InputError for one that holds no numbers."""
    if fitted.history is None or fitted.history.empty:
        raise NotComputable("there is no history of the training")
    if name not in fitted.history:
        raise NotComputable(f"the history has no column {name}")
    column = fitted.history[name]
    try:
        return column.to_numpy(float)
    except (TypeError, ValueError):
        raise InputError(f"history has the type {column.dtype} in its column {name}, expected numbers") from None
