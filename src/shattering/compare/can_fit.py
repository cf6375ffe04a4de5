"""`assert_can_fit`: the sanity check "overfit one batch, then noise" for test suites."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch

from shattering import seeds
from shattering.data.dataset import Dataset
from shattering.data.kinds import Kind
from shattering.data.split import Split
from shattering.diagnose.diagnose import diagnose
from shattering.errors import InputError, a_type, counted, printable
from shattering.identity.names import name_of
from shattering.learners.adapt import as_model
from shattering.learners.network import NetworkClassifier
from shattering.parameters import Count, Natural, Range, Share, check, check_arguments
from shattering.report.answer import FITS
from shattering.runs.execute import run
from shattering.runs.objects import Objects
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store
from shattering.runs.stored import Run
from shattering.system.temporary import TemporaryFolder

BATCH = 16  # examples of the one batch that is fitted first (or as many as there are classes), and of each batch then
HYPERPARAMETERS = {"epochs": 300, "batch_size": BATCH, "stop_when_fitted": True, "crop": None}  # of a network, where none are given
_SHOWN = 3  # findings of the diagnosis in the message


def assert_can_fit(
    model: Any,
    shape: Sequence[int],
    n_classes: Annotated[int, Range(2)],
    n: Count = 64,
    *,
    inputs: Any = None,
    kind: Kind | None = None,
    accuracy: Share = FITS,
    hyperparameters: Mapping[str, object] | None = None,
    seed: Natural = 0,
) -> None:
    """Assert that a model can fit random labels: those of one batch, then those of n examples.

    A model and its training that are sound fit a few random labels; one that does not has a fault, such as a softmax before the loss, a
    layer without gradient, or labels that do not reach the loss. It takes seconds on a CPU, so it can stand in any test suite.

    Args:
        model: any classifier, as `randomization_test` takes it: a torch module, its class or a factory, an estimator, a name, a training
            function.
        shape: of one input: (features,), (channels, height, width), (channels, length) of a sequence, or (length,) of tokens.
        n_classes: classes.
        n: examples. For an estimator with a limit, such as the depth of a tree, as many as it is to fit.
        inputs: n inputs of this shape, numbers; None: independent standard normal ones.
        kind: of the inputs, see `Split`; "tokens" have to be said, and inputs given. None: by their shape.
        accuracy: the share of the labels in 0…1 that has to be predicted.
        hyperparameters: parameters of the model. A torch module is trained by `NetworkClassifier` with batches of 16 until its labels
            are fitted, for at most 300 epochs, where these say nothing else.
        seed: of the inputs, the labels and the model.

    Raises:
        AssertionError: if the labels are not fitted. The message says how many are, after how many epochs and at which loss, and what
            `diagnose` finds to be the cause.
        InputError: for bad arguments.

    Example:
        >>> from torch import nn
        >>> assert_can_fit(lambda shape, k: nn.Linear(shape[0], k), shape=(64,), n_classes=3, n=32)
        >>> try:
        ...     assert_can_fit("nearest-neighbors", (64,), 3, hyperparameters={"n_neighbors": 9})
        ... except AssertionError as error:
        ...     print(str(error).splitlines()[1])  # doctest: +ELLIPSIS
        n_neighbors of KNeighborsClassifier (likely). KNeighborsClassifier has n_neighbors = 9: an example's own label is one of 9 votes ...
    """
    check_arguments(assert_can_fit, locals(), "n_classes", "n", "accuracy", "seed")
    check("shape", shape, Annotated[Sequence[Count], "a tuple of whole numbers of at least 1"])
    name, estimator, params = as_model(model, hyperparameters)
    if isinstance(estimator, NetworkClassifier):
        estimator.set_params(**{key: value for key, value in HYPERPARAMETERS.items() if key not in (hyperparameters or {})})
    elif name == "network":
        params = {**HYPERPARAMETERS, **params}
    noise = _noise(tuple(shape), n_classes, n, inputs, seed, kind)
    what = f"{'given' if inputs is not None else 'Gaussian'} inputs of shape {tuple(shape)}"
    if n < n_classes:
        raise InputError(f"n is {n}, expected at least {n_classes}, an example of each class")
    batch = min(n, max(BATCH, n_classes))
    for size in sorted({batch, n}):
        part = noise.subset(torch.arange(size))
        data = Dataset(part, part.subset(torch.tensor([0])), "noise")
        key = name_of(data.name, data.fingerprint()[:16])
        learner = name if estimator is None else name_of(name, "given")
        with TemporaryFolder() as folder:
            given = {key: data, learner: estimator}
            done = run(RunSpec(key, model=learner, params=params, seed=seed), Store(folder), objects=given)
            if done.result["train_accuracy"] < accuracy:
                raise AssertionError(_failure(done, given, accuracy, what, f"; it fitted one batch of {batch}" if size > batch else ""))


def _noise(shape: tuple[int, ...], n_classes: int, n: int, inputs: Any, seed: int, kind: Kind | None = None) -> Split:
    """Return n examples with random labels: each class once in random order, again and again, so that no part of them lacks one."""
    random = seeds.generator(seed, "can-fit/labels")
    labels = np.concatenate([random.permutation(n_classes) for _ in range(0, n, n_classes)])[:n]
    if inputs is None:
        inputs = seeds.generator(seed, "can-fit/inputs").standard_normal((n, *shape)).astype(np.float32)
    try:
        inputs = torch.as_tensor(inputs)
    except Exception:  # whatever torch raises, such as KeyError for a DataFrame
        raise InputError(f"inputs are {a_type(inputs)}, expected an array of numbers (of a DataFrame its to_numpy())") from None
    if tuple(inputs.shape) != (n, *shape):
        raise InputError(f"inputs have shape {tuple(inputs.shape)}, expected (n, *shape) = {(n, *shape)}")
    return Split(inputs, torch.from_numpy(labels), tuple(map(str, range(n_classes))), kind=kind)  # type: ignore[arg-type]  # None: by the shape


def _failure(done: Run, given: Objects, accuracy: float, what: str, before: str) -> str:
    """Return what was reached, and what the diagnosis finds. before: what was fitted before, if anything."""
    share, n = done.result["train_accuracy"], done.result["n_train"]
    reached = f"{round(share * n)} of {n} random labels ({share:.0%}, expected {accuracy:.0%}) of {what}"
    curve = ""
    if not done.history.empty:
        first, last = done.history["train_loss"].iloc[[0, -1]]
        curve = f" after {counted(len(done.history), 'epoch')}, in which its training loss went from {first:.3g} to {last:.3g}"
    causes = [str(finding) for finding in diagnose(done, given)[:_SHOWN]]
    causes = causes or ["The diagnosis found no cause in its parameters, history and weights."]
    return printable(f"{done.spec.model_name} fitted {reached}{curve}{before}.") + "".join(f"\n{printable(cause)}" for cause in causes)
