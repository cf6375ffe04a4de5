"""The calibration that the docs show: a small cell of each kind is simulated again, and the page has the stored figures."""

import json
from pathlib import Path

import pytest

from tests.conftest import load_script

ROOT = Path(__file__).parents[2]
calibration = load_script(ROOT / "benchmarks" / "calibration.py")
REPETITIONS = 30


@pytest.mark.parametrize("cell", calibration.FEW, ids=lambda cell: f"{cell.null} {cell.scheme} {cell.exchange} {cell.model} {cell.method}")
def test_each_exchange_rejects_what_it_should(cell):
    """Where labels are exchangeable, at most 5 % and three standard errors; grouped rows freely permuted are rejected nearly always."""
    share = calibration.rejected(cell, REPETITIONS) / REPETITIONS
    if cell.distance:
        assert share > 0.2
    elif (cell.null, cell.exchange) == ("grouped", "free"):
        assert share > 0.8
    else:
        assert share <= 0.05 + 3 * (0.05 * 0.95 / REPETITIONS) ** 0.5


def test_the_page_has_the_stored_figures():
    rows = json.loads((ROOT / "benchmarks" / "calibration.json").read_text())["cells"]
    page = (ROOT / "docs" / "calibration.md").read_text()
    assert calibration.to_markdown(rows) in page, "put what python benchmarks/calibration.py prints into docs/calibration.md"
    for row in rows:
        valid = row["exchange"] in {"independent": ("free",), "grouped": ("whole",), "serial": ()}[row["null"]]
        if valid and row["scheme"] != "held out" and not row["distance"]:
            assert row["low"] <= 0.05, row
