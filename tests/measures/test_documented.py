"""The table in docs/memorization.md is that of the benchmark's figures."""

import json
from pathlib import Path

from tests.conftest import load_script

ROOT = Path(__file__).parent.parent.parent


def test_the_documented_table_is_the_measured_one():
    benchmark = load_script(ROOT / "benchmarks" / "label_errors.py")
    measured = json.loads((ROOT / "benchmarks" / "label_errors.json").read_text())
    page = (ROOT / "docs" / "memorization.md").read_text()
    assert f"\n{benchmark.table(measured)}\n" in page
