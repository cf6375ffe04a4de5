"""The table in docs/memorization.md is that of the benchmark's figures."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_documented_table_is_the_measured_one():
    spec = importlib.util.spec_from_file_location("label_errors", ROOT / "benchmarks" / "label_errors.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    measured = json.loads((ROOT / "benchmarks" / "label_errors.json").read_text())
    page = (ROOT / "docs" / "memorization.md").read_text()
    assert f"\n{benchmark.table(measured)}\n" in page
