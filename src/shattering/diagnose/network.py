"""What a network's hyperparameters and its fitted weights say of why it did not fit. Each rule has a threshold, named here and tested."""

import math
from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import torch
from torch import nn

from shattering import networks, seeds
from shattering.data.augment import Augmentation, strengths
from shattering.data.dataset import Split
from shattering.data.preprocess import to_float
from shattering.diagnose.finding import Finding, Likelihood
from shattering.diagnose.history import (
    DECAY_LESS,
    DECAYED,
    TOO_SOON,
    decayed_too_soon,
    rate_too_high,
    still_falling,
    tail,
    too_few_epochs,
    trend,
)
from shattering.learners.network import NetworkClassifier
from shattering.learners.train.batches import batch_rows
from shattering.learners.weights import start_from
from shattering.runs.objects import Objects
from shattering.runs.stored import Run

GAP = 0.02  # of evaluated and running accuracy, beyond twice its standard error and what one epoch adds
SMALL_BATCH = 16  # examples below which the statistics of batch normalization may be too rough
CHANGED = 0.1  # of examples that get another answer in another batch, from which the batches are too small
BALANCED = 0.5  # weight decay over the loss's pull, at the last layer, from which it holds the weights back
NEGLIGIBLE = 0.1  # below which it does not
SHRUNK = 0.5  # of the norm at initialization, below which weight decay has shrunk the network
NEARER = 0.05  # of augmented images nearer to an image with another label than to their own original
GUESSING = 0.98  # of the labels' entropy, from which a loss is no better than guessing
MOVED = 0.1  # of their norm at initialization, below which training has hardly moved the weights
CONSTANT = 1e-3  # spread of the logits over examples, relative to their size, below which the network's answer is constant
PROBE = 1000  # training examples that the fitted network is looked at on


@dataclass(frozen=True)
class Trained:
    """A stored run of a network, and its training examples. given: the objects its spec names."""

    run: Run
    train: Split
    given: Objects | None = None

    @cached_property
    def model(self) -> NetworkClassifier:
        """Fitted if the run has its weights, else not."""
        has_weights = (self.run.folder / "model.safetensors").exists()
        return self.run.model(self.given) if has_weights else self.run.spec.build(self.given)  # type: ignore[return-value]

    @cached_property
    def module(self) -> nn.Module:
        """The fitted module, or one like it."""
        if hasattr(self.model, "module_"):
            return self.model.module_
        return self.initial

    @cached_property
    def initial(self) -> nn.Module:
        """The module as it was before training."""
        shape, state = getattr(self.model, "image_shape_", self.train.image_shape), self.model.random_state
        seed = seeds.integer(int(state) if isinstance(state, Integral) else self.run.spec.seed, "init")
        module = networks.build_network(self.model.network, shape, self.train.n_classes, seed, self.model.auxiliary > 0)
        if self.model.weights is not None:
            start_from(module, self.model.weights, self.train.n_classes)
        return module

    @cached_property
    def probe(self) -> Split:
        """The training examples, or a part of them."""
        return self.train.subset(torch.arange(0, len(self.train), math.ceil(len(self.train) / PROBE)))

    @cached_property
    def logits(self) -> torch.Tensor | None:
        """Of the probe, float64; None without weights, or where they are not finite."""
        out = self.model.logits(self.probe).double() if hasattr(self.model, "module_") else None
        return out if out is not None and bool(out.isfinite().all()) else None

    @cached_property
    def accuracies(self) -> str:
        return f"training accuracy is {self.evaluated:.1%} in evaluation, and was {self.running:.1%} while training in the last epoch"

    @property
    def evaluated(self) -> float:
        return self.run.result["train_accuracy"]

    @property
    def running(self) -> float:
        return self.run.result["online_train_accuracy"]

    @cached_property
    def margin(self) -> float:
        """By how much the two may differ for no other reason than chance and the updates of an epoch."""
        accuracies = tail(self.run.history)["train_accuracy"].to_numpy()
        adds = max(0.0, trend(accuracies)[0]) if len(accuracies) > 1 else 1.0
        return GAP + 2 * math.sqrt(self.running * (1 - self.running) / len(self.train)) + adds

    @property
    def seen_worse(self) -> bool:
        """Whether it does worse in training than in evaluation: on augmented images, or with units dropped."""
        return self.evaluated - self.running > self.margin


