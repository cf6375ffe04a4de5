"""`as_fitted`: anyone's trained network, with its data, as measures take it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from shattering.data.dataset import Dataset, Split
from shattering.data.lazy import ImagesOnDisk
from shattering.data.numbers import plain_numbers
from shattering.data.preprocess import to_float
from shattering.data.targets import plain_labels
from shattering.errors import InputError, a_type, reason, shown
from shattering.learners.devices import check_default_device
from shattering.learners.network import NetworkClassifier
from shattering.learners.preprocessing import Preprocessing
from shattering.learners.train.batches import Examples, read_from_memory
from shattering.measures.fitted import Fitted, count_logits, dtype_of
from shattering.measures.layers import copied, with_plain_weight_norms
from shattering.parameters import Count, NotNegative, check, check_arguments

Data = Dataset | Split | tuple[Any, Any]
_Other = Annotated[Fitted, "a Fitted (that as_fitted returns)"]
_Others = Annotated[Sequence[_Other], "a list of Fitted (that as_fitted returns)"]
_Table = Annotated[pd.DataFrame, "a DataFrame"]
_CHECKED = ("initial", "history", "examples", "prepare", "twin", "siblings", "seed", "block")
_CPU = torch.device("cpu")  # where networks on MPS are measured: that has no float64
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
    history: _Table | None = None,
    examples: _Table | None = None,
    prepare: Prepare | None = None,
    twin: _Other | None = None,
    siblings: _Others = (),
    seed: int | None = None,
    block: Count | None = None,
) -> Fitted:
    """Put a trained network together with what it was trained on. The caller's network and data are left as they are.

    Args:
        model: a fitted `NetworkClassifier`, a torch module that gives logits (b, k), a stored `Run`, or a `Fitted`, which is returned. What
            else is given goes before what these two know, but for data, unlabelled and prepare: their inputs are prepared already.
        data: what it was trained on, with the labels that it was trained on: a Dataset (its test images are then the unlabelled
            examples, its validation split what was held out), a Split, or (inputs, labels). Inputs of a pair are as the module
            takes them; a DataFrame of numbers is taken, too; images of a split reach a module as floats in 0…1. Labels of a pair are
            whole numbers from 0, or texts: then as many different ones as the module has classes, which are in their order. None
            for a run, which knows its data.
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
        The network in evaluation mode, a private copy, with its data, on the network's device; on the CPU where that is Apple's MPS,
        which has no float64.

    Raises:
        InputError: for a model or data of another kind, or that do not fit each other.

    Example:
        >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> as_fitted(module, (torch.zeros(6, 4), torch.arange(6) % 3)).n_classes
        3
    """
    check_arguments(as_fitted, locals(), *_CHECKED)
    check_default_device()
    if isinstance(model, Fitted) or (isinstance(model, Measurable) and not isinstance(model, (nn.Module, NetworkClassifier))):
        for name, own in (("data", data), ("unlabelled", unlabelled), ("prepare", prepare)):
            if own is not None:
                raise InputError(f"{name} is given beside {a_type(model)}, which has its own, expected none")
        more = {"history": history, "examples": examples, "twin": twin, "siblings": tuple(siblings) or None, "seed": seed, "block": block}
        more |= {"make_initial": None if initial is None else lambda: initial, "rate": _last_rate(history)}
        given = {name: value for name, value in more.items() if value is not None}
        fitted = model if isinstance(model, Fitted) else model.fitted()
        return _with_relatives(replace(fitted, **given) if given else fitted)
    if not isinstance(data, (Dataset, Split)) and not (isinstance(data, tuple) and len(data) == 2):
        found = "a tuple of another length" if isinstance(data, tuple) else "None" if data is None else a_type(data)
        raise InputError(
            f"data is {found}, expected what the {type(model).__name__} was trained on: a Dataset, a Split, or (inputs, labels)"
        )
    if isinstance(unlabelled, (tuple, Dataset)):
        raise InputError(f"unlabelled is {a_type(unlabelled)}, expected a Split, or inputs without labels")
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
            known |= {"rate": _last_rate(history)}
        else:
            raise InputError(f"model is {a_type(model)}, expected a fitted NetworkClassifier, a torch module or a stored run")
        fitted = _with_relatives(_assemble(module, data, unlabelled, prepared, known))
        if isinstance(data, tuple) and not isinstance(model, NetworkClassifier):
            _check_texts(data[1], fitted.n_classes)
        return fitted


def _assemble(module: nn.Module, data: Data, unlabelled: Any, prepared: Callable[..., Examples], known: dict) -> Fitted:
    split = data.train if isinstance(data, Dataset) else data
    if isinstance(split, Split) and split.is_regression:
        raise InputError("data has the targets of a regression, expected classes")
    if isinstance(data, Dataset):
        unlabelled = data.test if unlabelled is None else unlabelled
        known["held_out"] = prepared(data.validation) if data.validation else None
    train = prepared(*split) if isinstance(split, tuple) else prepared(split)
    own = private_copy(module).to(train.labels.device)
    k = count_logits(own, _first(train, own), train.labels)
    more = None if unlabelled is None else prepared(unlabelled)
    if more is not None:
        _check_unlabelled(own, more)
    return Fitted(own, train, k, unlabelled=more, prepared=prepared, raw_unlabelled=unlabelled, **known)


def _with_relatives(fitted: Fitted) -> Fitted:
    """Return the network. Raises InputError for other networks, beside it, that have other classes."""
    for name, others in (("twin", [fitted.twin] if fitted.twin else []), ("siblings", fitted.siblings)):
        for other in others:
            if other.n_classes != fitted.n_classes:
                raise InputError(f"{name} has a network of {other.n_classes} classes, expected {fitted.n_classes}, as the one beside it")
    return fitted


def _first(examples: Examples, module: nn.Module) -> torch.Tensor:
    """Return the first two inputs as the module gets them."""
    try:
        first = next(iter(examples.in_order(0, min(2, len(examples.labels)), 2)))
    except InputError:
        raise
    except Exception as error:  # of the user's preparation, too
        raise InputError(f"the inputs cannot be prepared: {reason(error)}") from error
    return first.to(dtype_of(module)) if first.is_floating_point() else first


def _check_unlabelled(module: nn.Module, more: Examples) -> None:
    try:
        count_logits(module, _first(more, module), torch.zeros_like(more.labels))
    except InputError as error:
        raise InputError(f"unlabelled has inputs of another kind than data: {error}") from error


def _check_texts(labels: Any, k: int) -> None:
    """Raise InputError for labels that are texts if some of the k classes have none: nobody knows which."""
    texts = None if isinstance(labels, torch.Tensor) else plain_labels(labels, "labels")
    if texts is not None and texts.dtype.kind == "U" and len(found := np.unique(texts)) != k:
        raise InputError(f"labels are texts of {len(found)} kinds, expected {k}, one a class of the module, or whole numbers from 0")


def private_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module in evaluation mode, without gradients; a compiled module as it was before.

    Whatever it does to its inputs, it does to copies of them: many measures evaluate it on the same inputs again.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise InputError("the module is a TorchScript one, whose weights cannot be varied, expected the module that it was made of")
    try:
        copy = copied(getattr(module, "_orig_mod", module))
    except Exception as error:
        raise InputError(f"the module cannot be copied: {reason(error)}") from error
    if not any(p.requires_grad for p in copy.parameters()):
        raise InputError("the module has no trainable parameter, expected at least one")
    copy.zero_grad(set_to_none=True)
    copy.register_forward_pre_hook(_on_copies)
    return with_plain_weight_norms(copy).eval()


def _on_copies(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(argument.clone() for argument in arguments)


def _of_classifier(model: NetworkClassifier) -> tuple[nn.Module, Callable[..., Examples]]:
    try:
        if model.device_.type == "mps":
            model = copy(model)
            model.device_ = _CPU
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
    rate = history["learning_rate"].iloc[-1]
    check("learning_rate of the last row of history", rate, NotNegative)
    return float(rate)


def _preparation(module: nn.Module, prepare: Prepare | None) -> Callable[..., Examples]:
    device = next((p.device for p in module.parameters() if p.device.type != "mps"), _CPU)

    def prepared(X: Any, y: Any = None) -> Examples:
        images = X.with_numbers().inputs if isinstance(X, Split) else X if isinstance(X, ImagesOnDisk) else _numbers(X)
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
            return replace(made, prepare=lambda raw: raw if own is None else _prepare(own(raw), prepare))
        read = read_from_memory(images.to(device), channels_last=False)
        is_split = isinstance(X, Split)
        return Examples(labels.to(device), read, True, lambda raw: _prepare(to_float(raw) if is_split else raw, prepare))

    return prepared


def _prepare(inputs: torch.Tensor, prepare: Prepare | None) -> torch.Tensor:
    if prepare is None:
        return inputs
    made = prepare(inputs)
    if not isinstance(made, torch.Tensor) or made.ndim == 0 or len(made) != len(inputs):
        found = f"shape {tuple(made.shape)}" if isinstance(made, torch.Tensor) else a_type(made)
        raise InputError(f"prepare returned {found} for inputs of shape {tuple(inputs.shape)}, expected a tensor with as many rows")
    return made


def _numbers(X: Any) -> torch.Tensor:
    """Return inputs as a tensor. Raises InputError for what are no numbers in rows."""
    images = None
    if isinstance(X, (torch.Tensor, np.ndarray, list, tuple)):
        with suppress(TypeError, ValueError, RuntimeError):
            images = torch.as_tensor(X)
    elif not hasattr(X, "__array__"):
        raise InputError(f"the inputs are {a_type(X)}, expected a tensor, an array or a DataFrame of numbers")
    images = plain_numbers(X, "the inputs") if images is None else images
    if images.ndim == 0:
        raise InputError("the inputs are a single number, expected a row for each example")
    return images


def _codes(y: Any) -> torch.Tensor:
    values = y if isinstance(y, torch.Tensor) else plain_labels(y, "labels")
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        _check_order(np.unique(values))
        return torch.from_numpy(np.unique(values, return_inverse=True)[1].astype(np.int64))
    labels = torch.as_tensor(values)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels have type {labels.dtype} and shape {tuple(labels.shape)}, expected whole numbers (n,) from 0, or texts")
    return labels.long()


def _check_order(texts: np.ndarray) -> None:
    """Raise InputError for sorted texts of whole numbers that have another order as numbers: nobody knows which one is meant."""
    if all(text.isdecimal() for text in texts) and list(texts) != sorted(texts, key=int):
        raise InputError(
            f"labels are texts of whole numbers, in whose order {shown(texts.tolist())} '10' is before '2', expected whole numbers from 0, "
            "such as those of labels.astype(int)"
        )
