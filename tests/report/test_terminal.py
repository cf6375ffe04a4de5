"""Tables are as wide as the terminal, and whole where they are read by a program."""

import pytest

from shattering.report.terminal import TextTable

LABELS = ["name", "what it is", "size", "where it is from"]
ROWS = [["alpha", "a text of many words, more than fit", "1,234", "Someone et al. 2020"], ["be", "short", "5", "nobody"]]
TABLE = TextTable(LABELS, ROWS, numbers=frozenset({2}))


def test_a_whole_table_has_one_line_per_row_and_numbers_at_the_right():
    assert TABLE.whole() == [
        "name   what it is                            size  where it is from",
        "alpha  a text of many words, more than fit  1,234  Someone et al. 2020",
        "be     short                                    5  nobody",
    ]


def test_a_narrower_one_wraps_texts_and_then_leaves_columns_out():
    lines, left_out = TABLE.fitted(60)
    assert (max(map(len, lines)) <= 60, left_out) == (True, [])
    assert lines[1:4] == [
        "alpha  a text of many words,      1,234  Someone et al. 2020",
        "       more than fit",
        "be     short                          5  nobody",
    ]
    lines, left_out = TABLE.fitted(30)
    assert (max(map(len, lines)) <= 30, left_out) == (True, ["where it is from"])
    assert TABLE.fitted(12)[1] == ["size", "where it is from"], "the first and the widest are there in any case"


def test_columns_are_kept_by_priority_and_stand_in_their_order():
    table = TextTable(LABELS, ROWS, frozenset({2}), priority=(0, 3, 2, 1), spaced=True)
    lines, left_out = table.fitted(30)
    assert left_out == ["what it is"]
    assert lines[0].split() == ["name", "size", "where", "it", "is", "from"]
    assert lines[3] == "", "rows of two lines are set apart"


@pytest.mark.parametrize("width", range(1, 90, 7))
def test_nothing_is_lost_or_cut(width):
    lines, left_out = TABLE.fitted(width)
    shown = [column for column, label in enumerate(LABELS) if label not in left_out]
    words = sorted(word for row in [LABELS, *ROWS] for column in shown for word in row[column].split())
    assert sorted(" ".join(lines).split()) == words