def network_findings(run: Run, train: Split, given: Objects | None) -> Iterator[Finding]:
    """All that applies to a network's run, but for what applies to any model."""
    trained = Trained(run, train, given)
    noisy = bool(trained.model.augment) or _dropout_rate(trained) > 0
    yield from batch_normalization(trained)
    of_rate = list(rate_too_high(run.history, train.n_classes, run.result["diverged"], noisy))
    of_rate = of_rate or ([] if noisy else list(stuck(trained)))
    yield from of_rate
    yield from augmentation(trained)
    yield from dropout(trained)
    yield from weight_decay(trained)
    if all(finding.cause != TOO_SOON for finding in of_rate):
        yield from decayed_too_soon(run.history)
    yield from too_few_epochs(run.history)


def stuck(trained: Trained) -> Iterator[Finding]:
    """The loss is that of guessing: the updates threw the network to where it learns nothing, or did not move it at all."""
    end, guessing = tail(trained.run.history)["train_loss"].to_numpy(), entropy(trained.train)
    if not end.mean() >= GUESSING * guessing or still_falling(trained.run.history) is not None or trained.logits is None:
        return
    moved = _distance(trained.module, trained.initial) / _norm(trained.initial)
    first, last = trained.run.history["learning_rate"].iloc[[0, -1]]
    evidence = (
        f"The loss stays at {end.mean():.4g}, and guessing by the labels' frequencies has {guessing:.4g}. With learning rates of "
        f"{first:.3g} … {last:.3g} training moved the weights by {moved:.2g} times their norm."
    )
    if moved < MOVED and last < first / DECAYED:
        yield Finding(TOO_SOON, evidence, DECAY_LESS, "likely")
    elif moved < MOVED:
        yield Finding("learning rate too low", evidence, "Train with a learning rate ten times as high.", "likely")
    elif not trained.model.weight_decay:
        if _is_constant(trained.logits):
            evidence += f" It gives all {len(trained.logits):,} examples looked at the same answer, as if its units had died."
        yield Finding("learning rate too high", evidence, "Train with a learning rate a tenth as high.", "likely")


def entropy(train: Split) -> float:
    """Of the labels' frequencies, in nats: the loss of the best constant answer."""
    shares = torch.bincount(train.labels).double() / len(train)
    return float(torch.special.entr(shares).sum())


def _is_constant(logits: torch.Tensor) -> bool:
    return float((logits.amax(0) - logits.amin(0)).max()) < CONSTANT * max(float(logits.abs().max()), CONSTANT)


def augmentation(trained: Trained) -> Iterator[Finding]:
    """The labels of an image have to be fitted on all versions of it."""
    chosen = strengths(trained.model.augment)
    if not chosen:
        return
    share = share_nearer(trained.train, chosen, trained.model)
    evidence = (
        f"Every epoch saw other versions of the images ({', '.join(chosen)}); {share:.0%} of them are nearer to a training image with "
        f"another label than to their own. The {trained.accuracies}, where images are augmented."
    )
    likelihood: Likelihood = "likely" if share >= NEARER or trained.seen_worse else "possible"
    yield Finding("augmentation", evidence, "Train with augment=None.", likelihood)


def share_nearer(train: Split, chosen: dict[str, float], model: NetworkClassifier) -> float:
    """The share of augmented images that are nearer to a training image with another label than to their own original."""
    n = min(len(train), PROBE)
    images, labels = to_float(train.images[:n]).float(), train.labels[:n]
    _, height, width = getattr(model, "image_shape_", train.image_shape)
    draws = Augmentation(chosen, (height, width)).draw(n, 0, 0)
    plain, versions = (Augmentation(of, (height, width))(images, draws).flatten(1) for of in ({}, chosen))
    distances = torch.cdist(versions, plain)
    others = distances.masked_fill(labels[:, None] == labels[None], math.inf).amin(1)
    return float((others < distances.diagonal()).double().mean())


