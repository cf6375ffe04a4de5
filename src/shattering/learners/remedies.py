"""These functions say what to do where an estimator of another library cannot be fitted, beside what its library says."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.errors import InputError, reason
from shattering.learners.others import is_of, parts

_NO_VALIDATION = "its fit gets no eval_set: expected it without {}, or an estimator of your own whose fit holds one out"
_TOLD = {  # library: what is said where one of its estimators cannot be fitted, and what to do
    "skorch": {
        "must have the same dtype|expected scalar type|Input type": "expected float32 before the net of skorch's, as of "
        "FunctionTransformer(np.float32) in a pipeline",
        r"forward\(\) got an unexpected keyword argument|keywords must be strings": "skorch hands the columns of a DataFrame to forward by "
        "their names, expected an array: X.to_numpy(np.float32)",
        "Using a target size": "expected a forward that returns a column (n, 1), as the targets are: else each output is compared with "
        "all targets",
        r"Key 'valid_\w+' was not found": "expected a callback of the training loss where train_split is None: "
        "EarlyStopping(monitor='train_loss')",
    },
    "xgboost": {
        "at least 1 validation dataset for early stopping": _NO_VALIDATION.format("early_stopping_rounds"),
        "Invalid classes inferred": "its training examples lack a class, expected some of each in every fold, or XGBoost's alone",
    },
    "lightgbm": {"at least one dataset and eval metric is required": _NO_VALIDATION.format("early_stopping_round")},
}
_NO_NUMBERS = "|".join(
    (  # what NumPy, pandas and scikit-learn say of values that are no numbers
        "could not convert string to float",
        "could not be promoted",
        "Complex data not supported",
        "truth value of an array",
        "argument must be a string or a real number",
        "[Cc]annot (cast|convert|interpret)",
        "setting an array element with a sequence",
        "not compatible with arrays of bytes/strings",
    )
)

_WITH_COMMAS = re.compile(r"\s*[+-]?\d[\d.,' ]*\s*")
_LOOKED_AT = 100  # values of a column
_END = r"\. |\.(?=Convert )|, got:"  # of a sentence; scikit-learn forgets the space in one of them


@contextmanager
def remedies_told(estimator: Any) -> Iterator[None]:
    """Say what to do of an error that other libraries raise for the fit of one of their estimators, also a nested one.

    It is an error, too, where targets and outputs of a net of skorch's have two shapes, which torch only warns of.
    """
    libraries = [name for name in _TOLD if any(is_of(name, part) for part in parts(estimator).values())]
    try:
        with warnings.catch_warnings():
            if "skorch" in libraries:
                warnings.filterwarnings("error", "Using a target size", UserWarning)
            yield
    except (RuntimeError, TypeError, ValueError, KeyError, UserWarning) as error:
        if isinstance(error, InputError):
            raise
        for said, remedy in (pair for name in libraries for pair in _TOLD[name].items()):
            line = re.search(f".*({said}).*", str(error))
            if line:
                told = re.sub(r"^(RuntimeError|(Type|Value|Key)Error|UserWarning): ", "", line[0].strip()).partition(". ")[0].strip('".')
                raise InputError(f"{type(estimator).__name__}: {told}; {remedy}") from error
        raise


def remedy_of(split: Split, error: Exception) -> str | None:
    """Return what an error of a fit says, and what to do with the examples; None: it is not about how these were given."""
    said = str(error)
    remedy = next(filter(None, (find(split, said) for find in (_of_array, _of_numbers, _of_frame, _of_labels))), None)
    return remedy and f"{re.split(_END, reason(error))[0].rstrip('.')}; {remedy}"


def _of_array(split: Split, said: str) -> str:
    if "'numpy.ndarray' object has no attribute 'lower'" in said:
        return f"expected, for a vectorizer, texts (n,), and these have shape {np.shape(split.X)}: X[:, 0], or a ColumnTransformer"
    if re.search(r"contains (NaN|infinity)|missing values", said):
        return "expected values, or a model that takes missing ones: fill them in first, as with SimpleImputer in a pipeline"
    if "Found array with dim" in said and split.kind != "table":
        return "expected a table, as of FunctionTransformer(lambda X: X.reshape(len(X), -1)) before it in a pipeline"
    return ""


def _of_numbers(split: Split, said: str) -> str:
    """Say what to do with inputs that are texts or times for a model that takes numbers."""
    if not re.search(_NO_NUMBERS, said, re.DOTALL):
        return ""
    if isinstance(split.X, pd.DataFrame):
        columns = [name for name, kind in split.X.dtypes.items() if not _is_real(kind)]
        for name in columns if split.X.columns.is_unique else ():
            values = split.X[name].dropna().astype(str).head(_LOOKED_AT).tolist()
            if values and all(map(_WITH_COMMAS.fullmatch, values)) and any("," in value for value in values):
                return f"column {name!r} has numbers with commas, such as {values[0]!r}; expected decimal points, and no commas"
        names = ", ".join(map(repr, columns))
        return f"columns that are no numbers: {names}; expected numbers: encode them first, as with OneHotEncoder in a ColumnTransformer"
    return "expected numbers: encode texts first, as with TfidfVectorizer in a pipeline"


def _is_real(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _of_frame(split: Split, said: str) -> str:
    """Say what to do for a model that does not take a DataFrame as it is."""
    frame = split.inputs.content if isinstance(split.inputs, Rows) else None
    if not isinstance(frame, pd.DataFrame):
        return ""
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame.dtypes[name])] if frame.columns.is_unique else []
    if texts and re.search("inconsistent numbers of samples|empty vocabulary", said):  # of the names of columns, which were taken for rows
        return f"expected, for a vectorizer, one column of texts: X[{texts[0]!r}], or a ColumnTransformer that names it"
    if "unique column names" in said:
        return f"expected every name once, and {frame.columns[frame.columns.duplicated()][0]!r} stands twice"
    return "expected names of one type: X.columns.astype(str)" if "Feature names are only supported" in said else ""


def _of_labels(split: Split, said: str) -> str:
    """Say which labels a model gets, for a weight by class that names others."""
    if "class_weight" not in said:
        return ""
    named = ", ".join(f"{value!r} ({name})" for value, name in list(zip(split.label_values.tolist(), split.classes, strict=True))[:10])
    return f"the labels (and classes) are {named}"
