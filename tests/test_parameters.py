from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest

from shattering.errors import InputError, meant
from shattering.parameters import Count, Natural, Positive, Range, Share, check_once, describe, is_of, read, read_json, split_list

Augment = str | Sequence[str] | Mapping[str, float | None] | None


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("1e3", int, 1000),
        ("1000.0", Count, 1000),
        ("-0", int, 0),
        ("3", float, 3),
        (".5", float, 0.5),
        ("1e-3", Share, 0.001),
        ("true", bool, True),
        ("FALSE", bool, False),
        ("true", str, "true"),
        ("1", str, "1"),
        ("none", str, "none"),
        ("nan", str, "nan"),
        ("none", str | None, None),
        ("Null", Count | None, None),
        ('"none"', str | None, "none"),
        ('"3"', str | int, "3"),
        ("3", str | int, 3),
        ("auto", Count | Literal["auto"] | None, "auto"),
        ("true", Literal["true", "shuffled"], "true"),
        ('["crop","flip"]', Augment, ["crop", "flip"]),
        ('{"crop": 4, "flip": null}', Augment, {"crop": 4, "flip": None}),
        ("crop", Augment, "crop"),
        ("[crop]", Augment, "[crop]"),
        ("[1, 8, 8]", tuple[Count, Count, Count] | None, [1, 8, 8]),
        ("[[1], [2]]", object, [[1], [2]]),
        ("1.0", object, 1.0),
        ("1", object, 1),
    ],
)
def test_a_text_is_read_by_the_type_of_its_field(text, hint, value):
    found = read(text, hint, "it")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "message"),
    [
        ("no", bool, "it is 'no', expected true or false"),
        ("1", bool, "it is '1', expected true or false"),
        ("1.5", int, "it is '1.5', expected a whole number"),
        ("0", Count, "it is '0', expected a whole number of at least 1"),
        ("true", int, "it is 'true', expected a whole number"),
        ("1_000", int, "it is '1_000', expected a whole number"),
        ("0x10", int, "expected a whole number"),
        ("٣", int, "expected a whole number"),
        ("9" * 5000, int, "expected a whole number"),
        ("1e400", int, "expected a whole number"),
        ("1e20", int, "expected a whole number"),  # no float holds all whole numbers of that size
        ("nan", float, "it is 'nan', expected a number"),
        ("-inf", float, "it is '-inf', expected a number"),
        ("1e999", float, "expected a number"),
        ("50%", Share, "it is '50%', expected a number in 0…1"),
        ("1.5", Share, "it is '1.5', expected a number in 0…1"),
        ("0", Positive, "it is '0', expected a number above 0"),
        ("none", int, "it is 'none', expected a whole number"),
        ("", str, "it is '', expected a text that is not blank"),
        ("  ", str | None, "it is '  ', expected a text that is not blank or none"),
        ("-1", Natural | None, "it is '-1', expected a whole number of at least 0 or none"),
        ("shufled", Literal["true", "shuffled"], "unknown it 'shufled'; did you mean 'shuffled'? (known: shuffled, true)"),
        ("noise", Literal["true", "shuffled"] | None, "unknown it 'noise'; known: shuffled, true"),
        ("atuo", Count | Literal["auto"] | None, "unknown it 'atuo'; did you mean 'auto'? (known: auto, or a whole number of at least 1)"),
        ("x", Count | Literal["auto"] | None, "it is 'x', expected a whole number of at least 1, 'auto' or none"),
        ("[1, 2]", tuple[Count, Count, Count], "it is '[1, 2]', expected 3 values"),
        ('["a"', list[int], "expected a list"),
        ('{"a": 1, "a": 2}', dict[str, int], "expected names with their values"),
        ("[NaN]", list[float], "expected a list"),
        ("x" * 500, int, "expected a whole number"),
        ("\x1b[2J", int, r"it is '\x1b[2J', expected a whole number"),
    ],
)
def test_a_text_that_stands_for_no_such_value(text, hint, message):
    with pytest.raises(InputError) as caught:
        read(text, hint, "it")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_a_few_names_are_listed_beside_the_one_that_was_meant_and_many_are_not():
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    assert meant("tow", names) == f"did you mean 'two'? (known: {', '.join(names)})"
    assert meant("tow", [*names, "nine"]) == meant("tow", ["two"]) == "did you mean 'two'?"
    assert meant("tow", names[:2], "a number") == "did you mean 'two'? (known: one, two, or a number)"
    assert meant("xyz", names[:2], "a number") == "known: one, two, or a number"
    assert meant("xyz", [f"name{i:02}" for i in range(22)]).endswith("name18, name19 and 2 more")


def test_types_of_values():
    assert is_of(np.int64(3), Count)
    assert is_of(np.float32(0.5), Share)
    assert is_of(np.bool_(True), bool)
    assert is_of(3, float)
    assert is_of((1, 2, 3), tuple[int, int, int])
    assert is_of(len, str | Callable)
    assert is_of(Path("a"), str | Path)
    assert is_of({"a": 1}, Mapping[str, object])
    for value, hint in [(True, int), (True, float), (np.bool_(True), int), (float("nan"), float), (np.inf, float), (1.0, int), ("3", int)]:
        assert not is_of(value, hint), (value, hint)
    for value, hint in [
        ("ab", Sequence[str]),
        (["a", 1], Sequence[str]),
        ({1: "a"}, Mapping[str, str]),
        (0, bool),
        ([1], int),
        (None, str),
    ]:
        assert not is_of(value, hint), (value, hint)


def test_descriptions():
    assert describe(Annotated[float, "a probability", Range(0, 1)] | None) == "a probability in 0…1 or none"
    assert describe(Annotated[float, Range(0, 1, above=True)]) == "a number above 0, at most 1"
    assert describe(Literal["a", "b"] | Callable) == "'a', 'b' or a function"
    assert describe(list[str] | Mapping[str, int]) == "a list or names with their values"


def test_lists():
    assert split_list("0,0.5, 1", "it") == ["0", "0.5", "1"]
    assert split_list('["a","b"],none', "it") == ['["a","b"]', "none"]
    assert split_list('{"a": [1, 2]}, "x,y" ,[[1],[2]]', "it") == ['{"a": [1, 2]}', '"x,y"', "[[1],[2]]"]
    assert split_list(r'"a\",b",c', "it") == [r'"a\",b"', "c"]
    assert split_list('5"x,6"y', "it") == ['5"x', '6"y'], "quotes within a part are letters"
    for text in (",", "", "0,,1", "0,", " "):
        with pytest.raises(InputError, match=r"it is .*, expected a value, or several with a comma between two"):
            split_list(text, "it")
    check_once("it", [0, False, 1, True, "1", None])
    for twice in ([0, 1, 0], [1, 1.0], ["a", "a"], [[1], [1]]):
        with pytest.raises(InputError, match=r"it has .* twice, expected each value once"):
            check_once("it", twice)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "{", ""])
def test_no_json(text):
    with pytest.raises(ValueError, match=r"."):
        read_json(text)