def _dropout_rate(trained: Trained) -> float:
    """The highest rate, of the hyperparameters or of the network's own layers."""
    rates = [float(m.p) for m in trained.module.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    return max([float(trained.model.dropout), *rates])


def dropout(trained: Trained) -> Iterator[Finding]:
    """Of the hyperparameters, or of the network's own layers."""
    rate = _dropout_rate(trained)
    if not rate:
        return
    where = "in the hyperparameters" if trained.model.dropout == rate else "in the network's layers"
    evidence = f"The dropout rate is {rate:g}, {where}. The {trained.accuracies}, where units are dropped."
    yield Finding("dropout", evidence, "Train without dropout.", "likely" if trained.seen_worse else "possible")


def batch_normalization(trained: Trained) -> Iterator[Finding]:
    """In small batches; or with running averages that do not fit the network they are used with."""
    layers, size = _batch_norms(trained.module), int(trained.model.batch_size)
    below = trained.running - trained.evaluated
    if layers and size < SMALL_BATCH:
        share = share_changed(trained)
        found = "" if share is None else f" With other companions in its batch, {share:.0%} of the examples get another answer."
        evidence = f"Layers of batch normalization, {len(layers)} in all, normalize over batches of {size}.{found}"
        likelihood: Likelihood = "likely" if share is not None and share >= CHANGED else "possible"
        remedy = "Train with batches of 32 or more, or without batch normalization."
        yield Finding("batch normalization in small batches", evidence, remedy, likelihood)
    elif layers and below > trained.margin:
        evidence = f"Evaluation normalizes by running averages, training by the batch: {trained.accuracies}."
        remedy = "Train for longer, with a learning rate that is lower at the end."
        yield Finding("running averages of batch normalization", evidence, remedy, "likely")


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def share_changed(trained: Trained) -> float | None:
    """The share of training examples whose answer, normalized over the batch as in training, changes with the batch they are in.

    None without weights, or for batches of one.
    """
    size, n = int(trained.model.batch_size), len(trained.probe)
    if trained.logits is None or not 2 <= size <= n:
        return None
    model = copy(trained.model)
    model.module_ = deepcopy(trained.module)
    for layer in _batch_norms(model.module_):
        layer._buffers |= {"running_mean": None, "running_var": None}  # without them, torch uses the batch's in evaluation too
    answers = torch.zeros(2, n, dtype=torch.int64)
    for epoch in range(2):
        for rows in batch_rows(n, size, 0, epoch):
            answers[epoch, rows] = model.logits(trained.probe.subset(rows)).argmax(1)
    return float((answers[0] != answers[1]).double().mean())


def weight_decay(trained: Trained) -> Iterator[Finding]:
    """Where the decay of the last layer is as large as the loss's pull on it, it holds the weights where they are."""
    coefficient = float(trained.model.weight_decay)
    if not coefficient:
        return
    cause, remedy = "weight decay", f"Train with weight_decay=0 instead of {coefficient:g}."
    if trained.logits is None:
        yield Finding(
            cause, f"The coefficient is {coefficient:g}; the weights it acted on are not stored, or not finite.", remedy, "possible"
        )
        return
    before, after = _norm(trained.initial), _norm(trained.module)
    evidence = f"The coefficient is {coefficient:g}; the norm of all weights went from {before:.3g} to {after:.3g}."
    ratio = decay_over_pull(trained)
    if ratio is not None:
        evidence += f" At the last layer the pull of the decay is {ratio:.2g} times that of the loss (1: they hold each other)."
    if after < SHRUNK * before or (ratio is not None and ratio >= BALANCED):
        yield Finding(cause, evidence, remedy, "likely")
    elif ratio is None or ratio >= NEGLIGIBLE:
        yield Finding(cause, evidence, remedy, "possible")


def decay_over_pull(trained: Trained) -> float | None:
    """c |w|² over the loss's pull -⟨∇loss, w⟩, for the weights w and biases of the last layer.

    The logits are linear in them, so the pull is the mean over examples of Σ (onehot - softmax) · logits; where training
    with decay c comes to rest, the ratio is 1. None without such a layer, or where the loss does not pull.
    """
    linear = [m for m in trained.module.modules() if isinstance(m, nn.Linear) and m.out_features == trained.train.n_classes]
    if not linear or trained.logits is None:
        return None
    wanted = nn.functional.one_hot(trained.probe.labels, trained.train.n_classes)
    pull = float(((wanted - torch.softmax(trained.logits, 1)) * trained.logits).sum(1).mean())
    decay = float(trained.model.weight_decay) * _norm(linear[-1]) ** 2
    return decay / pull if pull > 0 else None


def _distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return math.sqrt(sum(float((a.detach().cpu().double() - b.detach().double()).square().sum()) for a, b in pairs))


def _norm(module: nn.Module) -> float:
    return math.sqrt(sum(float(p.detach().double().square().sum()) for p in module.parameters()))
