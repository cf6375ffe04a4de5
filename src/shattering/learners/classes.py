"""Class labels as numbers."""

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from shattering.errors import InputError


def class_codes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes in order, and of each label (n,) the number of its class.

    Raises InputError for fewer than two classes, and ValueError for targets that are no classes.
    """
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError("y has 1 class, expected at least two classes")
    return classes, codes
