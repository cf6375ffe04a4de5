"""Find reasons in a network's hyperparameters and weights why it did not fit. Each rule has a threshold, named here and tested."""

import math
from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import torch
from torch import nn

from shattering.data.augment import Augmentation, strengths
from shattering.data.preprocess import to_float
from shattering.data.split import Split
from shattering.diagnose.dead import dead_at_start
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
from shattering.learners.tokens import vocabulary_of
from shattering.learners.train.batches import batch_rows
from shattering.learners.weights import start_from
from shattering.networks import BatchNorm, Dropout
from shattering.runs.objects import Objects
from shattering.runs.stored import Run

GAP = 0.02  # between evaluated and online accuracy, beyond twice its standard error and what one epoch adds
SMALL_BATCH = 16  # examples below which the statistics of batch normalization may be too rough
CHANGED = 0.1  # fraction of examples whose prediction depends on their batch, from which batches are too small
BALANCED = 0.5  # weight decay over the loss's pull at the last layer, from which it keeps the weights from growing
NEGLIGIBLE = 0.1  # the same ratio, below which weight decay does not matter
SHRUNK = 0.5  # of the weights' norm at initialization, below which weight decay has shrunk the network
NEARER = 0.05  # fraction of augmented images that are nearer to an image with another label than to their own original
GUESSING = 0.98  # times the labels' entropy: a loss from there on is no better than guessing
MOVED = 0.1  # distance over norm at initialization, below which training has hardly moved the weights
CONSTANT = 1e-3  # spread of the logits over examples relative to their size, below which the network's answer is constant
SUMS_TO_ONE = 1e-4  # largest deviation from 1 of sums of probabilities, in float32
PROBE = 1000  # training examples that the fitted network is evaluated on


@dataclass(frozen=True)
class Trained:
    """A stored run of a network, and its training examples.

    Args:
        run: done.
        train: the examples that it was trained on.
        objects: the objects that its spec names.
    """

    run: Run
    train: Split
    objects: Objects | None = None

    @cached_property
    def model(self) -> NetworkClassifier:
        """The network; fitted if the run has its weights."""
        has_weights = self.run.has("model.safetensors")
        return self.run.model(self.objects) if has_weights else self.run.spec.build(self.objects)  # type: ignore[return-value]  # the spec is a network's

    @cached_property
    def module(self) -> nn.Module:
        """The fitted module, or else the initial one."""
        if hasattr(self.model, "module_"):
            return self.model.module_
        return self.initial

    @cached_property
    def initial(self) -> nn.Module:
        """The module before training."""
        model, train = self.model, self.train
        vocabulary = getattr(model, "vocabulary_", None) or (vocabulary_of(train.inputs) if train.kind == "tokens" else None)
        shape, state = getattr(model, "image_shape_", train.input_shape), model.random_state
        seed = int(state) if isinstance(state, Integral) else self.run.spec.seed
        module = model.new_module(shape, train.n_classes, seed, train.kind, vocabulary)
        if self.model.weights is not None:
            start_from(module, self.model.weights, self.train.n_classes)
        return module

    @cached_property
    def probe(self) -> Split:
        """The training examples, or a part of them."""
        return self.train.subset(torch.arange(0, len(self.train), math.ceil(len(self.train) / PROBE)))

    @cached_property
    def logits(self) -> torch.Tensor | None:
        """The logits of the probe, (n, k) in float64; None without weights, or if any is not finite."""
        out = self.model.logits(self.probe).double() if hasattr(self.model, "module_") else None
        return out if out is not None and bool(out.isfinite().all()) else None

    @property
    def diverged(self) -> bool:
        """True if the loss was not finite, or the outputs of the trained network are not."""
        return self.run.result["diverged"] or (hasattr(self.model, "module_") and self.logits is None)

    @property
    def own(self) -> bool:
        """True if the network or the loss is the user's."""
        return not isinstance(self.model.network, str) or self.model.loss is not None

    @cached_property
    def accuracies(self) -> str:
        """Both accuracies, in words."""
        return f"training accuracy is {self.evaluated:.1%} in evaluation, and was {self.online:.1%} online in the last epoch"

    @property
    def evaluated(self) -> float:
        """The training accuracy at the end, evaluated without augmentation and dropout."""
        return self.run.result["train_accuracy"]

    @property
    def online(self) -> float:
        """The training accuracy of the last epoch, of each batch just before its update."""
        return self.run.result["online_train_accuracy"]

    @cached_property
    def margin(self) -> float:
        """The difference of the two accuracies that chance and the updates of one epoch explain."""
        accuracies = tail(self.run.history)["train_accuracy"].to_numpy()
        adds = max(0.0, trend(accuracies)[0]) if len(accuracies) > 1 else 1.0
        return GAP + 2 * math.sqrt(self.online * (1 - self.online) / len(self.train)) + adds

    @property
    def seen_worse(self) -> bool:
        """True if it does worse while training (on augmented images, or with dropout) than in evaluation."""
        return self.evaluated - self.online > self.margin


