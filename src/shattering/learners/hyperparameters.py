"""The parameters of a `NetworkClassifier` → what its training loop needs of them."""

from typing import Any

from shattering import networks
from shattering.learners.train.loop import Hyperparameters

_PAPER_EPOCH = 391  # updates: 50,000 images in batches of 128
_AS_GIVEN = (
    *("epochs", "batch_size", "momentum", "decay", "weight_decay", "label_smoothing", "auxiliary"),
    *("stop_when_fitted", "evaluate_train", "checkpoint_every", "accumulate"),
)


def make_hyperparameters(model: Any, seed: int, n: int) -> Hyperparameters:
    """For n training examples; seed: of the batch order, unless the model has an order_seed."""
    rate = networks.initial_learning_rate(model.network) if model.learning_rate is None else model.learning_rate
    return Hyperparameters(
        learning_rate=float(rate),
        decay_steps=_decay_steps(model, n),
        order_seed=order_seed(model, seed),
        autocast=model._autocast,
        **{name: getattr(model, name) for name in _AS_GIVEN},
    )


def order_seed(model: Any, seed: int) -> int:
    """Of the batch order, dropout and augmentation."""
    return seed if model.order_seed is None else int(model.order_seed)


def _decay_steps(model: Any, n: int) -> int | None:
    if model.decay_steps == "auto":
        return None if n > (_PAPER_EPOCH - 1) * model.batch_size else _PAPER_EPOCH
    return model.decay_steps
