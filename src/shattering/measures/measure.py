"""`measure`: the value of every measure of generalization for one trained network."""

import math
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from shattering import seeds
from shattering.errors import InputError, a_type, blamed, reason, shown, unknown
from shattering.measures.catalog import MEASURES, Measure
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.fitting import Data, as_fitted
from shattering.parameters import check
from shattering.system.progress import Progress

Function = Callable[[Fitted], float]


def measure(
    model: Any,
    data: Data | None = None,
    measures: Sequence[str] | Mapping[str, Function] | None = None,
    *,
    progress: bool | None = None,
    **known: Any,
) -> pd.DataFrame:
    """Compute measures of generalization for one trained network; in all of them larger means "predicted to generalize worse".

    The network and the global generators are left as they were. Whatever a measure draws is drawn from a seed, so that the same network
    has the same values. A function of your own gets its own copy of the network, so that it may change weights without an effect on
    the measures after it.

    Args:
        model: a fitted `NetworkClassifier`, a torch module, a stored `Run` or a `Fitted`; see `as_fitted`.
        data: what it was trained on: a Dataset, a Split, or (inputs, labels); None for a run and for a `Fitted`.
        measures: names in `MEASURES`, or a mapping from names to functions `Fitted` → float, one's own among them. None: all.
        progress: False shows nothing. None shows a line with the time that is left, in a terminal or a notebook.
        known: more of what is known, as `as_fitted` takes it: unlabelled, initial, history, examples, prepare, twin, siblings, seed.

    Returns:
        One row per measure, by name: value; reason, why it is NaN, else ""; seconds.

    Raises:
        InputError: for an unknown name, what is no function, a function that returns no number, and a model or data that do not fit
            each other.

    Example:
        >>> from shattering import NetworkClassifier, load_dataset
        >>> data = load_dataset("digits", n_train=50)
        >>> model = NetworkClassifier("mlp-1x8", epochs=1).fit(data.train)
        >>> def l1_norm(fitted):
        ...     return float(sum(weight.abs().sum() for weight in fitted.weights()))
        >>> table = measure(model, data, {"l1_norm": l1_norm, **MEASURES})
        >>> float(table.loc["n_parameters", "value"]), table.loc["steps", "reason"]
        (610.0, 'the history has no full_train_loss: train with evaluate_train')
    """
    check("progress", progress, bool | None)
    chosen = choose(measures)
    fitted = as_fitted(model, data, **known)
    rows = {}
    with Progress("measures", len(chosen), progress) as shown:
        for done, (name, function) in enumerate(chosen.items()):
            shown.update(done, name)
            rows[name] = _row(name, function, fitted)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "reason", "seconds"]).rename_axis("measure")


def choose(
    measures: Sequence[str] | Mapping[str, Function] | None, known: Mapping[str, Function] = MEASURES, taken: Container[str] = ()
) -> dict[str, Function]:
    """Return the functions of measures by name.

    Args:
        measures: names, or functions by name; None: all that are known.
        known: the functions that names stand for.
        taken: names that functions of the caller's must not have.

    Raises:
        InputError: for unknown names, names that are taken, and what is no function.

    Example:
        >>> list(choose(["n_parameters"]))
        ['n_parameters']
    """
    if measures is None:
        return dict(known)
    if isinstance(measures, str) or not isinstance(measures, (Mapping, Sequence)) or not measures:
        pair = "; inputs and labels are one argument, (inputs, labels)" if hasattr(measures, "shape") else ""
        raise InputError(f"measures is {shown(measures)}, expected a list of names or a mapping from names to functions{pair}")
    if not isinstance(measures, Mapping):
        for name in measures:
            if not isinstance(name, str) or name not in known:
                raise unknown("measure", name, known)
        return {name: known[name] for name in measures}
    for name, function in measures.items():
        if not isinstance(name, str) or name in taken:
            raise InputError(f"measures has {shown(name)}, expected a name that no column of the values and no control has")
        if not callable(function):
            raise InputError(f"measures has {shown(function)} as {shown(name)}, expected a function of a Fitted")
    return dict(measures)


def _row(name: str, function: Function, fitted: Fitted) -> tuple[float, str, float]:
    clock = time.perf_counter()
    value, why = _value(name, function, fitted)
    return value, why, time.perf_counter() - clock


def _number(name: str, value: Any) -> float:
    """Return the value of a measure. Raises InputError for what is no single number."""
    with suppress(TypeError, ValueError, RuntimeError):
        if not isinstance(value, (str, bytes)):
            return float(value)
    shape = getattr(value, "shape", None)
    found = shown(value) if shape is None else f"{a_type(value)} of shape {tuple(shape)}"
    raise InputError(f"measure {name} returned {found}, expected a number")


def _value(name: str, function: Function, fitted: Fitted) -> tuple[float, str]:
    """Return (value, "") or (NaN, the reason)."""
    autocast, attention = torch.autocast(fitted.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH)  # the others lack derivatives
    try:
        with (
            seeds.everywhere(seeds.integer(fitted.seed, f"measure/{name}")),
            torch.inference_mode(False),
            torch.enable_grad(),
            autocast,
            attention,
            _without_tf32(fitted.device),
            blamed(f"measure {name}"),
        ):
            value = _number(name, function(fitted if isinstance(function, Measure) else fitted.copy()))
    except NotComputable as error:
        return math.nan, str(error)
    except RuntimeError as error:  # of torch: an operation of the network without a derivative of this kind
        if not isinstance(error, NotImplementedError) and "is not implemented" not in str(error):
            raise
        return math.nan, reason(error)
    return value, "the result is not a number" if math.isnan(value) else ""


@contextmanager
def _without_tf32(device: torch.device) -> Iterator[None]:
    """Have cuDNN compute in float32: torch lets it round to TF32, whose 10 bits are fewer than what measures compare by."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings")  # as some versions say of the older one
        before = [(operation, "fp32_precision", operation.fp32_precision) for operation in (cudnn.conv, cudnn.rnn)]
        with suppress(RuntimeError):  # the newer one was used, beside which the older one cannot be asked
            before.insert(0, (cudnn, "allow_tf32", cudnn.allow_tf32))
        try:
            for place, name, _ in before:
                setattr(place, name, False if name == "allow_tf32" else "ieee")
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)