def network_findings(run: Run, train: Split, objects: Objects | None) -> Iterator[Finding]:
    """Report all findings that are specific to networks."""
    trained = Trained(run, train, objects)
    noisy = bool(trained.model.augment) or _dropout_rate(trained) > 0
    yield from probabilities(trained)
    yield from batch_normalization(trained)
    minimized = trained.model.loss is None  # the loss of the history, the cross-entropy; another loss may let it rise at any rate
    of_rate = []
    if minimized or trained.diverged:
        of_rate += rate_too_high(run.history, train.n_classes, trained.diverged, noisy, trained.own)
    dead = list(dead_at_start(trained.model, trained.initial, trained.probe)) if trained.logits is not None else []
    yield from dead
    of_rate = of_rate or ([] if noisy or dead or not minimized else list(stuck(trained)))
    yield from of_rate
    yield from augmentation(trained)
    yield from dropout(trained)
    yield from weight_decay(trained)
    if minimized and all(finding.cause != TOO_SOON for finding in of_rate):
        yield from decayed_too_soon(run.history)
    yield from too_few_epochs(run.history)


def probabilities(trained: Trained) -> Iterator[Finding]:
    """Report outputs that are probabilities, of which the cross-entropy takes a softmax again.

    With outputs in 0…1 the loss of an example is at least ln(1 + (k - 1)/e), however well it is classified, and its gradient is small.
    """
    out, k, own_loss = trained.logits, trained.train.n_classes, trained.model.loss is not None
    if out is None or bool((out < 0).any()) or bool((out > 1).any()):
        return
    one = k == 2 and bool((out[:, 0] == 0).all())  # a single logit, see `Outputs`
    if own_loss and not one:  # the loss may want probabilities, and the class of the largest is predicted all the same
        return
    if not one and float((out.sum(1) - 1).abs().max()) > SUMS_TO_ONE:
        return
    what, name = ("a single number", "sigmoid") if one else ("numbers that add up to 1", "softmax")
    if own_loss:
        evidence = (
            f"For all {len(out):,} examples looked at the network gives a single number, in 0…1. It is taken for a logit, which stands for "
            "the second class where it is above 0, so that this class is predicted for all of them."
        )
        remedy = "Remove the sigmoid from the network, and give a loss of logits, such as nn.BCEWithLogitsLoss()."
        yield Finding("a sigmoid before the loss", evidence, remedy, "likely")
        return
    evidence = (
        f"For all {len(out):,} examples looked at the network gives {what}, in 0…1: probabilities, where the loss expects logits, which "
        f"can be any numbers. The loss cannot fall below ln(1 + {k - 1}/e) = {math.log(1 + (k - 1) / math.e):.3g} with them."
    )
    yield Finding(f"a {name} before the loss", evidence, f"Remove the {name} from the network: the loss takes it of the logits.", "likely")


