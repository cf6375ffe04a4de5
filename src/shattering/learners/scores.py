"""Top-5 accuracy."""

import torch


def top5_accuracy(scores: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return top5_accuracy, in 0…1: how often the label is among the five classes of the highest scores (n, classes).

    Empty for five classes or fewer, where it would say nothing. Among equal scores the choice is arbitrary.
    """
    hits, counted = top5_hits(scores, labels)
    return {"top5_accuracy": hits.item() / len(labels)} if counted else {}


def top5_hits(scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two counts: of labels among the five classes of the highest scores (n, classes), and of all labels.

    Both are 0 for five classes or fewer, and for numbers (n,).
    """
    if scores.ndim == 1 or scores.shape[1] <= 5:
        return (none := torch.zeros((), dtype=torch.int64, device=labels.device)), none
    hits = (scores.topk(5, dim=1).indices == labels[:, None]).any(1)
    return hits.sum(), torch.tensor(len(labels), device=labels.device)
