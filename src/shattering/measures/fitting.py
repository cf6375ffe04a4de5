"""`as_fitted`: anyone's trained network, with its data, as measures take it."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from shattering.data.dataset import Dataset, Split
from shattering.data.lazy import ImagesOnDisk
from shattering.data.preprocess import to_float
from shattering.errors import InputError, a_type, reason
from shattering.learners.network import NetworkClassifier
from shattering.learners.preprocessing import Preprocessing
from shattering.learners.train.batches import Examples, read_from_memory
from shattering.measures.fitted import Fitted, count_logits, dtype_of

Data = Dataset | Split | tuple[Any, Any]
Prepare = Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class Measurable(Protocol):
    """An object that has a model and its data, such as a stored run."""

    def fitted(self) -> Fitted:
        """Return the trained network with its data."""
        ...


def as_fitted(
    model: Any,
    data: Data | None = None,
    *,
    unlabelled: Any = None,
    initial: nn.Module | None = None,
    history: pd.DataFrame | None = None,
    examples: pd.DataFrame | None = None,
    prepare: Prepare | None = None,
    twin: Fitted | None = None,
    siblings: Sequence[Fitted] = (),
    seed: int | None = None,
    block: int | None = None,
) -> Fitted:
    """Put a trained network together with what it was trained on. The caller's network and data are left as they are.

    Args:
        model: a fitted `NetworkClassifier`, a torch module that gives logits (b, k), a stored `Run`, or a `Fitted`, which is returned. What
            else is given goes before what these two know, but for data, unlabelled and prepare: their inputs are prepared already.
        data: what it was trained on, with the labels that it was trained on: a Dataset (its test images are then the unlabelled
            examples, its validation split what was held out), a Split, or (inputs, labels). Inputs of a pair are as the module
            takes them; images of a split reach a module as floats in 0…1. None for a run, which knows its data.
        unlabelled: a Split, or inputs, of the same kind; labels are not looked at. None: the test images of a Dataset.
        initial: the module before it was trained. None: a `NetworkClassifier` rebuilds it from its seed.
        history: one row per epoch, as `NetworkClassifier.history_`. None: that of a `NetworkClassifier`, as a run has it too.
        examples: one row per example, as `NetworkClassifier.examples_`. None: that of a `NetworkClassifier`, as a run has it too.
        prepare: for a module, turns floats (b, …) of the data into its inputs, such as a standardization.
        twin: the same network trained on random labels.
        siblings: the same network trained from other seeds.
        seed: of what measures draw. None: that of a run or a `Fitted`, else 0.
        block: examples per block of an evaluation. None: 256 on a CPU, 1,024 elsewhere. It bounds memory and changes no value.

    Returns:
        The network in evaluation mode, a private copy, with its data.

    Raises:
        InputError: for a model or data of another kind, or that do not fit each other.

    Example:
        >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> as_fitted(module, (torch.zeros(6, 4), torch.arange(6) % 3)).n_classes
        3
    """
    if isinstance(model, Fitted) or (isinstance(model, Measurable) and not isinstance(model, (nn.Module, NetworkClassifier))):
        for name, own in (("data", data), ("unlabelled", unlabelled), ("prepare", prepare)):
            if own is not None:
                raise InputError(f"{name} is given beside {a_type(model)}, which has its own, expected none")
        more = {"history": history, "examples": examples, "twin": twin, "siblings": tuple(siblings) or None, "seed": seed, "block": block}
        more |= {"make_initial": None if initial is None else lambda: initial, "rate": _last_rate(history)}
        given = {name: value for name, value in more.items() if value is not None}
        fitted = model if isinstance(model, Fitted) else model.fitted()
        return replace(fitted, **given) if given else fitted
    if data is None:
        raise InputError(f"data is None, expected what the {type(model).__name__} was trained on: a Dataset, a Split, or (inputs, labels)")
    known = {"twin": twin, "siblings": tuple(siblings), "seed": seed or 0, "block": block}
    with torch.inference_mode(False), torch.enable_grad():
        if isinstance(model, NetworkClassifier):
            if prepare is not None:
                raise InputError("prepare is given beside a NetworkClassifier, which prepares its inputs itself, expected none")
            module, prepared = _of_classifier(model)
            known |= _known(model, initial, history, examples)
        elif isinstance(model, nn.Module):
            module, prepared = model, _preparation(model, prepare)
            known |= {"make_initial": (lambda: initial) if initial is not None else None, "history": history, "examples": examples}
        else:
            raise InputError(f"model is {a_type(model)}, expected a fitted NetworkClassifier, a torch module or a stored run")
        return _assemble(module, data, unlabelled, prepared, known)


def _assemble(module: nn.Module, data: Data, unlabelled: Any, prepared: Callable[..., Examples], known: dict) -> Fitted:
    split = data.train if isinstance(data, Dataset) else data
    if isinstance(split, Split) and split.is_regression:
        raise InputError("data has the targets of a regression, expected classes")
    if isinstance(data, Dataset):
        unlabelled = data.test if unlabelled is None else unlabelled
        known["held_out"] = prepared(data.validation) if data.validation else None
    train = prepared(*split) if isinstance(split, tuple) else prepared(split)
    copy = private_copy(module)
    try:
        first = next(iter(train.in_order(0, min(2, len(train.labels)), 2)))
    except RuntimeError as error:
        raise InputError(f"the inputs cannot be prepared: {reason(error)}") from error
    first = first.to(dtype_of(copy)) if first.is_floating_point() else first
    k = count_logits(copy, first, train.labels)
    more = None if unlabelled is None else prepared(unlabelled)
    return Fitted(copy, train, k, unlabelled=more, **known)


def private_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module in evaluation mode, without gradients; a compiled module as it was before."""
    try:
        copy = deepcopy(getattr(module, "_orig_mod", module))
    except Exception as error:
        raise InputError(f"the module cannot be copied: {reason(error)}") from error
    if not any(p.requires_grad for p in copy.parameters()):
        raise InputError("the module has no trainable parameter, expected at least one")
    copy.zero_grad(set_to_none=True)
    return copy.eval()