def stuck(trained: Trained) -> Iterator[Finding]:
    """Report a loss no better than guessing: updates were so large that nothing is learned, or too small to move the network."""
    end, guessing = tail(trained.run.history)["train_loss"].to_numpy(), entropy(trained.train)
    if not end.mean() >= GUESSING * guessing or still_falling(trained.run.history) is not None or trained.logits is None:
        return
    distance, norm = _distance(trained.module, trained.initial), _norm(trained.initial)
    if not norm:
        yield _from_zero(end.mean(), guessing, distance)
        return
    moved = distance / norm
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
            evidence += f" Its output is the same for all {len(trained.logits):,} examples looked at, as if its units had died."
        yield Finding("learning rate too high", evidence, "Train with a learning rate a tenth as high.", "likely")


def _from_zero(loss: float, guessing: float, distance: float) -> Finding:
    """Report that all weights were zero before training: hidden units that start alike stay alike, or have no gradient at all."""
    evidence = (
        f"All trained weights were zero at first, and the loss stays at {loss:.4g}, where guessing by the labels' frequencies has "
        f"{guessing:.4g}. Training moved the weights to a norm of {distance:.2g}."
    )
    return Finding("weights initialized to zero", evidence, "Initialize the weights at random, as torch's layers do.", "possible")


def entropy(train: Split) -> float:
    """Return the entropy of the label frequencies in nats, which is the loss of the best constant answer."""
    shares = torch.bincount(train.labels).double() / len(train)
    return float(torch.special.entr(shares).sum())


def _is_constant(logits: torch.Tensor) -> bool:
    return float((logits.amax(0) - logits.amin(0)).max()) < CONSTANT * max(float(logits.abs().max()), CONSTANT)


def augmentation(trained: Trained) -> Iterator[Finding]:
    """Report augmentation, which requires an image's label to be fitted on all its versions."""
    chosen = strengths(trained.model.augment)
    if not chosen:
        return
    share = share_nearer(trained.train, chosen, trained.model)
    evidence = (
        f"Every epoch used other versions of the images ({', '.join(chosen)}); {share:.0%} of them are nearer to a training image with "
        f"another label than to their own original. The {trained.accuracies}, with augmentation."
    )
    likelihood: Likelihood = "likely" if share >= NEARER or trained.seen_worse else "possible"
    yield Finding("augmentation", evidence, "Train with augment=None.", likelihood)


def share_nearer(train: Split, chosen: dict[str, float], model: NetworkClassifier) -> float:
    """Return the fraction of augmented images that are nearer to a training image with another label than to their own original."""
    n = min(len(train), PROBE)
    images, labels = to_float(train.inputs[:n]).float(), train.labels[:n]
    _, height, width = getattr(model, "image_shape_", train.input_shape)
    random = Augmentation(chosen, (height, width)).draw(n, 0, 0)
    plain, versions = (Augmentation(of, (height, width))(images, random).flatten(1) for of in ({}, chosen))
    distances = torch.cdist(versions, plain)
    others = distances.masked_fill(labels[:, None] == labels[None], math.inf).amin(1)
    return float((others < distances.diagonal()).double().mean())


def _dropout_rate(trained: Trained) -> float:
    """Return the highest dropout rate of the hyperparameters and of the network's own layers."""
    rates = [float(m.p) for m in trained.module.modules() if isinstance(m, Dropout)]
    return max([float(trained.model.dropout), *rates])


def dropout(trained: Trained) -> Iterator[Finding]:
    """Report dropout, of the hyperparameters or of the network's own layers."""
    rate = _dropout_rate(trained)
    if not rate:
        return
    where = "in the hyperparameters" if trained.model.dropout == rate else "in the network's layers"
    evidence = f"The dropout rate is {rate:g}, {where}. The {trained.accuracies}, with dropout."
    yield Finding("dropout", evidence, "Train without dropout.", "likely" if trained.seen_worse else "possible")


