"""The calibration that the docs show: a cell of each kind is simulated again, and the page has the stored figures."""

import json
from pathlib import Path

import pytest

from tests.conftest import load_script

calibration = load_script(Path(__file__).parents[2] / "benchmarks" / "calibration.py")
Cell, REPETITIONS = calibration.Cell, 30
CELLS = (
    Cell("independent", "folds", "free", "1-NN"),
    Cell("independent", "held out", "within", "1-NN", "zero-refit"),
    Cell("grouped", "folds", "free", "1-NN"),
    Cell("grouped", "folds", "whole", "1-NN"),
    Cell("grouped", "half of the subjects", "whole", "1-NN", "zero-refit"),
    Cell("serial", "blocked folds", "shift", "1-NN"),
    Cell("independent", "held out", "free", "logistic", "zero-refit", 0.45),
)
VALID = {  # where labels are exchangeable as they are exchanged; a shift is approximate
    ("independent", "free"): ("held out", "folds"),
    ("independent", "within"): ("held out", "folds"),
    ("independent", "whole"): ("held out", "folds"),
    ("grouped", "within"): ("held out", "half of the subjects", "folds", "folds of subjects"),
    ("grouped", "whole"): ("half of the subjects", "folds", "folds of subjects"),
}


@pytest.fixture(scope="module")
def rows():
    return json.loads(calibration.STORED.read_text())["cells"]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.null} {cell.scheme} {cell.exchange} {cell.model} {cell.method}")
def test_each_exchange_rejects_what_it_should(cell):
    """Where labels are exchangeable, at most 5 % and three standard errors; grouped rows freely permuted are rejected nearly always."""
    share = calibration.rejected(cell, range(REPETITIONS)) / REPETITIONS
    if cell.distance:
        assert share > 0.2
    elif (cell.null, cell.exchange) == ("grouped", "free"):
        assert share > 0.8
    else:
        assert share <= 0.05 + 3 * (0.05 * 0.95 / REPETITIONS) ** 0.5


def test_the_page_has_the_stored_figures(rows):
    page = calibration.PAGE.read_text()
    assert calibration.with_tables(page, rows) == page, "run python benchmarks/calibration.py --repetitions 0"


def test_every_cell_is_stored_and_valid_ones_reject_no_more_than_the_level(rows):
    """95 % intervals of some fifty true rates: nearly all of them reach down to 5 %, and each rate is near it."""
    assert all(calibration.find(rows, cell)["repetitions"] >= 50 for cell in calibration.every_cell())
    valid = [row for row in rows if not row["distance"] and row["scheme"] in VALID.get((row["null"], row["exchange"]), ())]
    above = [row for row in valid if calibration.interval(row)[0] > 0.05]
    assert len(valid) > 30
    assert len(above) <= 0.1 * len(valid)
