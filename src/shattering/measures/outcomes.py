"""Measures from the history of a training, from other runs, and from unlabelled examples U."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from shattering.measures.derivatives import draws
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.sampling import shuffled, unlabelled, unlabelled_for

BATCHES = 10  # of random labels
_BATCH = 128  # examples where the size of the run's batches is not known


def forgetting(fitted: Fitted) -> float:
    """Return the mean number of forgetting events of the training examples.

    Toneva et al. ("An empirical study of example forgetting during deep neural network learning", ICLR 2019): an example is
    forgotten when it is misclassified, having been classified as labelled at the presentation before. One that was never learned
    counts as forgotten in each epoch; the paper says infinitely often.

    Example:
        >>> print(f"{forgetting(fitted):.3g}")
        1.33
    """
    if fitted.examples is None or not {"forgetting_events", "first_fit"} <= set(fitted.examples):
        raise NotComputable("examples were not tracked during training: train with track_examples")
    events, never = fitted.examples["forgetting_events"].to_numpy(float), fitted.examples["first_fit"].isna().to_numpy()
    if never.any():
        if fitted.history is None:
            raise NotComputable(f"{never.sum()} examples were never learned, and the number of epochs is not known")
        events = np.where(never, len(fitted.history), events)
    return float(events.mean())


def susceptibility(fitted: Fitted) -> float:
    """Return the mean of (ℓ before - ℓ after) one step on a batch of U with random labels, over 10 batches.

    Forouzesh, Sedghi & Thiran ("Leveraging unlabeled data to track memorization", ICLR 2023). Each step starts from the trained
    network: plain gradient descent at the rate of the run's last update, with its size of batches. Examples and labels are drawn from
    the seed; none is a training example.
    """
    _ = fitted.logits  # raises for a diverged network
    if fitted.rate is None:
        raise NotComputable("the learning rate of the last update is not known")
    order, generator = shuffled(fitted, "unlabelled"), draws(fitted, "susceptibility")
    size = min(fitted.batch_size or _BATCH, len(order))
    drops = []
    for batch in range(BATCHES):
        rows = order[(batch * size + torch.arange(size, device=order.device)) % len(order)]
        labels = torch.randint(0, fitted.n_classes, (size,), generator=generator).to(fitted.device)
        drops.append(_drop(fitted, fitted.inputs(rows, unlabelled(fitted)), labels, fitted.rate))
    return sum(drops) / BATCHES


def _drop(fitted: Fitted, inputs: torch.Tensor, labels: torch.Tensor, rate: float) -> float:
    values = {name: p.clone().requires_grad_() for name, p in fitted.parameters.items()}
    before = F.cross_entropy(fitted.call(values, inputs), labels)
    slopes = torch.autograd.grad(before, list(values.values()), materialize_grads=True)
    after = {name: p.detach() - rate * slope for (name, p), slope in zip(values.items(), slopes, strict=True)}
    with torch.no_grad():
        return float(before.detach().double() - F.cross_entropy(fitted.call(after, inputs).double(), labels))


def signal_noise_fit(fitted: Fitted) -> float:
    """Return (L / L⁰) of this network over (L / L⁰) of its twin, which was trained on random labels for as many epochs.

    L⁰ is the loss before training. After Teng et al. (2023), who compare how much of the loss of real and of random labels is left. L is
    that of the last epoch that both trained for: in evaluation mode where both recorded it (full_train_loss), else online.

    Example:
        >>> print(f"{signal_noise_fit(fitted):.3g}")
        0.88
    """
    if fitted.twin is None:
        raise NotComputable("there is no twin that was trained on random labels")
    runs = (fitted, fitted.twin)
    histories = [run.history for run in runs if run.history is not None and len(run.history)]
    if len(histories) < 2:
        raise NotComputable("there is no history of the training of both twins")
    epoch = min(map(len, histories)) - 1
    columns = [c for c in ("full_train_loss", "train_loss") if all(c in h and np.isfinite(h[c].iloc[epoch]) for h in histories)]
    if not columns:
        raise NotComputable(f"the history has no finite loss in epoch {epoch + 1}")
    own, other = (float(h[columns[0]].iloc[epoch]) / _initial_loss(run) for h, run in zip(histories, runs, strict=True))
    if not other:
        raise NotComputable("the loss of the twin is 0")
    return own / other


@torch.no_grad()
def _initial_loss(fitted: Fitted) -> float:
    buffers = dict(fitted.initial.named_buffers())
    values = dict(fitted.initial.named_parameters()) | buffers
    sums = [F.cross_entropy(fitted.call(values, x).double(), y, reduction="sum") for x, y in fitted.blocks()]
    return float(torch.stack(sums).sum()) / fitted.n


def disagreement(fitted: Fitted) -> float:
    """Return the share of U on which this network and one trained from another seed predict different classes, mean over the others.

    Nakkiran & Bansal ("Distributional generalization", 2020); Jiang, Nagarajan, Baek & Kolter ("Assessing generalization of SGD via
    disagreement", ICLR 2022). It equals the test error only of calibrated ensembles (Kirsch & Gal 2022).

    Example:
        >>> print(f"{disagreement(fitted):.3g}")
        0.317
    """
    if not fitted.siblings:
        raise NotComputable("there is no network trained from another seed")
    own = fitted.once(unlabelled_logits).argmax(1)
    return sum(_differ(own, other.logits_of(unlabelled_for(fitted, other)).argmax(1)) for other in fitted.siblings) / len(fitted.siblings)


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a != b.to(a.device)).double().mean())


def unlabelled_logits(fitted: Fitted) -> torch.Tensor:
    """Return the logits of U, (n_U, k) float64. Raises NotComputable where there are none, and for a diverged network."""
    logits = fitted.logits_of(unlabelled(fitted))
    if not bool(logits.isfinite().all()):
        raise NotComputable("logits are not finite: the network has diverged")
    return logits


def average_confidence(fitted: Fitted) -> float:
    """Return -(mean over U of the largest probability).

    Hendrycks & Gimpel (ICLR 2017); Guillory et al. ("Predicting with confidence on unseen distributions", ICCV 2021), who subtract it from
    that of held-out examples. It is negated, since confident networks should generalize.

    Example:
        >>> print(f"{average_confidence(fitted):.3g}")
        -0.921
    """
    return -float(_confidence(fitted.once(unlabelled_logits)).mean())


def _confidence(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1).amax(1)


def thresholded_confidence(fitted: Fitted) -> float:
    """Return -(share of U whose confidence is at least t), t such that the labelled examples below it are as many as are misclassified.

    Garg, Balakrishnan, Lipton, Neyshabur & Sedghi ("Leveraging unlabeled data to predict out-of-distribution performance", ICLR 2022, eq.
    1 and 2), with the largest probability. The labelled examples are those held out; without them, the training examples.

    Raises:
        NotComputable: for training examples that are all classified as labelled, where every confidence qualifies.

    Example:
        >>> print(f"{thresholded_confidence(fitted):.3g}")
        -0.9
    """
    examples = fitted.train if fitted.held_out is None else fitted.held_out
    logits = fitted.logits if fitted.held_out is None else fitted.logits_of(examples)
    wrong = int((logits.argmax(1) != examples.labels).sum())
    if fitted.held_out is None and not wrong:
        raise NotComputable("no training example is misclassified and none are held out, so that every threshold qualifies")
    confidences = _confidence(logits).sort().values
    threshold = float(confidences[wrong]) if wrong < len(confidences) else math.inf
    return -float((_confidence(fitted.once(unlabelled_logits)) >= threshold).double().mean())


def nuclear_norm(fitted: Fitted) -> float:
    """Return -‖P‖_* / √(n_U min(n_U, k)) for the matrix P (n_U, k) of probabilities on U: from -1, confident and balanced.

    Deng, Suh, Gould & Zheng ("Confidence and dispersity speak: characterizing prediction matrix for unsupervised accuracy estimation", ICML
    2023).

    Example:
        >>> print(f"{nuclear_norm(fitted):.3g}")
        -0.934
    """
    probabilities = fitted.once(unlabelled_logits).softmax(1)
    n, k = probabilities.shape
    return -float(torch.linalg.matrix_norm(probabilities, "nuc")) / (n * min(n, k)) ** 0.5