def batch_normalization(trained: Trained) -> Iterator[Finding]:
    """Report batch normalization in small batches, or with running averages that do not fit the network's weights."""
    layers, size = _batch_norms(trained.module), int(trained.model.batch_size)
    below = trained.online - trained.evaluated
    if layers and size < SMALL_BATCH:
        share = share_changed(trained)
        changes = "" if share is None else f" The prediction of {share:.0%} of the examples changes with the other examples of their batch."
        evidence = f"{len(layers)} layers of batch normalization normalize over batches of {size}.{changes}"
        likelihood: Likelihood = "likely" if share is not None and share >= CHANGED else "possible"
        remedy = "Train with batches of 32 or more, or without batch normalization."
        yield Finding("batch normalization in small batches", evidence, remedy, likelihood)
    elif layers and below > trained.margin:
        evidence = f"Evaluation normalizes by running averages, training by the batch: {trained.accuracies}."
        remedy = "Train for longer, with a learning rate that is lower at the end."
        yield Finding("running averages of batch normalization", evidence, remedy, "likely")


def _batch_norms(module: nn.Module) -> list[BatchNorm]:
    return [m for m in module.modules() if isinstance(m, BatchNorm)]


def share_changed(trained: Trained) -> float | None:
    """Return the fraction of training examples whose prediction, normalized over the batch as in training, depends on the batch.

    None without weights, or for batches of one.
    """
    size, n = int(trained.model.batch_size), len(trained.probe)
    if trained.logits is None or not 2 <= size <= n:
        return None
    model = copy(trained.model)
    model.module_ = deepcopy(trained.module)
    for layer in _batch_norms(model.module_):
        layer.running_mean = layer.running_var = None  # without them, torch uses the batch's in evaluation too
    answers = torch.zeros(2, n, dtype=torch.int64)
    for epoch in range(2):
        for rows in batch_rows(n, size, 0, epoch):
            answers[epoch, rows] = model.logits(trained.probe.subset(rows)).argmax(1)
    return float((answers[0] != answers[1]).double().mean())


def weight_decay(trained: Trained) -> Iterator[Finding]:
    """Report weight decay: where its pull on the last layer is as large as that of the loss, the weights cannot grow."""
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
    evidence = f"The coefficient is {coefficient:g}; the norm of all trained weights went from {before:.3g} to {after:.3g}."
    ratio = decay_over_pull(trained)
    if ratio is not None:
        evidence += f" At the last layer the pull of the decay is {ratio:.2g} times that of the loss (at 1 they balance)."
    if after < SHRUNK * before or (ratio is not None and ratio >= BALANCED):
        yield Finding(cause, evidence, remedy, "likely")
    elif ratio is None or ratio >= NEGLIGIBLE:
        yield Finding(cause, evidence, remedy, "possible")


def decay_over_pull(trained: Trained) -> float | None:
    """Return c |w|² over the loss's pull -⟨∇loss, w⟩, for the weights and biases w of the last layer, with weight decay c.

    The logits are linear in w, so the pull is the mean over examples of Σ (onehot - softmax) · logits. The ratio is 1 where training
    comes to rest. None without such a layer, if the pull is not positive, and for other optimizers than SGD or losses than the
    cross-entropy.
    """
    linear = [m for m in trained.module.modules() if isinstance(m, nn.Linear) and m.out_features == trained.train.n_classes]
    if trained.model.optimizer != "sgd" or trained.model.loss is not None:
        return None  # the pulls are those of SGD on the cross-entropy
    if not linear or trained.logits is None:
        return None
    wanted = nn.functional.one_hot(trained.probe.labels, trained.train.n_classes)
    pull = float(((wanted - torch.softmax(trained.logits, 1)) * trained.logits).sum(1).mean())
    decay = float(trained.model.weight_decay) * _norm(linear[-1]) ** 2
    return decay / pull if pull > 0 else None


def _distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return math.sqrt(sum(float((a.detach().cpu().double() - b.detach().cpu().double()).square().sum()) for a, b in pairs))


def _norm(module: nn.Module) -> float:
    """Return the norm of the weights that are trained; frozen ones cannot move."""
    return math.sqrt(sum(float(p.detach().cpu().double().square().sum()) for p in module.parameters() if p.requires_grad))