def _of_classifier(model: NetworkClassifier) -> tuple[nn.Module, Callable[..., Examples]]:
    try:
        return model.module_, model.prepared
    except (AttributeError, NotFittedError):
        raise InputError("the NetworkClassifier is not fitted, expected one after fit") from None


def _known(model: NetworkClassifier, initial: nn.Module | None, history: pd.DataFrame | None, examples: pd.DataFrame | None) -> dict:
    """Return what a classifier knows of its training; what the caller gives goes before."""
    history = getattr(model, "history_", None) if history is None else history
    make_initial = (lambda: initial) if initial is not None else (model.initial_module if model.is_reproducible else None)
    return {
        "make_initial": make_initial,
        "history": history,
        "examples": getattr(model, "examples_", None) if examples is None else examples,
        "batch_size": model.batch_size,
        "rate": _last_rate(history),
    }


def _last_rate(history: pd.DataFrame | None) -> float | None:
    """Return the learning rate of the last epoch; None where there is none."""
    if history is None or not len(history) or "learning_rate" not in history:
        return None
    return float(history["learning_rate"].iloc[-1])


def _preparation(module: nn.Module, prepare: Prepare | None) -> Callable[..., Examples]:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def prepared(X: Any, y: Any = None) -> Examples:
        images = X.with_numbers().inputs if isinstance(X, Split) else X if isinstance(X, ImagesOnDisk) else torch.as_tensor(X)
        labels = X.labels if isinstance(X, Split) else torch.zeros(len(images), dtype=torch.int64) if y is None else _codes(y)
        if len(labels) != len(images) or not len(labels):
            raise InputError(f"there are {len(images)} inputs and {len(labels)} labels, expected as many, and at least one")
        if isinstance(images, torch.Tensor) and not bool(images.isfinite().all()):
            bad = int((~images.isfinite()).flatten(1).any(1).sum())
            raise InputError(f"the inputs of {bad} of {len(images)} examples are not finite, expected finite numbers")
        if isinstance(images, ImagesOnDisk):
            shape = tuple(images.shape[1:])
            made = Preprocessing(shape, None, "none").examples(images, labels, device, None)  # type: ignore[arg-type]  # as Split.inputs
            own = made.prepare
            return replace(made, prepare=lambda raw: prepare(own(raw)) if prepare and own else raw if own is None else own(raw))
        read = read_from_memory(images.to(device), channels_last=False)
        is_split = isinstance(X, Split)
        return Examples(labels.to(device), read, True, lambda raw: _prepare(to_float(raw) if is_split else raw, prepare))

    return prepared


def _prepare(inputs: torch.Tensor, prepare: Prepare | None) -> torch.Tensor:
    return inputs if prepare is None else prepare(inputs)


def _codes(y: Any) -> torch.Tensor:
    labels = torch.as_tensor(np.asarray(y) if not isinstance(y, torch.Tensor) else y)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels have type {labels.dtype} and shape {tuple(labels.shape)}, expected whole numbers (n,) from 0")
    return labels.long()
