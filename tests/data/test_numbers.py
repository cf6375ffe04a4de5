"""Numbers: in the type in which they are given, or refused."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from shattering.data.numbers import plain_numbers
from shattering.errors import InputError

TYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
BIG = 2**53 + 1


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_numbers_stays_what_it_is_and_is_copied(kind):
    given = np.arange(6).reshape(3, 2).astype(kind)
    for x in (given, torch.from_numpy(given), pd.DataFrame(given), np.asfortranarray(given)):
        found = plain_numbers(x, "x")
        assert str(found.dtype) == f"torch.{kind}"
        np.testing.assert_array_equal(found.numpy(), given)
        found.numpy()[:] = 1
        assert given[0, 0] == 0


@pytest.mark.parametrize(
    ("given", "kind", "values"),
    [
        ([[1, 2], [3, 4]], "int64", [[1, 2], [3, 4]]),
        ([[1, 2.5]], "float64", [[1, 2.5]]),
        ([[BIG, 2]], "int64", [[BIG, 2]]),
        (np.array([[1, 2]], dtype=">i4"), "int32", [[1, 2]]),
        (np.array([[1.5, 2]], dtype=">f8"), "float64", [[1.5, 2]]),
        (np.array([[1.5, 2]], dtype=np.longdouble), "float64", [[1.5, 2]]),
        (np.array([[1, 2], [3, 4]], dtype=object), "int64", [[1, 2], [3, 4]]),
        (np.array([[1, 2.5]], dtype=object), "float64", [[1, 2.5]]),
        (np.array([[True, False]], dtype=object), "bool", [[True, False]]),
        (torch.tensor([[1.5, 2]], dtype=torch.bfloat16), "float32", [[1.5, 2]]),
        (torch.tensor([[1.5, 2]], requires_grad=True), "float32", [[1.5, 2]]),
        (np.ma.array([[1, 2]], mask=[[0, 0]]), "int64", [[1, 2]]),
        (pd.DataFrame({"a": [1, 2], "b": [0.5, 1]}), "float64", [[1, 0.5], [2, 1]]),
        (pd.DataFrame({"a": [1, 2], "b": [True, False]}), "int64", [[1, 1], [2, 0]]),
        (pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([1, 2], dtype="Float32")}), "float64", [[1, 1], [2, 2]]),
        (pd.DataFrame({"a": np.array([1, 2], dtype=object)}), "int64", [[1], [2]]),
    ],
    ids=str,
)
def test_values_come_together_in_a_type_that_holds_them(given, kind, values):
    found = plain_numbers(given, "x")
    assert str(found.dtype) == f"torch.{kind}"
    assert found.tolist() == values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (scipy.sparse.eye(3), r"x is a sparse matrix, expected an array: its toarray\(\)"),
        (np.ma.array([[1, 2]], mask=[[0, 1]]), "x has 1 masked values, expected none"),
        (np.array([[1 + 1j]]), "x has type complex128, expected numbers; give real and imaginary parts"),
        (torch.tensor([[1 + 1j]]), "x has type torch.complex64, expected real ones"),
        ([np.ma.array([1, 2], mask=[0, 1]), np.ma.array([3, 4])], "x has 1 masked values, expected none"),
        (torch.empty(2, 2, device="meta"), "x is a tensor on the meta device, where tensors have no values"),
        (torch.eye(2).to_sparse(), "x is a tensor of layout torch.sparse_coo"),
        (np.array([["1", "2"]]), "x has type <U1, expected numbers; turn text into numbers first"),
        ([[1, "2"]], "expected numbers; turn text into numbers first"),
        (np.array([[1, "2"]], dtype=object), r"x has the str '2' at \(0, 1\), expected numbers; turn text"),
        (np.array([["2020-01-01"]], dtype="datetime64[s]"), r"x has type datetime64\[s\], expected numbers; turn times into numbers"),
        (np.array([[1, None]], dtype=object), r"x has 1 missing values \(first: None\), expected none"),
        ([[1, 2], [3]], "x is a list of parts of several lengths"),
        ([[BIG, 0.5]], "x has numbers that no one type holds exactly"),
        (np.array([[BIG, 0.5]], dtype=object), "x has numbers that no one type holds exactly"),
        (np.array([[2**70, 1]], dtype=object), "x has numbers that no one type holds exactly"),
        (np.array([[Decimal("0.1")]], dtype=object), r"x has the Decimal Decimal\('0.1'\) at \(0, 0\)"),
        (np.array([[Fraction(1, 3)]], dtype=object), "x has numbers that no one type holds exactly"),
        (np.array([[1]], dtype=np.longdouble) / 3, "x has type float128, which float64 does not hold exactly|longdouble"),
        (pd.DataFrame({"n": [1, 2], "city": ["a", "b"]}), r"x\['city'\] has type str, expected numbers; turn text"),
        (pd.DataFrame({"city": pd.Categorical(["a", "b"])}), r"x\['city'\] has type category, expected numbers; turn text"),
        (pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}), r"x\['when'\] has type datetime64\[.*\], expected numbers; turn times"),
        (pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}), r"x\['n'\] has 1 missing values, expected none"),
        (pd.DataFrame({"n": [BIG, 1], "z": [0.5, 1]}), r"x\['n'\] has whole numbers beyond 2\^53, which float64"),
    ],
    ids=str,
)
def test_what_is_no_number_or_would_change_is_one_sentence(given, message):
    with pytest.raises(InputError, match=message) as caught:
        plain_numbers(given, "x")
    assert "\n" not in str(caught.value)
