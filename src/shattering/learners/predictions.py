"""The check of any model's predictions, and of whether it is a classifier or a regressor at all."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClusterMixin, DensityMixin, OutlierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import Tags, get_tags

from shattering.data.labels import codes_among, listed
from shattering.errors import InputError, a_type, shown

_OTHERS = {
    RegressorMixin: "regressor",
    ClusterMixin: "clusterer",
    OutlierMixin: "outlier_detector",
    DensityMixin: "density_estimator",
    TransformerMixin: "transformer",
}


def check_kind(model: Any, is_regression: bool = False, name: str | None = None) -> None:
    """Raise InputError for an estimator that says it is no classifier, or no regressor, also at the end of a pipeline or in a search.

    is_regression: whether the labels are numbers, so that it has to be a regressor. One that says nothing is taken to be what it has
    to be.
    """
    kind, wanted, name = kind_of_model(model), "regressor" if is_regression else "classifier", name or type(model).__name__
    tags = _tags(model)
    if tags is not None and not tags.target_tags.single_output:
        raise InputError(
            f"model {name} takes several labels an example, expected the {wanted} for one: of several, test one after the other"
        )
    if kind in (wanted, None):
        return
    kind = kind.replace("_", " ")
    said = f"model {name} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if kind == "classifier":
        raise InputError(f"{said} and the labels are numbers, expected a regressor, or labels that are classes")
    if kind == "regressor":
        remedy = "a classifier; or, to predict labels as numbers, (X, y), a DataFrame or a file of columns beside targets='numbers'"
        raise InputError(f"{said} and the labels are classes, expected {remedy}")
    raise InputError(f"{said}, expected a {wanted}")


def kind_of_model(model: Any) -> str | None:
    """Return what kind an estimator declares itself to be: "classifier", "regressor", …; None if it says nothing."""
    tags = _tags(model)
    if tags is not None and tags.estimator_type:
        return str(tags.estimator_type)
    if tags is not None and tags.transformer_tags is not None and not hasattr(model, "predict"):
        return "transformer"
    mixed_in = next((kind for mixin, kind in _OTHERS.items() if isinstance(model, mixin)), None)
    return None if mixed_in == "transformer" and hasattr(model, "predict") else mixed_in


def _tags(model: Any) -> Tags | None:
    try:
        return get_tags(model)
    except Exception:  # without tags, as of objects that only look like estimators; or with those of another version
        return None


def checked_codes(predicted: Any, labels: np.ndarray, n: int, who: str) -> np.ndarray:
    """Return predictions as the places (n,) int64 of their labels among all.

    Args:
        predicted: what a `predict` returned: (n,), or (n, 1), of labels. Equal values are the same label: 1.0 is 1.
        labels: (k,) all labels, in order.
        n: how many examples they are for.
        who: what the model is called.

    Raises:
        InputError: for any other shape, and for values that are no label, such as None, NaN, probabilities and scores.
    """
    values = as_array(predicted, who)
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.shape != (n,):
        raise InputError(f"{who} predicted {_described(predicted, values)} for {n} examples, expected a label each, of shape ({n},)")
    codes = codes_among(values, labels)
    strange = codes < 0
    if strange.any():
        first = values[strange][:1].tolist()[0]
        what = f"no label ({first!r})" if _is_missing(first) else repr(first)
        raise InputError(f"{who} predicted {what} for {int(strange.sum())} of {n} examples, expected labels: {listed(labels)}")
    return codes


def as_array(predicted: Any, who: str) -> np.ndarray:
    """Return predictions as an array of their own type. Masked values are None; bfloat16, which NumPy lacks, is float32.

    Raises InputError for lists of several lengths.
    """
    if isinstance(predicted, torch.Tensor):
        predicted = predicted.detach().cpu()
        return (predicted.float() if predicted.dtype == torch.bfloat16 else predicted).numpy()
    if isinstance(predicted, np.ma.MaskedArray):
        values = predicted.data.astype(object)
        values[np.ma.getmaskarray(predicted)] = None
        return values
    try:
        return np.asarray(predicted)
    except ValueError:  # lists of several lengths
        raise InputError(f"{who} predicted {a_type(predicted)} of several lengths, expected a label an example") from None


def in_order(scores: Any, labels: np.ndarray, who: str) -> Any:
    """Return scores in a DataFrame with its columns in the order of the labels (k,); anything else as it is.

    The columns are the labels, or the numbers 0…k-1 of the classes. Raises InputError for other columns.
    """
    if not isinstance(scores, pd.DataFrame) or scores.shape[1] < 2:
        return scores
    columns = scores.columns.tolist()
    if columns == list(range(len(columns))):
        return scores
    for names in (labels.tolist(), list(range(len(labels)))):
        if len(columns) == len(names) and set(columns) == set(names):
            return scores.iloc[:, [columns.index(name) for name in names]]
    raise InputError(f"{who} returned scores with the columns {shown(columns)}, expected the labels as columns: {listed(labels)}")


def _described(predicted: Any, values: np.ndarray) -> str:
    return f"an array of shape {values.shape}" if values.ndim else a_type(predicted)


def _is_missing(value: object) -> bool:
    return bool(np.ndim(value) == 0 and pd.isna(value))  # type: ignore[arg-type]  # the stub lacks scalars of unknown types


def checked_numbers(predicted: Any, n: int, who: str) -> np.ndarray:
    """Return the predictions of a regression as (n,) float64.

    Raises InputError for another shape than (n,) or (n, 1), for what are no numbers, and for NaN and infinite ones.
    """
    values = as_array(predicted, who)
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.shape != (n,) or values.dtype.kind not in "biuf":
        said = _described(predicted, values)
        raise InputError(f"{who} predicted {said} of type {values.dtype} for {n} examples, expected a number each, of shape ({n},)")
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{who} predicted NaN or infinite numbers for {int((~np.isfinite(numbers)).sum())} of {n} examples")
    return numbers
