"""Examples chosen by what they contain, so that no measure depends on the order in which they are stored."""

import hashlib

import numpy as np
import torch

from shattering.learners.train.batches import Examples
from shattering.measures.fitted import Fitted, NotComputable


def shuffled(fitted: Fitted, which: str = "train") -> torch.Tensor:
    """Return the rows of the training or unlabelled examples in an order that depends on the seed and on what they contain, (n,).

    Args:
        fitted: the network with its examples.
        which: "train" or "unlabelled", whose labels are not looked at.

    Raises:
        NotComputable: without unlabelled examples.
    """
    return fitted.once(_shuffled, which)


def _shuffled(fitted: Fitted, which: str) -> torch.Tensor:
    examples = fitted.train if which == "train" else unlabelled(fitted)
    key, digests = str(fitted.seed).encode(), []
    for inputs, labels in fitted.blocks(examples):
        plain = (inputs.float() if inputs.is_floating_point() else inputs).flatten(1).cpu().numpy()
        tails = labels.tolist() if which == "train" else [0] * len(plain)
        for row, label in zip(plain, tails, strict=True):
            digest = hashlib.blake2b(np.ascontiguousarray(row).tobytes() + b"%d" % label, digest_size=8, key=key)
            digests.append(int.from_bytes(digest.digest(), "little") >> 1)
    return torch.from_numpy(np.argsort(np.array(digests), kind="stable")).to(fitted.device)


def unlabelled(fitted: Fitted) -> Examples:
    """Return the unlabelled examples. Raises NotComputable where there are none."""
    if fitted.unlabelled is None or not len(fitted.unlabelled.labels):
        raise NotComputable("there are no unlabelled examples")
    return fitted.unlabelled


def unlabelled_for(fitted: Fitted, other: Fitted) -> Examples:
    """Return the unlabelled examples of a network as another one takes them: each standardizes with the moments that it was trained on.

    Raises:
        NotComputable: without unlabelled examples.
    """
    own = unlabelled(fitted)
    return own if other.prepared is None or fitted.raw_unlabelled is None else other.prepared(fitted.raw_unlabelled)


def by_class(fitted: Fitted) -> list[torch.Tensor]:
    """Return the rows of each class that has training examples, shuffled."""
    order = shuffled(fitted)
    labels = fitted.labels[order]
    return [order[labels == c] for c in range(fitted.n_classes) if bool((labels == c).any())]


def balanced(fitted: Fitted, size: int) -> torch.Tensor:
    """Return at most `size` training rows, shuffled, taken from the classes in turn: equally many of each, as far as a class has them."""
    places = [(place, c, int(row)) for c, rows in enumerate(by_class(fitted)) for place, row in enumerate(rows[:size])]
    return torch.tensor([row for _, _, row in sorted(places)[:size]], device=fitted.device)
