"""The parameters of a `NetworkClassifier` → what its training loop needs of them."""

from typing import Any

from shattering import networks
from shattering.learners.train.loop import Recipe

_PAPER_EPOCH = 391  # updates: 50,000 images in batches of 128
_AS_GIVEN = (
    *("epochs", "batch_size", "momentum", "decay", "weight_decay", "label_smoothing", "auxiliary"),
    *("stop_when_fitted", "evaluate_train", "checkpoint_every", "accumulate"),
)


def make_recipe(learner: Any, seed: int, n: int) -> Recipe:
    """For n training examples; seed: of the batch order, unless the learner has an order_seed."""
    rate = networks.initial_learning_rate(learner.network) if learner.learning_rate is None else learner.learning_rate
    return Recipe(
        learning_rate=float(rate),
        decay_steps=_decay_steps(learner, n),
        order_seed=order_seed(learner, seed),
        autocast=learner._autocast,
        **{name: getattr(learner, name) for name in _AS_GIVEN},
    )


def order_seed(learner: Any, seed: int) -> int:
    """Of the batch order, dropout and augmentation."""
    return seed if learner.order_seed is None else int(learner.order_seed)


def _decay_steps(learner: Any, n: int) -> int | None:
    if learner.decay_steps == "auto":
        return None if n > (_PAPER_EPOCH - 1) * learner.batch_size else _PAPER_EPOCH
    return learner.decay_steps
