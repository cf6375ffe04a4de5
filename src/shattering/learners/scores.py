"""Scores of examples → figures of merit."""

import torch


def top5_accuracy(scores: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """top5_accuracy, in 0…1: how often the label is among the five classes of the highest scores (n, classes).

    Empty for five classes or fewer, where it would say nothing. Among equal scores the choice is arbitrary.
    """
    if scores.shape[1] <= 5:
        return {}
    hits = (scores.topk(5, dim=1).indices == labels[:, None]).any(1)
    return {"top5_accuracy": hits.sum().item() / len(labels)}
